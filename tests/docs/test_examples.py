"""Every example runs from another folder and says what it promises."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SAYS = {
    "map_from_polygons": ("uncertainty.tif", "area-adjusted overall accuracy"),
    "reference_sample": ("standard error", "estimated", "true"),
    "two_sensors": ("VV has a median", "two dates and radar"),
}


def test_every_example_is_expected() -> None:
    assert {path.stem for path in EXAMPLES} == set(SAYS)


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(path), "out"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    for words in SAYS[path.stem]:
        assert words in done.stdout
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
