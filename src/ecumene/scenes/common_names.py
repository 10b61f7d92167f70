"""Finding bands by what they measure: STAC's common names (blue, nir, swir16, ...)."""

from __future__ import annotations

from collections.abc import Sequence

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.scenes.contract import SceneSource

# A sensor with one near-infrared band may call it either; a broad and a narrow one are told apart.
_SUBSTITUTES = {"nir": "nir08", "nir08": "nir", "lwir": "lwir11", "lwir11": "lwir"}


def common_bands(sensor: str, bands: Sequence[str]) -> dict[str, str]:
    """Return common name to band name, for those bands of a sensor that have a common name.

    An unknown sensor has none. `nir` and `nir08` (and `lwir`, `lwir11`) stand in for each other where a
    sensor has only one of them.
    """
    from ecumene.sensors import get_sensor

    try:
        described = get_sensor(sensor).bands
    except ConfigurationError:
        return {}
    found = {band.common_name: band.name for band in described if band.common_name and band.name in bands}
    for wanted, substitute in _SUBSTITUTES.items():
        if wanted not in found and substitute in found:
            found[wanted] = found[substitute]
    return found


def require_common(source: SceneSource, names: Sequence[str], purpose: str) -> dict[str, str]:
    """Return band names by common name.

    Args:
        source: The scene.
        names: Common names that must be there.
        purpose: What needs them, for the error.

    Raises:
        ContractError: If the scene has no band for one of them.
    """
    found = common_bands(source.sensor, source.band_names)
    missing = [name for name in names if name not in found]
    if missing:
        raise ContractError(
            f"{purpose} needs a {', '.join(missing)} band, which scene {source.id} of {source.sensor} does not have; "
            "add the band, or do without."
        )
    return found
