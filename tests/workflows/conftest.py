"""Fixtures of scenes, labels and models that several rooms share."""

from end_to_end_fixtures import forest, product, scene, town, unet  # noqa: F401
