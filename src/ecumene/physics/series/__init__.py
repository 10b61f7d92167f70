"""Long series from several instruments: merging with bias correction, trends with honest uncertainty."""
