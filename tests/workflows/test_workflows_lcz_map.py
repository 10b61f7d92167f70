"""Local climate zones of a city from a Sentinel-2 scene: a clean grid of 100 m, and of 10 m."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

torch = pytest.importorskip("torch")
pytest.importorskip("h5py", reason="h5py is not installed")

from so2sat_files import write_version_2  # noqa: E402
from zone_town import write_zone_town  # noqa: E402

from ecumene.core.errors import ContractError  # noqa: E402
from ecumene.legends.library import get_legend  # noqa: E402
from ecumene.mapping.product import Product  # noqa: E402
from ecumene.models.bundle import Model  # noqa: E402
from ecumene.systems import System, get_system  # noqa: E402
from ecumene.workflows import scene_train  # noqa: E402
from ecumene.workflows.map import map_scenes  # noqa: E402
from ecumene.workflows.scene_train import train_scene_model  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a narrow Sen2LCZ-Net-MF, trained for a moment on files in the official layout."""
    system = get_system("sen2lcz-net-mf")
    narrow = system.model_copy(update={"network_arguments": {**system.network_arguments, "depth": 5, "width": 4}})

    def choose(name: str) -> System:
        return narrow if name == narrow.name else get_system(name)

    folder = tmp_path_factory.mktemp("lcz")
    write_version_2(folder / "data", counts=(760, 40, 40), geo=True, level="L2A")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene_train, "get_system", choose)
        train_scene_model(folder / "data", "sen2lcz-net-mf", folder / "model", epochs=3)
    return folder / "model"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Not at a multiple of 100 m, as no scene is.
    return write_zone_town(tmp_path_factory.mktemp("town"), blocks=4, east=600_030.0, north=5_300_070.0).scene


@pytest.fixture(scope="module")
def product(model: Path, scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Product:
    return map_scenes(model, scene, tmp_path_factory.mktemp("map") / "product", step=10)


def test_the_bundle_says_what_it_learned_from(model: Path) -> None:
    bundle = Model.load(model)
    assert bundle.spec.patch_size == 32
    assert [band.band for band in bundle.spec.inputs][:3] == ["B02", "B03", "B04"]
    assert bundle.spec.training["data_set"]["name"] == "so2sat-lcz42"
    metrics = bundle.spec.training["accuracy"]["metrics"]
    assert {"overall_accuracy", "kappa", "oa_built", "oa_natural", "oa_built_or_natural"} <= set(metrics)


def test_cells_of_100_m_lie_on_multiples_of_100_m(product: Product) -> None:
    with rasterio.open(product.path("value")) as file:
        assert file.crs.to_epsg() == 32632
        assert file.res == (100.0, 100.0)
        assert file.transform.c % 100 == 0
        assert file.transform.f % 100 == 0
        # The scene is 1280 m wide and begins 30 m behind a line of the grid.
        assert (file.transform.c, file.transform.f) == (600_000.0, 5_300_100.0)
        assert file.shape == (14, 14)
        assert set(np.unique(file.read(1))) <= {*range(1, 18), 255}


def test_zones_have_the_standard_colours(product: Product) -> None:
    with rasterio.open(product.path("value")) as file:
        colours = file.colormap(1)
    for entry in get_legend("lcz").classes:
        assert "#{:02x}{:02x}{:02x}".format(*colours[entry.value][:3]) == entry.colour


def test_a_zone_has_probability_uncertainty_and_flag(product: Product) -> None:
    with rasterio.open(product.path("valid")) as file:
        valid = file.read(1) > 0
    with rasterio.open(product.path("probability")) as file:
        probability = file.read() / 250.0
        assert file.count == 17
    with rasterio.open(product.path("value")) as file:
        value = file.read(1)
    with rasterio.open(product.path("uncertainty")) as file:
        uncertainty = file.read(1) / 250.0
    assert valid.mean() > 0.8
    np.testing.assert_allclose(probability.sum(axis=0)[valid], 1.0, atol=0.04)
    best = probability.max(axis=0)
    assert (np.take_along_axis(probability, (value[None] - 1) % 17, 0)[0] >= best - 0.005)[valid].all()
    entropy = -(np.clip(probability, 1e-9, 1) * np.log(np.clip(probability, 1e-9, 1))).sum(axis=0) / np.log(17)
    np.testing.assert_allclose(uncertainty[valid], entropy[valid], atol=0.03)
    with rasterio.open(product.path("outlier")) as file:
        assert set(np.unique(file.read(1)[valid])) <= {0, 1}


def test_cells_of_10_m_are_the_scenes_pixels(model: Path, tmp_path: Path) -> None:
    small = write_zone_town(tmp_path / "town", blocks=2).scene
    product = map_scenes(model, small, tmp_path / "product", step=1)
    with rasterio.open(small) as scene, rasterio.open(product.path("value")) as file:
        assert file.transform == scene.transform
        assert file.shape == scene.shape
        assert (file.read(1) != 255).all()


def test_a_scene_of_another_level_is_refused(model: Path, tmp_path: Path) -> None:
    scene = write_zone_town(tmp_path / "town", blocks=2, level="L1C").scene
    with pytest.raises(ContractError, match="level L1C, but the model was trained on L2A"):
        map_scenes(model, scene, tmp_path / "product", step=10)
