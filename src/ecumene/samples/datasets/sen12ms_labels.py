"""Labels of SEN12MS patches: shares of IGBP classes, from a table or from the land-cover image."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError

IGBP = 17
SIMPLIFIED = ((1, 2, 3, 4, 5), (6, 7), (8, 9), (10,), (11,), (12, 14), (13,), (15,), (16,), (17,))
"""IGBP codes of each class of the simplified scheme (Schmitt and Wu 2021, as their code sums them)."""

_KIND = re.compile(r"_(s1|s2|lc)_")


def igbp_shares(land_cover: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Return the share of each IGBP class in a patch.

    Args:
        land_cover: `[4, rows, columns]`; the first layer holds the codes 1..17 (0 and 255: unclassified).
        name: What the patch is called in errors.

    Returns:
        float32 `[17]`, sums to 1 over what is classified (0 throughout if nothing is).

    Raises:
        LabelError: If the image holds a code that is no IGBP class.
    """
    codes = land_cover[0]
    values, counts = np.unique(codes, return_counts=True)
    strange = [value for value in values if not (float(value).is_integer() and 0 <= value <= IGBP) and value != 255]
    if strange:
        raise LabelError(f"The land cover of {name} holds {strange[0]}, which is no IGBP class 1..{IGBP}.")
    shares = np.zeros(IGBP, np.float64)
    for value, count in zip(values, counts, strict=True):
        if 1 <= value <= IGBP:
            shares[int(value) - 1] = count
    total = shares.sum()
    return (shares / total if total else shares).astype(np.float32)


def simplify(shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum shares of 17 IGBP classes `[N, 17]` to the ten of the simplified scheme `[N, 10]`."""
    columns = [shares[:, [code - 1 for code in codes]].sum(axis=1) for codes in SIMPLIFIED]
    return np.stack(columns, axis=1).astype(np.float32)


def read_share_table(data: bytes, title: str) -> dict[str, NDArray[np.float32]]:
    """Read the published list of shares, saved as CSV (name, then 17 numbers) or JSON (name: 17 numbers).

    Args:
        data: The file.
        title: Its name; a pickle is refused.

    Returns:
        float32 `[17]` by patch, named without the sensor, `ROIs1158_spring_12_p30`.

    Raises:
        LabelError: If this is a pickle or another format, or a row has not 17 shares in [0, 1].
    """
    if title.endswith((".pkl", ".pickle")) or data[:1] == b"\x80":
        raise LabelError(
            f"{title} is a pickle, which could run code and is not read; save it as CSV (name and 17 shares) or JSON."
        )
    try:
        text = data.decode("utf-8-sig")
        if title.endswith(".json"):
            rows = [(str(name), list(values)) for name, values in json.loads(text).items()]
        else:
            rows = [(row[0], row[1:]) for row in csv.reader(io.StringIO(text)) if row]
            if rows and not _is_number(rows[0][1][:1]):  # names of columns
                rows = rows[1:]
        table = {_KIND.sub("_", name.strip().removesuffix(".tif")): np.array(v, np.float32) for name, v in rows}
    except (ValueError, AttributeError, TypeError) as error:
        raise LabelError(f"{title} is no table of patch names and {IGBP} shares; save it as CSV or JSON.") from error
    for name, shares in table.items():
        if shares.shape != (IGBP,) or not ((shares >= 0) & (shares <= 1.0001)).all():
            raise LabelError(f"{title} has not {IGBP} shares between 0 and 1 for {name}; correct the table.")
    return table


def _is_number(values: list[Any]) -> bool:
    try:
        return bool(values) and float(values[0]) >= 0
    except ValueError:
        return False
