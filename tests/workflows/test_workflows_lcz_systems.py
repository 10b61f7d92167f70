"""The systems of local climate zones as data: what they name exists, and figures from memory are no targets."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")

from so2sat_files import write_so2sat  # noqa: E402

from ecumene.cli.main import app  # noqa: E402
from ecumene.networks import build_network  # noqa: E402
from ecumene.samples.contract import Part  # noqa: E402
from ecumene.samples.datasets import data_set_class  # noqa: E402
from ecumene.samples.datasets.so2sat_lcz42 import VARIANTS  # noqa: E402
from ecumene.systems import get_system  # noqa: E402
from ecumene.training.options import TrainingOptions  # noqa: E402
from ecumene.workflows.scene_data import open_system_data, split_data_set  # noqa: E402

SCENES = ("sen2lcz-net", "sen2lcz-net-mf", "so2sat-resnext", "so2sat-resnext-cbam")
WEIGHTS = {"sen2lcz-net": 787_569, "sen2lcz-net-mf": 791_428, "so2sat-resnext": 34_437_905}


@pytest.mark.parametrize("name", [*SCENES, "hse-lcz-mtl"])
def test_what_a_system_names_exists(name: str) -> None:
    system = get_system(name)
    options = TrainingOptions(**system.training)
    assert options.optimiser == "nadam"
    assert options.schedule == "step"
    with torch.device("meta"):
        network = build_network(system.network, in_channels=10, n_outputs=17, **system.network_arguments)
    if name in WEIGHTS:
        assert sum(weight.numel() for weight in network.parameters()) == WEIGHTS[name]
    for data_set in system.data_sets:
        assert data_set_class(data_set).info.name == data_set
    assert {figure.bench for figure in system.figures} <= {protocol.name for protocol in system.protocols}
    assert not any(figure.verified for figure in system.figures)
    assert system.deviations


def test_protocols_are_the_official_splits(tmp_path: Path) -> None:
    for number, (variant, files) in enumerate(VARIANTS.items()):
        folder = tmp_path if variant == "official" else tmp_path / variant
        for place, name in enumerate(files):
            write_so2sat(folder / f"{name}.h5", [*range(17)] * 2 if place == 0 else [0, 5, 11], number + place)
    system = get_system("sen2lcz-net")
    seen = set()
    for protocol in system.protocols:
        folder = tmp_path if protocol.official == "official" else tmp_path / protocol.official
        data = open_system_data(system, folder, options=protocol.data_options)
        parts = split_data_set(data, protocol, 0)
        assert (parts == Part.TEST).sum() == 3
        assert {Part.TRAIN, Part.VALIDATION, Part.TEST} <= set(parts.tolist())
        seen.add(protocol.official)
    assert seen == set(VARIANTS)


@pytest.mark.parametrize(
    ("option", "named"), [("--onnx", "--onnx"), ("--split=feature", "--split"), ("--target=height", "--target")]
)
def test_options_that_mean_nothing_beside_an_extent_are_named(tmp_path: Path, option: str, named: str) -> None:
    for name in ("scene.tif", "zones.tif", "extent.tif"):
        (tmp_path / name).write_bytes(b"")
    arguments = ["train", str(tmp_path / "scene.tif"), "--labels", str(tmp_path / "zones.tif")]
    arguments += ["--extent", str(tmp_path / "extent.tif"), "--out", str(tmp_path / "model"), option]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code != 0
    assert f"{named} means nothing to training with --extent" in str(result.exception or "") + result.output
