"""What the end-to-end tests share: a small town as files, trained models, and the command run in this process."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import rasterio
import yaml

from ecumene.simulate import write_demo
from ecumene.simulate.demo import DemoData

SHAPE = (96, 80)
"""Rows and columns of the town: not square, and smaller than the window of most networks."""
SEED = 3
UNET_EPOCHS = 12


@dataclass(frozen=True)
class Outcome:
    """What a command left on the terminal."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The only line on standard error (a progress bar may leave blank ones)."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        assert len(lines) == 1, self.err
        return lines[0]


def run_cli(*arguments: object) -> Outcome:
    """Run `ecumene ...` in this process, as the console script does."""
    from ecumene.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        mock.patch.object(sys, "argv", ["ecumene", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
    return Outcome(code, out.getvalue(), err.getvalue())


def start_cli(*arguments: object, **options: object) -> subprocess.Popen[str]:
    """Start `ecumene ...` in a process of its own."""
    command = [sys.executable, "-m", "ecumene", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options
    )


def done(*arguments: object) -> Outcome:
    """Run a command that must succeed."""
    outcome = run_cli(*arguments)
    assert outcome.code == 0, outcome.err
    assert "Traceback" not in outcome.err
    return outcome


def snapshot(folder: Path) -> dict[str, str]:
    """Name and digest of every file and folder below `folder`."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def refused(*arguments: object, code: int, saying: str, folder: Path) -> str:
    """Run a command that must fail with one sentence and leave `folder` as it was.

    Args:
        arguments: The command line.
        code: The exit code.
        saying: Pattern that the sentence must hold.
        folder: Where nothing may appear, change or vanish.

    Returns:
        The sentence.
    """
    before = snapshot(folder)
    outcome = run_cli(*arguments)
    assert_sentence(outcome, code, saying)
    assert snapshot(folder) == before
    return outcome.sentence


def assert_sentence(outcome: Outcome, code: int, saying: str) -> None:
    """The outcome is an error that a user can act on, and nothing else."""
    assert outcome.code == code, outcome
    assert "Traceback" not in outcome.out + outcome.err
    sentence = outcome.sentence
    assert sentence.startswith("ecumene: ")
    assert sentence.endswith((".", "?", ")."))
    assert re.search(saying, sentence), sentence
    assert not outcome.out.strip()


def write_town(folder: Path) -> DemoData:
    """Write the town: three dates of Sentinel-2, one of Sentinel-1, polygons, reference points, truth."""
    return write_demo(folder, 1, shape=SHAPE, n_polygons_per_class=8, n_reference=200)


def raster_bytes(folder: Path) -> dict[str, bytes]:
    """The bytes of every raster of a product."""
    found = {path.name: path.read_bytes() for path in sorted(folder.glob("*.tif"))}
    assert "value.tif" in found
    return found


def weights_of(model: Path) -> dict[str, bytes]:
    """The bytes of everything in a bundle that decides what it computes."""
    found = {path.name: path.read_bytes() for path in sorted(model.glob("*.safetensors"))}
    assert found
    return found


def read(path: Path, band: int = 1) -> np.ndarray:
    """One band of a raster."""
    with rasterio.open(path) as dataset:
        return dataset.read(band)


def copy_scene(source: Path, folder: Path, name: str | None = None) -> Path:
    """Copy a simulated scene with its declaration and mask, so that a test may change it.

    Args:
        source: The GeoTIFF.
        folder: Target folder; created.
        name: New stem; None keeps it.

    Returns:
        The copied GeoTIFF.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name or source.stem}.tif"
    shutil.copy(source, target)
    declared = yaml.safe_load(source.with_name(f"{source.stem}.scene.yaml").read_text())
    if "mask" in declared:
        shutil.copy(source.with_name(declared["mask"]["file"]), folder)
    target.with_name(f"{target.stem}.scene.yaml").write_text(yaml.safe_dump(declared))
    return target


def declare(scene: Path, **changes: object) -> Path:
    """Change keys of a scene's own declaration; None removes a key."""
    path = scene.with_name(f"{scene.stem}.scene.yaml")
    declared = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump({key: value for key, value in declared.items() if value is not None}))
    return scene


def rewrite(scene: Path, change, **profile: object) -> Path:
    """Replace a scene's stored numbers by `change(numbers)` and parts of its profile."""
    with rasterio.open(scene) as dataset:
        numbers, kept, names = dataset.read(), dataset.profile, dataset.descriptions
        scales, offsets = dataset.scales, dataset.offsets
    changed = change(numbers)
    order = profile.pop("names", names)
    kept.update(count=changed.shape[0], height=changed.shape[1], width=changed.shape[2], dtype=changed.dtype.name)
    if changed.dtype.kind == "f":
        kept.update(predictor=3)
    kept.update(profile)
    scene.unlink()
    with rasterio.open(scene, "w", **kept) as dataset:
        dataset.write(changed)
        dataset.descriptions = tuple(order)
        dataset.scales, dataset.offsets = scales[: changed.shape[0]], offsets[: changed.shape[0]]
    return scene
