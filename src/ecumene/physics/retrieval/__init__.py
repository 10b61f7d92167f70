"""Retrieval of atmospheric columns from spectra: forward model with Jacobians, optimal estimation, sampling."""
