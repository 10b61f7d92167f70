"""`view --model --scenes`: the page explains places of a map with the model and the scenes that it was made of."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra viewer")
pytest.importorskip("rio_tiler", reason="needs the extra viewer")

import rasterio
from end_to_end import copy_scene, rewrite
from pyproj import Transformer

from ecumene import map_scenes
from ecumene.core.errors import ConfigurationError, ContractError, SceneError
from ecumene.models.bundle import Model
from ecumene.viewer.server.library import open_library
from ecumene.viewer.server.why import Stopped
from ecumene.workflows.explain import explain_scene
from ecumene.workflows.explain_methods import date_names
from ecumene.workflows.stacks import open_stack
from ecumene.workflows.view import ViewOptions, view_products
from ecumene.workflows.view_why import PointExplainer, _check_local, _Watched, open_why

pytestmark = pytest.mark.slow  # trains small models; the oldest versions run without them


def place(scene, row, col):
    """Return (longitude and latitude, "X,Y" on the scene's grid) of a pixel."""
    with rasterio.open(scene) as dataset:
        x, y = dataset.xy(row, col)
        crs = dataset.crs
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
    return (lon, lat), f"{x},{y}"


def opened(model, scene, folder):
    """Return an explainer of a fresh map."""
    map_scenes(model, scene, folder)
    library = open_library([folder])
    loaded = Model.load(model)
    stack = loaded.match(open_stack([str(scene)]))
    return PointExplainer(_Watched(loaded, 1), stack, library.entry(folder.name))


@pytest.mark.parametrize("kind", ["forest", "unet"])
def test_a_click_says_what_the_verb_explain_says(kind, request, scene, tmp_path):
    model = request.getfixturevalue(kind)
    explainer = opened(model, scene, tmp_path / "map")
    (lon, lat), at = place(scene, 40, 30)
    runs = []
    found = explainer(lon, lat, lambda: runs.append(1))
    want = explain_scene(model, scene, tmp_path / "why", at=at, method="occlusion", threads=1)
    assert found["text"] == want.sentence
    assert found["notes"] == []
    falls = {effect.name: effect.fall for effect in want.of_kind("band")[:10]}
    shown = {band["name"]: band["value"] for band in found["sections"][0]["bands"]}
    assert shown == pytest.approx(falls, abs=1e-5)
    assert len(runs) >= len(want.of_kind("band"))  # it can be stopped before each of them


def test_it_stops_before_the_next_run_of_the_model(forest, scene, tmp_path):
    explainer = opened(forest, scene, tmp_path / "map")
    runs = []

    def step():
        runs.append(1)
        if len(runs) == 3:
            raise Stopped("enough")

    (lon, lat), _ = place(scene, 40, 30)
    with pytest.raises(Stopped):
        explainer(lon, lat, step)
    assert len(runs) == 3
    with pytest.raises(SceneError, match="outside of the scene"):
        explainer(0.0, 0.0, lambda: None)


def test_a_map_of_other_scenes_is_noticed(forest, scene, tmp_path):
    explainer = opened(forest, scene, tmp_path / "map")
    dark = copy_scene(scene, tmp_path / "dark")
    rewrite(dark, lambda values: values * 0 + 1)
    stack = explainer.scores.model.match(open_stack([str(dark)]))
    other = PointExplainer(explainer.scores, stack, explainer.entry)
    notes = []
    for row, col in ((40, 30), (12, 50), (30, 12), (50, 50), (5, 40)):
        (lon, lat), _ = place(scene, row, col)
        notes += other(lon, lat, lambda: None)["notes"]
    assert notes
    assert all("other scenes" in note for note in notes)


def test_bad_input_is_said_in_one_sentence(forest, unet, scene, tmp_path):
    map_scenes(forest, scene, tmp_path / "map")
    library = open_library([tmp_path / "map"])
    with pytest.raises(ConfigurationError, match="one --model"):
        open_why(library, [], [str(scene)])
    with pytest.raises(ConfigurationError, match="none of these"):
        open_why(library, [unet], [str(scene)])
    with rasterio.open(scene) as dataset:
        bands = dataset.read([1])
        profile = dataset.profile | {"count": 1}
        name = dataset.descriptions[0]
    with rasterio.open(tmp_path / "one.tif", "w", **profile) as target:
        target.write(bands)
        target.descriptions = (name,)
    with pytest.raises(ConfigurationError, match="declare --sensor"):
        open_why(library, [forest], [str(tmp_path / "one.tif")])
    with pytest.raises(ContractError, match="B"):
        open_why(
            library,
            [forest],
            [str(tmp_path / "one.tif")],
            {"sensor": "sentinel-2", "level": "L1C", "scale": 1e-4, "offset": 0.0},
        )
    with pytest.raises(ConfigurationError, match="one --model"):
        view_products([tmp_path / "map"], ViewOptions(scenes=(str(scene),), browser=False))
    for href in ("HTTPS://example.org/a.tif", "/VSICURL/http://a/b.tif", "/vsiswift/a/b.tif", "ftp://a/b.tif"):
        source = SimpleNamespace(id="far", bands=[SimpleNamespace(href=href)], mask=None)
        with pytest.raises(ConfigurationError, match="far lies on another machine"):
            _check_local(SimpleNamespace(sources=[source]))
    assert open_why(library, [forest], [str(scene)]).description == {"products": ["map"]}


def test_the_weights_are_read_and_checked_once(forest, scene, tmp_path, monkeypatch):
    map_scenes(forest, scene, tmp_path / "map")
    loads, real = [], Model.load
    monkeypatch.setattr(Model, "load", classmethod(lambda cls, folder: loads.append(folder) or real(folder)))
    monkeypatch.setattr("ecumene.viewer.assets.require_assets", lambda: None)
    monkeypatch.setattr("ecumene.viewer.server.running.serve", lambda app, listening, started: listening.close())
    view_products([tmp_path / "map"], ViewOptions(models=(forest,), scenes=(str(scene),), browser=False))
    assert loads == [forest]


@pytest.mark.parametrize(
    ("times", "names"),
    [
        (["2024-05-01T10:00", "2024-06-01T10:00"], ["2024-05-01", "2024-06-01"]),
        (["2024-05-01T10:00", "2024-05-01T10:05"], ["2024-05-01T10:00:00Z", "2024-05-01T10:05:00Z"]),
        (["2024-05-01T10:00", "2024-05-01T10:00"], ["2024-05-01T10:00:00Z (1)", "2024-05-01T10:00:00Z (2)"]),
        ([None, None], ["frame 1", "frame 2"]),
    ],
)
def test_dates_have_names_that_differ(times, names):
    stack = SimpleNamespace(times=[None if time is None else np.datetime64(time) for time in times])
    assert date_names(stack) == names
