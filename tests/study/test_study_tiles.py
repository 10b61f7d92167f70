"""A study with a grid gives a collection of tiles."""

import json

import pytest

from ecumene.core.errors import ConfigurationError
from ecumene.simulate.demo import write_demo
from ecumene.workflows.study import run_study
from ecumene.workflows.study_estimate import estimate_study

STUDY = """
name: tiles of a small town
period: 2023-06/2023-08
inputs: {{scenes: [{scenes}]}}
model:
  train: {{labels: labels.gpkg, system: random-forest, split: feature, seed: 1, scenes: [{last}]}}
grid: {{tiles: "EPSG:{epsg}:640"}}
out: result
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    import rasterio

    folder = tmp_path_factory.mktemp("tiles")
    data = write_demo(folder, 5, shape=(96, 96), n_polygons_per_class=12, n_reference=50)
    with rasterio.open(data.sentinel2[0]) as dataset:
        epsg = dataset.crs.to_epsg()
    names = [str(path.relative_to(folder)) for path in data.sentinel2]
    path = folder / "study.yaml"
    path.write_text(STUDY.format(scenes=", ".join(names), last=names[-1], epsg=epsg))
    return path


def test_tiles_are_mapped_and_estimated(study):
    assert estimate_study(study).tiles is None
    paths = run_study(study)
    collection = json.loads((paths.product / "collection.json").read_text())
    items = [link for link in collection["links"] if link["rel"] == "item"]
    assert len(items) >= 2
    estimate = estimate_study(study)
    assert estimate.tiles == len(items)
    assert estimate.stages == ("train", "map")
    assert any("one worker" in line for line in estimate.lines())
    run_study(study)


def test_a_collection_is_not_assessed(study):
    wrong = study.with_name("wrong.yaml")
    wrong.write_text(study.read_text() + "indicators: {reference: reference.gpkg}\n")
    with pytest.raises(ConfigurationError, match="a grid gives a collection of tiles"):
        run_study(wrong)
