"""Scenes: what agencies ship, as physical values on a grid, with masks, stacks, composites and indices."""
