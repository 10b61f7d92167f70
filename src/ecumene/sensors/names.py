"""Band names as files spell them, matched to the names that the instrument's description uses.

Agencies and libraries write one band in many ways: `B1`, `B01`, `SR_B1`, `Sigma0_VV_db`. All spellings
that state the band are matched. Spellings that only state a position in the file (`Band 1`, `1`) are
not: which band is first in a file is nothing that a number can say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ecumene.sensors.model import Sensor

_POSITION = re.compile(r"^(band|channel|layer|gray|grey|undefined)?[\s_#-]*\d*$", re.IGNORECASE)
_NUMBERED = re.compile(r"^([a-z]+)0*(\d+)([a-z]?)$")
_PREFIX = re.compile(r"^(sr|st|toa|boa|rrs|rhos|rhot)_(?=b\d)")
_RADAR = re.compile(r"(?<![a-z])(hh|hv|vh|vv)(?![a-z])")
_NOT_BACKSCATTER = re.compile(r"ratio|angle|incidence|phase|coherence|mask|layover|shadow")


def canonical_name(text: str) -> str:
    """Return a spelling-independent form: lower case, no product prefix, no leading zeros.

    >>> canonical_name("SR_B04"), canonical_name("b4"), canonical_name("B8A")
    ('b4', 'b4', 'b8a')
    """
    lowered = _PREFIX.sub("", re.sub(r"[\s-]+", "_", text.strip().lower()))
    match = _NUMBERED.match(lowered)
    return f"{match[1]}{int(match[2])}{match[3]}" if match else lowered


def is_positional(text: str | None) -> bool:
    """Whether a description is empty or only counts bands, and so names none."""
    return text is None or _POSITION.match(text.strip()) is not None


def match_band(sensor: Sensor, text: str | None) -> str | None:
    """Return the sensor's name of the band that `text` spells, or None if it spells none.

    The band's own name wins over its common name; a common name counts only where one band of the sensor
    has it. A radar band is found by its polarisation anywhere in the text as a word of its own.
    """
    if text is None or is_positional(text):
        return None
    wanted = canonical_name(text)
    for band in sensor.bands:
        if canonical_name(band.name) == wanted:
            return band.name
    if sensor.kind == "sar":
        lowered = text.lower().replace("_", " ")
        found = set() if _NOT_BACKSCATTER.search(lowered) else set(_RADAR.findall(lowered))
        names = [band.name for band in sensor.bands if (band.polarisation or "").lower() in found]
        return names[0] if len(names) == 1 else None
    common = [band.name for band in sensor.bands if (band.common_name or "") == wanted]
    return common[0] if len(common) == 1 else None


def match_tokens(sensor: Sensor, stem: str) -> str | None:
    """Return the band that a file name states, reading its parts from the last to the first.

    Two-part names are tried too (`B6_VCID_1`, `green_i`), longest first, so that the whole name wins.
    """
    tokens = [token for token in re.split(r"[_.\s-]+", stem) if token]
    for size in (3, 2, 1):
        for start in range(len(tokens) - size, -1, -1):
            text = "_".join(tokens[start : start + size])
            if any(canonical_name(band.name) == canonical_name(text) for band in sensor.bands):
                return match_band(sensor, text)
    for token in reversed(tokens):
        found = match_band(sensor, token)
        if found is not None:
            return found
    return None


def expand_names(sensor: Sensor, level_bands: tuple[str, ...], names: Iterable[str]) -> tuple[str, ...]:
    """Resolve `all` and ranges such as `B001:B103` against the bands of a level; other names stay.

    Raises:
        KeyError: If an end of a range is no band of the level.
    """
    result: list[str] = []
    for name in names:
        if name.strip().lower() == "all":
            result.extend(level_bands)
        elif ":" in name:
            ends = [match_band(sensor, part) or part.strip() for part in name.split(":", 1)]
            missing = [end for end in ends if end not in level_bands]
            if missing:
                raise KeyError(missing[0])
            first, last = (level_bands.index(end) for end in ends)
            result.extend(level_bands[first : last + 1])
        else:
            result.append(name)
    return tuple(result)
