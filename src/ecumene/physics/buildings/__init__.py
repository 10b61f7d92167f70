"""Buildings in three dimensions: heights of footprints, LoD1 models, change of height and volume."""
