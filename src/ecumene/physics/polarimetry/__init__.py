"""Polarimetric radar: coherency and covariance matrices, H/A/alpha with error bars, Wishart clustering."""
