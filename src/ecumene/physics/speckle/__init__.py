"""Speckle of coherent imaging: simulators, equivalent number of looks, filters with error bars, measures of quality."""
