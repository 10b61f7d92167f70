"""Radar interferometry: from two or many complex images to heights, motion and their error bars."""
