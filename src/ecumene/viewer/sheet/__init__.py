"""The assessor's sheet: one sample point after the other, judged from image chips, saved as reference labels."""
