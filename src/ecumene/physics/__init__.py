"""Model-based analytics on arrays: y = F(x) + e with an error bar from theory; no files, no training."""
