"""What a verb does: joins the rooms. The Python face of the package."""
