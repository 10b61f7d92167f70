"""Openings and alignments of real files: values must be physical, grids must agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from common import data_root, data_set
from ecumene.scenes.grid import full_window
from ecumene.scenes.opening import describe_scene
from ecumene.scenes.reading import read_bands
from ecumene.scenes.stack import SceneStack, align_scenes

L1C: dict[str, Any] = {"sensor": "sentinel-2", "level": "L1C", "scale": 1e-4, "offset": 0.0}
GRD: dict[str, Any] = {"sensor": "sentinel-1", "level": "GRD", "unit": "dB", "scale": 1.0, "offset": 0.0}


def _quantiles(image: np.ndarray) -> list[float]:
    finite = image[np.isfinite(image)]
    return [round(float(value), 4) for value in np.percentile(finite, (1, 50, 99))] if finite.size else []


def _stack_facts(stack: SceneStack) -> dict[str, Any]:
    block = stack.read(full_window(stack.geobox))
    return {
        "shape": list(stack.geobox.shape),
        "times": [None if time is None else str(time)[:10] for time in stack.times],
        "channels": [channel.key for channel in stack.channels],
        "valid_fraction": round(float(block.valid.mean()), 4),
        "quantiles_1_50_99": {
            channel.key: _quantiles(block.image[:, position]) for position, channel in enumerate(stack.channels)
        },
    }


def majortom() -> dict[str, Any]:
    """Three resolutions of one acquisition as one scene on the 10 m grid."""
    folder = data_root() / "majortom_s2l2a_199U_1099R"
    files = [folder / f"S2B_L2A_20200223_T48QUE_{size}m.tif" for size in (10, 20, 60)]
    source = describe_scene("+".join(map(str, files)), sensor="sentinel-2", level="L2A", scale=1e-4, offset=0.0)
    stack = align_scenes([source], mask_clouds=False)
    facts = _stack_facts(stack)
    # A 20 m band on the 10 m grid must keep its mean: resampling moves no reflectance.
    native = next(band for band in source.bands if band.name == "B11")
    coarse = read_bands(source, ["B11"], native.geobox)[0]
    fine = read_bands(source, ["B11"], source.geobox)[0]
    facts["B11_mean_native_and_on_10_m"] = [round(float(np.nanmean(coarse)), 5), round(float(np.nanmean(fine)), 5)]
    return {"data": data_set("majortom_s2l2a_199U_1099R", files), **facts}


def ssl4eo() -> dict[str, Any]:
    """Sentinel-1 and Sentinel-2, two dates each, on one grid."""
    root = data_root() / "ssl4eo_s12_patch_0000200"
    optical = sorted((root / "s2c" / "0000200").iterdir())
    radar = sorted((root / "s1" / "0000200").iterdir())
    sources = [describe_scene(folder, **L1C, time=_date(folder.name[:8])) for folder in optical] + [
        describe_scene(folder, **GRD, time=_date(folder.name[17:25])) for folder in radar
    ]
    files = [path for folder in (*optical, *radar) for path in sorted(folder.glob("*.tif"))]
    facts = _stack_facts(align_scenes(sources, mask_clouds=False))
    return {"data": data_set("ssl4eo_s12_patch_0000200", files), **facts}


def _date(compact: str) -> str:
    return f"{compact[:4]}-{compact[4:6]}-{compact[6:8]}"


def saclay() -> dict[str, Any]:
    """Two dates of different size on the grid of the first."""
    root = data_root() / "oscd" / "saclay_e"
    dates = _oscd_dates(root / "dates.txt")
    sources = [
        describe_scene(root / part, sensor="sentinel-2", level="L1C", scale=1e-4, offset=0.0, time=date)
        for part, date in zip(("imgs_1", "imgs_2"), dates, strict=True)
    ]
    files = [path for part in ("imgs_1", "imgs_2") for path in sorted((root / part).glob("*.tif"))]
    facts = _stack_facts(align_scenes(sources, mask_clouds=False))
    facts["native_shapes"] = [list(source.geobox.shape) for source in sources]
    return {"data": data_set("oscd/saclay_e", files), **facts}


def _oscd_dates(path: Path) -> list[str]:
    return [_date(line.split()[-1].replace("-", "")) for line in path.read_text().splitlines() if line.strip()]


def barbellino() -> dict[str, Any]:
    """Same day, two levels: the atmosphere brightens the blue at the top and nothing is unphysical."""
    root = data_root() / "s2_l1c_l2a_pair_barbellino"
    names = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12"]
    out: dict[str, Any] = {"data": data_set("s2_l1c_l2a_pair_barbellino", sorted(root.glob("*.tif")))}
    for day in ("20170703", "20190723"):
        toa = describe_scene(root / f"S2A1C_{day}_022_Barbellino_TOA_10.tif", **L1C, bands=names)
        boa = describe_scene(
            root / f"S2A2A_{day}_022_Barbellino_BOA_10.tif",
            sensor="sentinel-2",
            level="L2A",
            scale=1e-4,
            offset=0.0,
            bands=[name for name in names if name != "B10"],
        )
        common = [name for name in names if name != "B10"]
        top, bottom = read_bands(toa, common, toa.geobox), read_bands(boa, common, toa.geobox)
        both = np.isfinite(top).all(axis=0) & np.isfinite(bottom).all(axis=0)
        out[day] = {
            "pixels": int(both.sum()),
            "median_toa": {name: round(float(np.median(top[i][both])), 4) for i, name in enumerate(common)},
            "median_boa": {name: round(float(np.median(bottom[i][both])), 4) for i, name in enumerate(common)},
            "toa_range": [round(float(top[:, both].min()), 4), round(float(top[:, both].max()), 4)],
            "boa_range": [round(float(bottom[:, both].min()), 4), round(float(bottom[:, both].max()), 4)],
        }
    return out


def openings(seeds: int) -> dict[str, Any]:
    """Open and align the files whose shapes and resolutions differ; nothing here is random."""
    return {"majortom": majortom(), "ssl4eo": ssl4eo(), "saclay_e": saclay(), "barbellino": barbellino()}
