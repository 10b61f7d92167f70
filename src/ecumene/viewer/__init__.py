"""The report: one self-contained page that shows a product with its error bars."""
