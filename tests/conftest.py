"""Settings of all tests, and the way to what tests of several rooms share."""

import os
import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent / "helpers"))

# The same examples every time, so that a run's result depends on the code alone; `make properties` draws new ones.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("random", max_examples=300, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
