"""The page on scale says what the benchmarks' files say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_is_made_from_the_results():
    spec = importlib.util.spec_from_file_location("make_scale", ROOT / "docs" / "make_scale.py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "docs"))
    assert (ROOT / "docs" / "scale.md").read_text(encoding="utf-8") == module.make_page()
