"""Labels, leakage-safe splits, window samplers, patches and augmentation: what training learns from."""
