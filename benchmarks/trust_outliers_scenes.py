"""Real shifts of whole scenes: other regions, clouds, other dates. Same bands and level as the training scene."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import Resampling

from common import data_root
from ecumene.core.window import Window
from ecumene.models.bundle import Model
from ecumene.models.perturbation import perturbed_output
from ecumene.models.torch_execution import TorchExecutor
from ecumene.samples.contract import Part
from ecumene.samples.labels import read_labels
from ecumene.samples.split import split_blocks
from ecumene.scenes.grid import full_window
from ecumene.trust.feature_choice import FeatureChoice
from ecumene.trust.outlier import CombinedDetector
from ecumene.workflows.feature_vectors import feature_layers
from ecumene.workflows.outliers import compare_layers, false_alarms, linear_head
from ecumene.workflows.stacks import open_stack
from trust_outliers_methods import (
    FALSE_ALARMS,
    Features,
    Method,
    draw,
    fit_methods,
    halves,
    join,
    measure,
    upper_bound,
)

L1C = {"sensor": "sentinel-2", "level": "L1C", "scale": 1e-4, "offset": 0.0}
L2A = {"sensor": "sentinel-2", "level": "L2A", "scale": 1e-4, "offset": 0.0}
BANDS_L1C = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"]
BANDS_L2A = [name for name in BANDS_L1C if name != "B10"]
WINDOW = 128
PIXELS_A_SCENE = 8000
KNOWN = 20_000


@dataclass(frozen=True)
class Case:
    """A training scene with labels, the scenes that differ from it, and scenes that hardly do."""

    name: str
    scene: Path
    labels: Path
    field: str
    split_by: str
    declaration: dict[str, Any]
    shifts: dict[str, Path]
    alike: dict[str, Path]


def cases() -> dict[str, Case]:
    root = data_root()
    slovenia, amazon = root / "s2_eopatch_slovenia", root / "s2_amazon_village"
    pakistan = sorted((root / "ssl4eo_s12_patch_0000200" / "s2c" / "0000200").iterdir())
    return {
        "slovenia": Case(
            "slovenia",
            slovenia / "S2_L1C_2015-07-11.tif",
            slovenia / "lulc_vector.geojson",
            "LULC_NAME",
            "block",
            L1C,
            {
                "cloud, same place, 2015-07-31": slovenia / "S2_L1C_2015-07-31.tif",
                "cloud, same place, 2015-08-20": slovenia / "S2_L1C_2015-08-20.tif",
                "region: Spain": root / "sen1floods11_spain_7370579" / "Spain_7370579_S2Hand.tif",
                "region: Pakistan": pakistan[0],
                "region and cloud: Benin": root / "sen12mscr_cloudy_patch" / "ROIs1868_summer_s2_cloudy_19_p30.tif",
            },
            {
                "clear, same place, 2015-08-30": slovenia / "S2_L1C_2015-08-30.tif",
                "clear, same place, 2015-09-09": slovenia / "S2_L1C_2015-09-09.tif",
            },
        ),
        "amazon": Case(
            "amazon",
            amazon / "S2_L2A_12band.tif",
            amazon / "training_polygons.gpkg",
            "class",
            "feature",
            L2A | {"offset": -0.1},
            {"region: Thailand": root / "majortom_s2l2a_199U_1099R"},
            {},
        ),
    }


def read_scene(path: Path, case: Case) -> np.ndarray:
    """Return the image `[C, H, W]` in physical units and the order of the training scene."""
    if path.name.startswith("majortom"):
        return _majortom(path)
    names = BANDS_L1C if case.name == "slovenia" else BANDS_L2A
    declared = {"bands": BANDS_L1C} if path.parent.name.startswith(("sen1floods11", "sen12mscr")) else {}
    stack = open_stack(path, mask_clouds=False, **case.declaration, **declared)
    block = stack.select([f"sentinel-2/{name}" for name in names]).read(full_window(stack.geobox))
    return block.image[0]


def _majortom(folder: Path) -> np.ndarray:
    """Bring the three files of a tile (10, 20 and 60 m) to 10 m by bilinear interpolation; no offset is in it."""
    bands: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("S2B_*m.tif")):
        with rasterio.open(path) as source:
            pixels = source.read(out_shape=(source.count, 1068, 1068), resampling=Resampling.bilinear)
            bands |= {name: pixels[i] for i, name in enumerate(source.descriptions)}
    return np.stack([bands[name] for name in BANDS_L2A]).astype(np.float32) * np.float32(1e-4)


class Reader:
    """Reads every part of a model that any method needs in one run."""

    def __init__(self, model: Model) -> None:
        found = feature_layers(model)
        self.layers = {name: found[name].channels for name in sorted(found, key=lambda name: found[name].factor)}
        self.hidden, self.weight, self.bias = linear_head(model)
        choice = FeatureChoice(("bands", "features", "logits", *self.layers), radius=1, pooling="max")
        self.run = TorchExecutor(model.spec, model.weights, choice=choice)
        self.plain = TorchExecutor(model.spec, model.weights, choice=FeatureChoice((self.hidden,)))
        self.sizes = {
            "bands": len(model.spec.inputs),
            "features": self.run.module.network.feature_channels,
            "logits": len(self.bias),
            **self.layers,
        }
        self.stride = max(1, model.spec.stride)

    def pixels(self, image: np.ndarray, keep: np.ndarray) -> dict[str, np.ndarray]:
        """Return the parts at chosen pixels of an image `[C, H, W]`, edges padded to the stride."""
        height, width = image.shape[1:]
        padding = ((0, 0), (0, -height % self.stride), (0, -width % self.stride))
        padded = np.ascontiguousarray(np.pad(image, padding, mode="edge")[None])

        def at(maps: np.ndarray) -> np.ndarray:
            return maps[0, :, :height, :width][:, keep].T

        together, parts, start = at(self.run.raw(padded)[1]), {}, 0
        for name, size in self.sizes.items():
            parts[name] = together[:, start : start + size]
            start += size
        parts["hidden"] = at(self.plain.raw(padded)[1])
        parts["perturbed"] = at(perturbed_output(self.run.module, padded))
        return parts

    def scene(self, image: np.ndarray, seed: int) -> dict[str, np.ndarray]:
        """Return the parts at pixels drawn from windows spread over a scene."""
        height, width = image.shape[1:]
        corners = [
            (row, col)
            for row in range(0, max(1, height - WINDOW // 2), WINDOW)
            for col in range(0, max(1, width - WINDOW // 2), WINDOW)
        ]
        generator = np.random.default_rng(seed)
        chosen = sorted(generator.permutation(len(corners))[:16])
        sets = []
        for position in chosen:
            row, col = corners[position]
            window = image[:, row : row + WINDOW, col : col + WINDOW]
            places = np.flatnonzero(np.isfinite(window).all(axis=0))
            keep = np.zeros(window[0].size, bool)
            share = -(-PIXELS_A_SCENE // len(chosen))
            keep[generator.choice(places, min(share, len(places)), replace=False)] = True
            sets.append(self.pixels(window, keep.reshape(window.shape[1:])))
        return join(*sets)


def trained(case: Case, seed: int, folder: Path | None) -> Model:
    """Train the compact U-Net on the case's scene, or load it from a folder of earlier ones."""
    if folder is not None and (folder / f"{case.name}-{seed}" / "model.json").exists():
        return Model.load(folder / f"{case.name}-{seed}")
    from ecumene import train_model

    with tempfile.TemporaryDirectory() as temporary:
        return train_model(
            case.scene,
            case.labels,
            (folder or Path(temporary)) / f"{case.name}-{seed}",
            label_field=case.field,
            system="unet-small",
            seed=seed,
            split_by=case.split_by,
            mask_clouds=False,
            **case.declaration,
        )


def one_seed(case: Case, seed: int, folder: Path | None) -> dict[str, Any]:
    """Measure every method on every shift."""
    model = trained(case, seed, folder)
    reader = Reader(model)
    stack = open_stack(case.scene, mask_clouds=False, **case.declaration)
    raster = read_labels(case.labels, case.field, stack.geobox)
    split = split_blocks(raster, seed=seed, group=case.split_by)
    height, width = stack.geobox.shape
    parts = split.read(Window(0, 0, height, width))
    blocks = np.asarray(split.read_blocks(Window(0, 0, height, width)))
    image = read_scene(case.scene, case)
    home = {part: reader.pixels(image, parts == part) for part in (Part.TRAIN, Part.CALIBRATION, Part.TEST)}
    codes = np.asarray(raster.read(Window(0, 0, height, width)))
    known = draw(home[Part.TRAIN] | {"classes": codes[parts == Part.TRAIN][:, None]}, KNOWN, seed)
    classes = known.pop("classes")[:, 0]
    fresh, inside = home[Part.CALIBRATION], home[Part.TEST]
    group, test_group = blocks[parts == Part.CALIBRATION], blocks[parts == Part.TEST]
    methods = fit_methods(known, classes, reader.weight, reader.bias, seed)
    if model.detector.name == CombinedDetector.name:
        methods["combined, fitted on the training's patches"] = Method(model.detector, ("bands", "features"))
    outside = {name: reader.scene(read_scene(path, case), seed) for name, path in case.shifts.items()}
    alike = {name: reader.scene(read_scene(path, case), seed) for name, path in case.alike.items()}
    shifts: dict[str, Any] = {}
    for name, features in outside.items():
        shifts[name] = {key: measure(method, inside, features, fresh, group) for key, method in methods.items()}
        shifts[name] |= _tardis(name, known, fresh, inside, outside, alike, group, list(reader.layers), seed)
    return {
        "seed": seed,
        "pixels": {"training": len(classes), "calibration": len(group), "test": len(test_group)},
        "shifts": shifts,
        "alike": _alike(methods, fresh, group, alike),
        "false_alarms_by_block": _blocks(methods, fresh, group, inside, test_group),
    }


def _tardis(
    name: str,
    known: Features,
    fresh: Features,
    inside: Features,
    outside: dict[str, dict[str, np.ndarray]],
    alike: dict[str, dict[str, np.ndarray]],
    group: np.ndarray,
    layers: list[str],
    seed: int,
) -> dict[str, Any]:
    """TARDIS with wild data of the same shift (other pixels than measured) and of the other shifts only."""
    target = outside[name]
    first = np.random.default_rng(seed).random(len(target["bands"])) < 0.5
    taught, measured = halves(target, first)
    few = {part: draw(values, 2000, seed) for part, values in alike.items()}
    wilds = {"tardis, wild data of this shift": join(draw(taught, 2000, seed), *few.values())}
    others = [draw(values, 2000, seed) for key, values in outside.items() if key != name]
    if others:
        wilds["tardis, wild data of the other shifts"] = join(*others, *few.values())
    found: dict[str, Any] = {}
    for label, wild in wilds.items():
        fits, trials = compare_layers(
            {layer: known[layer] for layer in layers},
            {layer: wild[layer] for layer in layers},
            {layer: fresh[layer] for layer in layers},
            seed=seed,
        )
        by_layer = {
            layer: measure(Method(fit, (layer,)), inside, measured, fresh, group) for layer, fit in fits.items()
        }
        best = trials[0].layer
        found[label] = by_layer[best] | {
            "layer": best,
            "auroc_by_layer": {layer: figures["auroc"] for layer, figures in by_layer.items()},
        }
        if label == "tardis, wild data of this shift":
            bound = upper_bound(draw(known, 2000, seed)[best], draw(taught, 2000, seed)[best], seed)
            found["upper bound of tardis: true labels"] = measure(
                Method(bound, (best,)), inside, measured, fresh, group
            )
    return found


def _alike(methods: dict[str, Method], fresh: Features, group: np.ndarray, alike: dict[str, Any]) -> dict[str, Any]:
    """Share flagged in clear scenes of the same place, weeks later: neither usual nor quite strange."""
    shares: dict[str, Any] = {}
    for name, features in alike.items():
        shares[name] = {}
        for key, method in methods.items():
            if hasattr(method.detector, "with_threshold"):
                fixed = method.detector.with_threshold(method.score(fresh), FALSE_ALARMS, groups=group)
                shares[name][key] = float((method.score(features) > fixed.threshold).mean())
    return shares


def _blocks(
    methods: dict[str, Method], fresh: Features, group: np.ndarray, inside: Features, test_group: np.ndarray
) -> dict[str, Any]:
    """Realised false alarms of the test blocks, block by block."""
    found: dict[str, Any] = {}
    for key, method in methods.items():
        if hasattr(method.detector, "with_threshold"):
            fixed = method.detector.with_threshold(method.score(fresh), FALSE_ALARMS, groups=group)
            result = false_alarms(fixed, method.score(inside), test_group)
            found[key] = {entry: result[entry] for entry in ("realised", "mean_block", "worst_block")}
            found[key]["blocks"] = len(result["blocks"])
    return found
