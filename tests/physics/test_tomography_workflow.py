import json

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from typer.testing import CliRunner

from ecumene.core.errors import ConfigurationError, EcumeneError, MissingDependencyError, SceneError
from ecumene.mapping.product import open_product
from ecumene.physics.tomography import make_geometry, simulate_stack
from ecumene.workflows.tomography import tomography

N, ROWS, COLUMNS = 20, 12, 16
CONSTANTS = {"wavelength_m": 0.0310666, "slant_range_m": 7e5, "incidence_deg": 35.0}


def write_stack(folder, *, crs="EPSG:32633", motion=False, seed=0):
    """A wall of 40 m elevation in the right half over ground at 0; one pixel without data."""
    rng = np.random.default_rng(seed)
    baselines, times = rng.uniform(-135, 135, N), np.sort(rng.uniform(0, 3, N))
    geometry = make_geometry(baselines, **CONSTANTS, times_years=times, motion=("linear",))
    theta = np.zeros((ROWS, COLUMNS, 2, 2))
    theta[:, 8:, 1, 0] = 40.0
    theta[..., 1] = 3.0 if motion else 0.0
    x = np.exp(2j * np.pi * rng.random((ROWS, COLUMNS, 2)))
    x[:, :8, 1] = 0
    data = simulate_stack(geometry, theta.reshape(-1, 2, 2), x.reshape(-1, 2), 0.05, rng)
    cube = data.T.reshape(N, ROWS, COLUMNS)
    cube[3, 0, 0] = 0
    paths, lines = [], ["file, baseline_m, time, wavelength_m, slant_range_m, incidence_deg"]
    start = np.datetime64("2017-01-01")
    for n in range(N):
        path = folder / f"slc{n:02d}.tif"
        profile = {"driver": "GTiff", "height": ROWS, "width": COLUMNS, "count": 1, "dtype": "complex64"}
        if crs:
            profile |= {"crs": crs, "transform": from_origin(390000, 5820000, 2.0, 2.0)}
        with rasterio.open(path, "w", **profile) as sink:
            sink.write(cube[n].astype(np.complex64), 1)
        paths.append(path)
        day = start + np.timedelta64(round(times[n] * 365.25 * 86400), "s")
        lines.append(f"{path.name}, {baselines[n]}, {day}Z, 0.0310666, 700000, 35")
    table = folder / "stack.csv"
    table.write_text("\n".join(lines))
    return paths, table


def test_points_layers_and_item(tmp_path):
    import geopandas

    paths, table = write_stack(tmp_path)
    product = tomography(paths[::-1], table, tmp_path / "out", elevation_m=(-60, 100), laz=False)
    points = geopandas.read_parquet(product.points)
    assert points.crs.to_epsg() == 32633
    assert len(points) == product.scatterers
    wall = points[(points.column >= 8) & (points.scatterers == 2)]
    assert len(wall) > 0.9 * ROWS * 8
    top = wall[wall.height_m > 11]
    assert len(top) == len(wall) / 2
    assert (np.abs(top.height_m - 40 * np.sin(np.radians(35))) / top.height_standard_deviation_m).max() < 5
    ground = points[points.column < 8]
    score = ground[ground.scatterers == 1].height_m / ground[ground.scatterers == 1].height_standard_deviation_m
    assert score.std() == pytest.approx(1.0, abs=0.3)
    first = points.iloc[0]
    assert first.geometry.x == pytest.approx(390000 + 2 * (first.column + 0.5))
    assert first.geometry.y == pytest.approx(5820000 - 2 * (first.row + 0.5))
    assert first.geometry.z == pytest.approx(first.height_m)

    opened = open_product(product.folder, verify=True)
    assert {"value", "uncertainty", "outlier", "valid", "count"} <= set(opened.layers)
    with rasterio.open(opened.path("valid")) as source:
        valid = source.read(1)
    assert valid[0, 0] == 0
    assert valid.sum() == ROWS * COLUMNS - 1
    with rasterio.open(opened.path("count")) as source:
        assert source.read(1)[0, 0] == 255
    stated = opened.properties["ecumene:tomography"]
    assert stated["noise_estimated"]
    assert product.noise_variance == pytest.approx(0.05, rel=0.2)
    assert opened.properties["start_datetime"] < opened.properties["end_datetime"]
    assert str(tmp_path) not in json.dumps(opened.item)
    assert product.picture is not None
    assert product.picture.read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ConfigurationError, match="overwrite"):
        tomography(paths, table, tmp_path / "out", elevation_m=(-60, 100))


def test_radar_geometry_motion_and_reference(tmp_path):
    import geopandas

    paths, table = write_stack(tmp_path, crs=None, motion=True)
    product = tomography(
        paths, table, tmp_path / "out", elevation_m=(-60, 100), motion=["linear"], motion_ranges=[(-10, 10)], laz=False,
        reference=(6, 2), noise_variance=0.05,
    )  # fmt: skip
    points = geopandas.read_parquet(product.points)
    assert points.crs is None
    assert points.geometry.x.max() == COLUMNS - 0.5
    # Motion is relative to the reference pixel, which moves as all others do.
    assert np.median(points.velocity_mm_per_year) == pytest.approx(0.0, abs=1.0)
    assert "velocity_standard_deviation_mm_per_year" in points
    item = json.loads((product.folder / "item.json").read_text())
    assert item["geometry"] is None
    assert {"velocity", "velocity_uncertainty"} <= set(item["assets"])


def test_snapshots_of_a_window(tmp_path):
    paths, table = write_stack(tmp_path)
    product = tomography(paths, table, tmp_path / "out", elevation_m=(-60, 100), looks=3, laz=False)
    # Windows that reach over the border or the missing pixel give nothing.
    assert sum(product.pixels) == (ROWS - 2) * (COLUMNS - 2) - 1


def test_command_line(tmp_path):
    import typer

    from ecumene.cli.tomography import tomography as verb

    paths, table = write_stack(tmp_path)
    app = typer.Typer()
    app.command()(verb)
    arguments = [*map(str, paths), "--baselines", str(table), "--out", str(tmp_path / "out"), "--elevation", "-60,100"]
    result = CliRunner().invoke(app, [*arguments, "--no-laz"])
    assert result.exit_code == 0, result.output
    assert "scatterers" in result.output
    assert "Rayleigh" in result.output
    broken = CliRunner().invoke(app, [*arguments, "--overwrite", "--reference", "one,two"])
    assert isinstance(broken.exception, ConfigurationError)


def test_laz_is_written_or_missed_with_a_sentence(tmp_path):
    paths, table = write_stack(tmp_path)
    try:
        import laspy
    except ImportError:
        with pytest.raises(MissingDependencyError, match="laspy"):
            tomography(paths, table, tmp_path / "out", elevation_m=(-60, 100), laz=True)
        return
    product = tomography(paths, table, tmp_path / "out", elevation_m=(-60, 100), laz=True)
    with laspy.open(product.laz) as reader:
        cloud = reader.read()
    assert len(cloud.z) == product.scatterers
    assert cloud.header.parse_crs().to_epsg() == 32633
    assert "height_std_m" in set(cloud.point_format.extra_dimension_names)


def test_bad_stacks_are_refused(tmp_path):
    paths, table = write_stack(tmp_path)
    rows = table.read_text().splitlines()

    def changed(name, text):
        path = tmp_path / f"{name}.csv"
        path.write_text(text)
        return path

    real = tmp_path / "real.tif"
    with rasterio.open(real, "w", driver="GTiff", height=ROWS, width=COLUMNS, count=1, dtype="float32") as sink:
        sink.write(np.ones((1, ROWS, COLUMNS), np.float32))
    other = tmp_path / "other.tif"
    with rasterio.open(other, "w", driver="GTiff", height=ROWS + 1, width=COLUMNS, count=1, dtype="complex64") as sink:
        sink.write(np.ones((1, ROWS + 1, COLUMNS), np.complex64))
    no_files = changed(
        "anonymous",
        "\n".join(["baseline_m,wavelength_m,slant_range_m,incidence_deg"] + [f"{n},0.03,7e5,35" for n in range(N)]),
    )
    equal = changed("equal", no_files.read_text().replace("\n1,", "\n7,"))
    equal.write_text("\n".join(["baseline_m,wavelength_m,slant_range_m,incidence_deg"] + ["5,0.03,7e5,35"] * N))
    short = changed("short", "baseline_m\n" + "\n".join(str(n) for n in range(N)))
    cases = [
        (paths[:-1], table, {}, "19 images"),
        (paths, changed("empty", "name\n1\n"), {}, "baseline_m"),
        (paths, short, {}, "--wavelength"),
        (paths, equal, {}, "equal"),
        (
            paths,
            changed("words", "\n".join([rows[0], rows[1].replace(rows[1].split(",")[1], " far"), *rows[2:]])),
            {},
            "no number",
        ),
        (paths, no_files, {"motion": ["linear"]}, "acquisition times"),
        (paths, table, {"reference": (0, 0)}, "no data"),
        (paths, table, {"reference": (99, 0)}, "outside"),
        (paths, table, {"looks": 2}, "odd"),
        (paths, table, {"profile_row": 99}, "outside"),
        ([*paths[:-1], real], no_files, {}, "complex"),
        ([*paths[:-1], other], no_files, {}, "grid"),
        ([*paths[:-1], tmp_path / "absent.tif"], no_files, {}, "no file"),
    ]
    for images, csv, options, sentence in cases:
        with pytest.raises((ConfigurationError, SceneError), match=sentence) as caught:
            tomography(images, csv, tmp_path / "bad", elevation_m=(-60, 100), **options)
        assert isinstance(caught.value, EcumeneError)
    assert not (tmp_path / "bad" / "item.json").exists()
