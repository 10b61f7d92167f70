"""Change between two scenes: what is compared, by which method, and the layers of a tile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy import special

from ecumene.change.contract import ChangeResult, FittedChange
from ecumene.change.methods import build_change_method, change_method_info
from ecumene.change.moments import Moments
from ecumene.change.normalisation import RadiometricNormalisation, normalise_radiometry
from ecumene.change.pair import ImagePair
from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.core.window import Window
from ecumene.legends import Legend, LegendClass
from ecumene.mapping.layers import OUTLIER, VALID
from ecumene.objectives.prediction import LayerSpec
from ecumene.scenes.common_names import common_bands
from ecumene.scenes.contract import SceneSource
from ecumene.scenes.grid import same_grid, window_geobox
from ecumene.scenes.intensity import as_power
from ecumene.scenes.masks import clear_sky
from ecumene.scenes.reading import read_bands

CHANGE = Legend(
    name="change",
    classes=(
        LegendClass(value=0, name="no change", colour="#d9d9d9"),
        LegendClass(value=1, name="change", colour="#d55e00"),
    ),
)
"""Classes of the value layer."""
PROBABILITY_SCALE = 1.0 / 50_000.0
ACROSS_SENSORS = ("mad", "irmad")
"""Methods whose answer does not depend on linear functions of each date's bands, so that instruments may differ."""
_ATMOSPHERE = {"nir09", "cirrus"}  # bands that see vapour and ice clouds instead of the ground
_OUTLIER_LEVEL = 1e-6


@dataclass(frozen=True)
class ScenePair:
    """Two scenes that can be compared.

    Attributes:
        before: First date; its grid is that of the result.
        after: Second date.
        bands: Band of each scene (before, after) by the name under which it is compared.
        geobox: The common grid.
        mask_clouds: Whether the scenes' own masks count.
        notes: What a user should know of the choice of bands.
    """

    before: SceneSource
    after: SceneSource
    bands: Mapping[str, tuple[str, str]]
    geobox: GeoBox
    mask_clouds: bool
    notes: tuple[str, ...] = ()

    @property
    def radar(self) -> bool:
        """Whether both are backscatter."""
        return self.before.quantity == "backscatter" and self.after.quantity == "backscatter"

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
        """Read both dates in a window: linear intensities of radar, else physical values."""
        grid = window_geobox(self.geobox, window)
        valid = np.ones((window.height, window.width), np.bool_)
        images = []
        for position, source in enumerate((self.before, self.after)):
            names = [pair[position] for pair in self.bands.values()]
            values = read_bands(source, names, grid)
            if self.mask_clouds and source.mask is not None:
                valid &= clear_sky(source, grid)
            units = {band.name: band.unit for band in source.bands}
            if self.radar:
                for band, name in zip(values, names, strict=True):
                    band[:] = as_power(band, units[name])
            images.append(values)
        return images[0], images[1], valid

    def images(self, normalisation: RadiometricNormalisation | None = None) -> ImagePair:
        """Return the pair that methods read block by block."""

        def read(window: Window) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
            before, after, valid = self.read(window)
            return before, after if normalisation is None else normalisation.apply(after), valid

        shape = (int(self.geobox.shape[0]), int(self.geobox.shape[1]))
        return ImagePair(shape, tuple(self.bands), read)


def pair_scenes(
    sources: Sequence[SceneSource],
    *,
    method: str,
    align: bool,
    mask_clouds: bool,
    bands: Sequence[str] | None,
) -> ScenePair:
    """Check that two scenes can be compared and choose their bands.

    Args:
        sources: Before and after.
        method: Name of the method, or `auto`.
        align: Whether the second scene may lie on another grid.
        mask_clouds: Whether the scenes' own masks count.
        bands: Bands to compare; None: those that both have and that see the ground.

    Raises:
        ConfigurationError: If there are not two scenes, or dates run backwards.
        ContractError: If grids, sensors, levels or bands do not fit.
    """
    before, after = two_scenes(sources)
    check_pair(before, after, align)
    chosen, notes = _bands(before, after, bands)
    if method != "auto":
        _require_comparable(before, after, method, len(chosen))
    return ScenePair(before, after, chosen, before.geobox, mask_clouds, notes)


def two_scenes(sources: Sequence[SceneSource]) -> tuple[SceneSource, SceneSource]:
    """Return before and after.

    Raises:
        ConfigurationError: If there are not two; a catalogue may hold several scenes.
    """
    if len(sources) != 2:
        raise ConfigurationError(
            f"Change is between two scenes, but there are {len(sources)}; name one before and one after (a series: "
            "ecumene series)."
        )
    return sources[0], sources[1]


def check_pair(before: SceneSource, after: SceneSource, align: bool) -> None:
    """Refuse two scenes whose dates or grids do not fit.

    Args:
        before: First date.
        after: Second date.
        align: Whether grids may differ.

    Raises:
        ConfigurationError: If the dates are equal or run backwards.
        ContractError: If grids differ and may not.
    """
    if not align and not same_grid(after.geobox, before.geobox):
        raise ContractError(
            f"{before.id} and {after.id} lie on different grids ({_grid(before)}; {_grid(after)}); add --align to "
            "bring the second onto the grid of the first."
        )
    if before.time is None or after.time is None:
        return
    first, second = (str(scene.time)[:10] for scene in (before, after))
    if before.time == after.time:
        raise ConfigurationError(f"Both scenes are of {first}; give scenes of two dates.")
    if after.time < before.time:
        raise ConfigurationError(f"The dates run backwards ({first}, then {second}); name the earlier scene first.")


def _grid(scene: SceneSource) -> str:
    height, width = scene.geobox.shape
    step = abs(scene.geobox.affine.a)
    return f"{height} x {width} pixels of {step:g} in {scene.geobox.crs}"


def _require_comparable(before: SceneSource, after: SceneSource, method: str, bands: int) -> None:
    """Refuse scenes of two instruments or levels where the method compares their values as they are."""
    if method in ACROSS_SENSORS:
        return
    if bands == 1 and (before.sensor, before.level) != (after.sensor, after.level):
        raise ContractError(
            f"The scenes are of {before.sensor} {before.level} and {after.sensor} {after.level} with one band to "
            "compare, which no method brings to one radiometry; give scenes of one sensor and level, or map both and "
            "compare the maps."
        )
    if before.sensor != after.sensor:
        raise ContractError(
            f"The scenes are of {before.sensor} and {after.sensor}, whose values the method {method} cannot compare; "
            "use irmad, or map both and compare the maps."
        )
    if before.level != after.level:
        raise ContractError(
            f"The scenes are of the levels {before.level} and {after.level}, which the method {method} cannot compare; "
            "use one level, or the method irmad."
        )


def _bands(
    before: SceneSource, after: SceneSource, wanted: Sequence[str] | None
) -> tuple[dict[str, tuple[str, str]], tuple[str, ...]]:
    """Return pairs of bands by name, and notes."""
    if before.quantity != after.quantity:
        raise ContractError(
            f"{before.id} is {before.quantity} and {after.id} is {after.quantity}; compare scenes of one kind, or map "
            "both and compare the maps."
        )
    if before.sensor == after.sensor:
        shared = {name: (name, name) for name in before.band_names if name in after.band_names}
        common = {band: name for name, band in common_bands(before.sensor, before.band_names).items()}
    else:
        first, second = (common_bands(scene.sensor, scene.band_names) for scene in (before, after))
        shared = {name: (first[name], second[name]) for name in first if name in second}
        common = {name: name for name in shared}
    if wanted:
        if missing := [name for name in wanted if name not in shared]:
            raise ContractError(
                f"The band {missing[0]} is not in both scenes; they share: {', '.join(shared) or 'none'}."
            )
        return {name: shared[name] for name in wanted}, ()
    left = {name: pair for name, pair in shared.items() if common.get(name) not in _ATMOSPHERE}
    if not left:
        raise ContractError(
            f"{before.id} and {after.id} have no band in common ({', '.join(before.band_names)}; "
            f"{', '.join(after.band_names)}); name the bands with --bands."
        )
    dropped = sorted({*before.band_names, *after.band_names} - {name for pair in left.values() for name in pair})
    return left, (f"Bands left out: {', '.join(dropped)}.",) if dropped else ()


def choose_method(pair: ScenePair, method: str, options: Mapping[str, Any]) -> tuple[str, str]:
    """Return the method's name and why it was taken.

    Args:
        pair: The scenes.
        method: A name, or `auto`.
        options: Options of the method that the user gave.

    Raises:
        ConfigurationError: If there is no such method, or options are given to `auto`.
        ContractError: If the method cannot read such scenes.
    """
    if method == "auto":
        if options:
            raise ConfigurationError("Options belong to a method; name it with --method.")
        found, reason = _usual_method(pair)
        _require_comparable(pair.before, pair.after, found, len(pair.bands))
        return found, reason
    info = change_method_info(method)
    if info.intensities and not pair.radar:
        raise ContractError(
            f"The method {method} needs radar intensities, but {pair.before.id} is {pair.before.quantity}; use irmad, "
            "cva or sfa."
        )
    return method, "named by the user"


def _usual_method(pair: ScenePair) -> tuple[str, str]:
    """Return the method that such scenes usually get, and why."""
    if pair.radar:
        return "ratio-variation", (
            "backscatter: ratios do not depend on how bright the ground is, and a smoothness prior tames speckle"
        )
    if len(pair.bands) < 2:
        return "cva", "one band: there are no canonical variates of a single band"
    return "irmad", "several bands: its answer does not depend on linear differences of the dates' radiometry"


@dataclass(frozen=True)
class FittedPair:
    """A pair with a method whose statistics are known.

    Attributes:
        pair: What methods read.
        fitted: The method.
        kinds: Names of the bands of the layer `kind`.
        stranger: Says what is unlike the rest of the scene.
    """

    pair: ImagePair
    fitted: FittedChange
    kinds: tuple[str, ...]
    stranger: Strangers

    def tile(self, window: Window) -> dict[str, NDArray[Any]]:
        """Return all layers of a window."""
        block = self.pair.read(window, self.fitted.margin)
        found: ChangeResult = self.fitted.apply(block)
        probability = np.clip(found.probability, 0.0, 1.0)
        odd = self.stranger.flags(block.before[:, *block.core], block.after[:, *block.core])
        return {
            "value": found.changed[None],
            "error": found.error[None],
            "probability": np.stack([1.0 - probability, probability]),
            "magnitude": found.magnitude[None],
            "kind": found.kind,
            "outlier": (odd & found.valid)[None],
            "valid": found.valid[None],
        }


def fit_pair(pair: ImagePair, method: str, options: Mapping[str, Any], *, logarithms: bool) -> FittedPair:
    """Learn what a method needs, and what is usual in the scenes.

    Args:
        pair: The scenes.
        method: Name of the method.
        options: Of the method.
        logarithms: Whether values are intensities, whose logarithms are compared.

    Raises:
        ConfigurationError: If an option does not exist or is out of range.
        SceneError: If the scenes have no usable pixel.
    """
    fitted = build_change_method(method, **options).fit(pair)
    corner = Window(0, 0, min(pair.shape[0], 16), min(pair.shape[1], 16))
    kinds = fitted.apply(pair.read(corner, fitted.margin)).kind_names
    return FittedPair(pair, fitted, kinds, Strangers.of(pair, logarithms))


@dataclass(frozen=True)
class Strangers:
    """Pixels whose values on one date are unlike all others of that date: clouds, saturation, damage.

    A pixel is flagged where the Mahalanobis distance of its values from those of all pixels of its date is beyond what
    one in a million normal pixels exceeds.

    Attributes:
        means: `[2, bands]`.
        inverses: Inverse covariance matrices, `[2, bands, bands]`.
        logarithms: Whether the logarithms are meant.
        limit: Of the squared distance.
    """

    means: NDArray[np.float64]
    inverses: NDArray[np.float64]
    logarithms: bool
    limit: float = field(default=0.0)

    @classmethod
    def of(cls, pair: ImagePair, logarithms: bool) -> Strangers:
        """Learn from one pass over the blocks."""
        count = len(pair.bands)
        sums = (Moments(count), Moments(count))
        for block in pair.blocks():
            for moments, values in zip(sums, block.vectors(), strict=True):
                moments.add(_scaled(values, logarithms))
        inverses = np.stack([np.linalg.pinv(moments.covariance, hermitian=True) for moments in sums])
        limit = 2.0 * float(special.gammainccinv(count / 2.0, _OUTLIER_LEVEL))
        return cls(np.stack([moments.mean for moments in sums]), inverses, logarithms, limit)

    def flags(self, before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return where one of the dates is strange, `[rows, cols]`."""
        found = np.zeros(before.shape[1:], np.bool_)
        for values, mean, inverse in zip((before, after), self.means, self.inverses, strict=True):
            apart = _scaled(values, self.logarithms) - mean[:, None, None]
            found |= np.einsum("ihw,ij,jhw->hw", apart, inverse, apart, optimize=True) > self.limit
        return found


def _scaled(values: NDArray[np.float64], logarithms: bool) -> NDArray[np.float64]:
    return np.log(np.maximum(values, 1e-12)) if logarithms else values


def change_layers(kinds: Sequence[str], unit: str) -> tuple[LayerSpec, ...]:
    """Return the layers of change between two scenes.

    Args:
        kinds: Names of the bands of the layer `kind`.
        unit: Of the layer `kind`.
    """
    return (
        value_layer("1 where the magnitude is above the threshold"),
        error_layer(),
        probability_layer(),
        LayerSpec("magnitude", "float32", float("nan"), description="how strong the change is, in the method's unit"),
        LayerSpec("kind", "float32", float("nan"), unit, description="what kind of change", band_names=tuple(kinds)),
        outlier_layer("1 where the values of one date are unlike all others of it (clouds, saturation); distrust them"),
        VALID,
    )


def value_layer(description: str) -> LayerSpec:
    """Return the layer of 0 (no change) and 1 (change)."""
    return LayerSpec(
        "value", "uint8", 255, categorical=True, role="value", description=description, band_names=("change",)
    )


def error_layer() -> LayerSpec:
    """Return the layer that says how probably the value is wrong."""
    return LayerSpec(
        "error", "uint16", 65535, scale=PROBABILITY_SCALE, role="uncertainty", limits=(0.0, 1.0),
        description="probability that the value is wrong", band_names=("error",),
    )  # fmt: skip


def probability_layer() -> LayerSpec:
    """Return the layer of the probabilities of both classes."""
    return LayerSpec(
        "probability", "uint16", 65535, scale=PROBABILITY_SCALE, role="probability", limits=(0.0, 1.0),
        description="probability of no change and of change", band_names=CHANGE.names,
    )  # fmt: skip


def outlier_layer(description: str) -> LayerSpec:
    """Return the flag layer `outlier` with what it means here."""
    return replace(OUTLIER, description=description)


def normalised(pair: ScenePair) -> tuple[RadiometricNormalisation, dict[str, Any]]:
    """Fit the second date's radiometry to the first; return it with its figures for provenance."""
    found = normalise_radiometry(pair.images())
    names = list(pair.bands)
    figures = {
        "gain": dict(zip(names, map(float, found.gain), strict=True)),
        "offset": dict(zip(names, map(float, found.offset), strict=True)),
        "pixels": found.pixels,
        "held_out_difference_in_standard_errors": dict(zip(names, map(float, found.held_out_difference), strict=True)),
    }
    return found, figures
