"""Settings of all tests."""

import os

from hypothesis import settings

# The same examples every time, so that a run's result depends on the code alone; `make properties` draws new ones.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("random", max_examples=300, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
