"""The verb `insar`: from files to a product that opens, with values, errors, flags and provenance."""

import csv
import json

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from ecumene.core.errors import ConfigurationError, ContractError, EcumeneError, ProductError, SceneError
from ecumene.mapping.product import open_product
from ecumene.physics.interferometry.geometry import RadarGeometry
from ecumene.physics.interferometry.network import make_network
from ecumene.workflows.insar import insar

SHAPE = (24, 30)
RADAR = {"looks": 20, "wavelength_m": 0.0554658, "incidence_deg": 35.0, "slant_range_m": 8.2e5}


def write(path, bands, names=None, nodata=0.0, shift=0.0):
    bands = np.asarray(bands)
    profile = {
        "driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2],
        "dtype": bands.dtype, "crs": "EPSG:32614", "nodata": nodata,
        "transform": from_origin(480_000 + shift, 2_150_000, 100, 100),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        target.write(bands)
        for band, name in enumerate(names or (), start=1):
            target.set_band_description(band, name)
    return path


def table(path, net):
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["first", "second", "bperp_m"])
        writer.writerows(
            (str(a).replace("-", ""), str(b), f"{c:.4f}")
            for a, b, c in zip(net.first, net.second, net.baselines_m, strict=True)
        )
    return path


@pytest.fixture
def stack(tmp_path):
    """A subsiding bowl seen by nine acquisitions; bands lie in another order than the table."""
    rng = np.random.default_rng(0)
    dates = np.datetime64("2021-02-01") + 12 * np.arange(9)
    baseline = rng.uniform(-90, 90, 9)
    first, second = np.array([(i, j) for i in range(9) for j in range(i + 1, min(9, i + 4))]).T
    net = make_network(dates[first], dates[second], baseline[second] - baseline[first])
    rows, cols = np.indices(SHAPE)
    rate = -0.15 * np.exp(-((rows - 12) ** 2 + (cols - 18) ** 2) / 30.0)
    geometry = RadarGeometry(0.0554658, 8.2e5, 35.0)
    acquisition = -geometry.phase_per_metre * net.years[:, None, None] * rate + rng.normal(0, 0.1, (9, 1, 1))
    phase = acquisition[net.second_index] - acquisition[net.first_index]
    phase += 0.1 * rng.normal(size=phase.shape) + 5.0
    order = rng.permutation(net.pairs)
    names = [f"{net.first[k]}_{net.second[k]}".replace("-", "") for k in order]
    unwrapped = phase.copy()
    unwrapped[:, :2] = 0.0
    return {
        "network": net, "rate": rate, "pairs": table(tmp_path / "pairs.csv", net),
        "phase": write(tmp_path / "unwrapped.tif", unwrapped[order].astype(np.float32), names),
        "complex": write(tmp_path / "complex.tif", np.exp(1j * phase)[order].astype(np.complex64), names, None),
        "coherence": write(tmp_path / "coherence.tif", np.full(phase.shape, 0.8, np.float32), names, None),
        "folder": tmp_path,
    }  # fmt: skip


def layer(product, name, band=1):
    with rasterio.open(product.path(name)) as source:
        return source.read(band)


def test_velocity_product(stack):
    out = stack["folder"] / "velocity"
    insar([stack["phase"]], stack["pairs"], out, coherence=[stack["coherence"]], reference="480250,2149750", **RADAR)
    product = open_product(out, verify=True)
    value, error, valid = layer(product, "value"), layer(product, "uncertainty"), layer(product, "valid")
    assert not valid[:2].any()
    assert valid[2:].all()
    assert np.isnan(value[:2]).all()
    truth = 1e3 * stack["rate"]
    inside = np.abs((value - truth) / error)[2:]
    assert np.mean(inside < 2) > 0.9
    assert np.abs(value - truth)[2:].max() < 40
    assert value[12, 18] < -100  # away from the satellite
    assert product.layers["value"].unit == "mm/yr"
    assert product.layers["displacement"].band_names[0] == "2021-02-01"
    last = layer(product, "displacement", 9)
    assert last[12, 18] == pytest.approx(truth[12, 18] * stack["network"].years[-1], abs=5.0)
    assert layer(product, "outlier")[2:].mean() < 0.05
    item = json.loads(product.item_path.read_text())
    assert str(stack["folder"]) not in product.item_path.read_text()
    assert {link["href"] for link in item["links"]} == {"unwrapped.tif", "coherence.tif", "pairs.csv"}
    assert item["properties"]["ecumene:method"]["parameters"]["looks"] == 20
    assert item["properties"]["ecumene:results"]["closures_with_whole_cycles"] == 0.0
    assert item["properties"]["start_datetime"] == "2021-02-01T00:00:00Z"


def test_complex_input_is_unwrapped_and_gives_the_same_velocity(stack):
    out = stack["folder"] / "a"
    options = {"coherence": [stack["coherence"]], "reference": "480250,2149450", **RADAR}
    first = insar([stack["phase"]], stack["pairs"], out, **options)
    second = insar([stack["complex"]], stack["pairs"], stack["folder"] / "b", **options)
    assert np.allclose(layer(first, "value")[2:], layer(second, "value")[2:], atol=1e-2)
    third = insar(
        [stack["complex"]], stack["pairs"], stack["folder"] / "c", goldstein=0.3, unwrapping="reliability",
        atmosphere_pixels=2.0, ramp="offset", **options,
    )  # fmt: skip
    assert np.abs(layer(third, "value") - 1e3 * stack["rate"])[2:].max() < 60


def test_single_pair_gives_height(stack):
    geometry = RadarGeometry(0.0311, 6e5, 38.0, passes=1)
    rows, cols = np.indices(SHAPE)
    truth = 60.0 * np.exp(-((rows - 12) ** 2 + (cols - 15) ** 2) / 60.0)
    phase = truth * geometry.height_rate(120.0)
    names = ["2015-06-01_2015-06-02"]
    wrapped = write(stack["folder"] / "one.tif", np.exp(1j * phase)[None].astype(np.complex64), names, None)
    coherence = write(stack["folder"] / "one_coherence.tif", np.full((1, *SHAPE), 0.9, np.float32), names, None)
    net = make_network(["20150601"], ["20150602"], [120.0])
    product = insar(
        [wrapped], table(stack["folder"] / "one.csv", net), stack["folder"] / "height", coherence=[coherence],
        looks=16, wavelength_m=0.0311, incidence_deg=38.0, slant_range_m=6e5, passes=1, reference="480050,2149950",
    )  # fmt: skip
    assert product.layers["value"].unit == "m"
    assert np.ptp(layer(product, "value") - truth) < 0.01  # heights are relative to the reference
    results = product.properties["ecumene:results"]
    assert results["heights_of_ambiguity_m"][0] == pytest.approx(float(geometry.height_of_ambiguity(120.0)), abs=1e-2)
    assert results["relative_height_error_90_m"] > 0


@pytest.fixture
def bistatic(tmp_path):
    """Blocks of 10 to 70 m in four bistatic pairs, each of one date, whose fringes are shorter than the blocks."""
    rng = np.random.default_rng(5)
    truth = np.zeros(SHAPE)
    truth[6:12, 8:16], truth[14:21, 18:27] = 70.0, 23.0
    geometry = RadarGeometry(0.0311, 6e5, 38.0, passes=1)
    baselines = np.array([60.0, 110.0, -330.0, 430.0])
    phase = geometry.height_rate(baselines)[:, None, None] * truth + rng.uniform(-3, 3, (4, 1, 1))
    phase += 0.057 * rng.normal(size=phase.shape)  # the bound of 36 looks at coherence 0.9
    dates = ["2012-01-03", "2012-01-14", "2012-01-25", "2012-02-05"]
    names = [f"{date} {date}" for date in dates]
    net = make_network(dates, dates, baselines, single_pass=True)
    return {
        "truth": truth, "pairs": table(tmp_path / "pairs.csv", net), "folder": tmp_path,
        "complex": write(tmp_path / "ifg.tif", np.exp(1j * phase).astype(np.complex64), names, None),
        "coherence": write(tmp_path / "coh.tif", np.full(phase.shape, 0.9, np.float32), names, None),
        "radar": {"looks": 36, "wavelength_m": 0.0311, "incidence_deg": 38.0, "slant_range_m": 6e5, "passes": 1},
    }  # fmt: skip


def test_few_bistatic_pairs_give_heights_without_unwrapping(bistatic):
    product = insar(
        [bistatic["complex"]], bistatic["pairs"], bistatic["folder"] / "joint", coherence=[bistatic["coherence"]],
        reference="480250,2149850", height_range_m=(-20, 120), **bistatic["radar"],
    )  # fmt: skip
    value, error, outlier = (layer(product, name) for name in ("value", "uncertainty", "outlier"))
    score = (value - bistatic["truth"])[outlier == 0] / error[outlier == 0]
    assert outlier.mean() < 0.05
    assert np.mean(np.abs(score) < 2) > 0.9
    assert np.abs(value - bistatic["truth"])[outlier == 0].max() < 3
    assert product.properties["ecumene:results"]["method"].startswith("joint")
    assert "jointly" in product.properties["processing:lineage"]
    # Pair by pair the walls, higher than a height of ambiguity, cannot be unwrapped.
    pairwise = insar(
        [bistatic["complex"]], bistatic["pairs"], bistatic["folder"] / "pairwise",
        coherence=[bistatic["coherence"]], reference="480250,2149850", **bistatic["radar"],
    )  # fmt: skip
    assert pairwise.layers["value"].unit == "m"
    assert np.abs(layer(pairwise, "value") - bistatic["truth"]).max() > 10
    assert layer(pairwise, "outlier").mean() > 0.05


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"quantity": "velocity"}, "no time between"),
        ({"height_range_m": (50.0, 10.0)}, "height range"),
        ({"height_range_m": (0.0, 90.0), "ramp": "plane"}, "belong to unwrapping"),
        ({"height_range_m": (0.0, 90.0), "reference": "0,0"}, "outside"),
        ({"height_range_m": (0.0, 90.0), "passes": 2}, "with itself"),
    ],
)
def test_joint_heights_refuse_what_cannot_work(bistatic, options, sentence):
    given = {"reference": "480250,2149850", **bistatic["radar"], **options}
    with pytest.raises(EcumeneError, match=sentence):
        insar([bistatic["complex"]], bistatic["pairs"], bistatic["folder"] / "bad", coherence=[bistatic["coherence"]],
              **given)  # fmt: skip


def test_a_product_is_replaced_only_when_asked(stack):
    out = stack["folder"] / "again"
    options = {"coherence": [stack["coherence"]], **RADAR}
    insar([stack["phase"]], stack["pairs"], out, **options)
    with pytest.raises(ProductError, match="overwrite"):
        insar([stack["phase"]], stack["pairs"], out, **options)
    insar([stack["phase"]], stack["pairs"], out, overwrite=True, **options)
    assert open_product(out, verify=True)
    assert not list(out.glob(".*"))


def test_bad_input_is_refused_in_a_sentence(stack):
    folder = stack["folder"]
    good = {"coherence": [stack["coherence"]], **RADAR}

    def attempt(match, kind=EcumeneError, phase=stack["phase"], pairs=stack["pairs"], **options):
        with pytest.raises(kind, match=match) as caught:
            insar([phase], pairs, folder / "bad", **(good | options))
        assert "\n" not in str(caught.value)
        assert not (folder / "bad" / "item.json").exists()

    attempt("no table", ConfigurationError, pairs=folder / "none.csv")
    attempt("slant range", ConfigurationError, slant_range_m=None)
    attempt("looks", ConfigurationError, looks=0.0)
    attempt("no ramp", ConfigurationError, ramp="cubic")
    attempt("cannot be mapped", ConfigurationError, quantity="depth")
    attempt("neither auto", ConfigurationError, reference="north")
    attempt("outside", ConfigurationError, reference="0,0")
    attempt("no option", ConfigurationError, colour="red")
    attempt("no file", SceneError, phase=folder / "none.tif")
    shifted = write(folder / "shifted.tif", np.ones((stack["network"].pairs, *SHAPE), np.float32), shift=100.0)
    attempt("another grid", ContractError, coherence=[shifted])
    zero = write(folder / "zero.tif", np.zeros((stack["network"].pairs, *SHAPE), np.float32), nodata=None)
    attempt("zero everywhere", ContractError, coherence=[zero])
    few = write(folder / "few.tif", np.ones((2, *SHAPE), np.float32))
    attempt("bands for", ContractError, phase=few)
    empty = write(folder / "empty.tif", np.full((stack["network"].pairs, *SHAPE), np.nan, np.float32))
    attempt("Interferogram 1 has no finite phase", ContractError, phase=empty)
    burst = np.ones((stack["network"].pairs, *SHAPE), np.float32)
    burst[3, 5, 6] = np.inf
    attempt("infinite", ContractError, phase=write(folder / "infinite.tif", burst))
    attempt("infinite", ContractError, phase=write(folder / "turned.tif", burst.astype(np.complex64), nodata=None))
    lost = write(folder / "lost.tif", np.zeros((stack["network"].pairs, *SHAPE), np.float32), nodata=0.0)
    attempt("zero everywhere", ContractError, coherence=[lost])
    net = stack["network"]
    flat = table(folder / "flat.csv", make_network(net.first, net.second, np.zeros(net.pairs)))
    attempt("All baselines are equal", ConfigurationError, pairs=flat)
    attempt("baseline is zero", ConfigurationError, pairs=flat, quantity="height")
    text = folder / "text.csv"
    text.write_text("a,b\n1,2\n")
    attempt("needs the columns", ConfigurationError, pairs=text)
    text.write_text("first,second,bperp_m\n20210201,20210213,wide\n")
    attempt("not a number", ConfigurationError, pairs=text)


def test_command_line(stack):
    from typer import Typer
    from typer.testing import CliRunner

    from ecumene.cli.insar import insar as command

    app = Typer()
    app.command()(command)
    out = stack["folder"] / "cli"
    arguments = [
        str(stack["phase"]), "--pairs", str(stack["pairs"]), "--coherence", str(stack["coherence"]), "--looks", "20",
        "--wavelength", "0.0554658", "--incidence", "35", "--orbit-height", "693000", "--out", str(out),
    ]  # fmt: skip
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert open_product(out).layers["value"].unit == "mm/yr"


def test_command_line_of_joint_heights(bistatic):
    from typer import Typer
    from typer.testing import CliRunner

    from ecumene.cli.insar import insar as command

    app = Typer()
    app.command()(command)
    arguments = [
        str(bistatic["complex"]), "--pairs", str(bistatic["pairs"]), "--coherence", str(bistatic["coherence"]),
        "--looks", "36", "--wavelength", "0.0311", "--incidence", "38", "--slant-range", "600000", "--bistatic",
    ]  # fmt: skip
    out = bistatic["folder"] / "cli"
    result = CliRunner().invoke(app, [*arguments, "--height-range", "-20,120", "--out", str(out)])
    assert result.exit_code == 0, result.output
    product = open_product(out, verify=True)
    assert product.layers["value"].unit == "m"
    assert product.properties["ecumene:method"]["parameters"]["height_range_m"] == [-20.0, 120.0]
    wrong = CliRunner().invoke(app, [*arguments, "--height-range", "low", "--out", str(out)])
    assert isinstance(wrong.exception, ConfigurationError)
