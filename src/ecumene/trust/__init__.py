"""What makes a prediction honest: calibration, conformal sets and intervals, outlier scores, their measures.

Arrays in, arrays out; nothing here reads files or knows a task.
"""
