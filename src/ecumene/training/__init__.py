"""Training: the loop for networks, tree ensembles through the same shape of call, provenance."""
