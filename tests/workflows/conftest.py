"""Makes the shared end-to-end helpers importable."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from end_to_end_fixtures import forest, product, scene, town, unet  # noqa: F401
