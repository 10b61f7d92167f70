"""The `ecumene` command: one file a verb; parses and prints, nothing else."""
