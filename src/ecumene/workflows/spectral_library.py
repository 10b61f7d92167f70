"""Spectral libraries in CSV files, brought to the bands of a scene."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.core.files import write_text
from ecumene.physics.unmixing.library import resample_library
from ecumene.sensors import get_sensor, match_band

_WAVELENGTH_COLUMNS = {"wavelength_um": 1.0, "wavelength_nm": 1e-3}
_SAME_UM = 5e-5  # wavelengths closer than this are one: libraries round to a tenth of a nanometre
_LARGEST_BYTES = 64 << 20


@dataclass(frozen=True)
class SpectralLibrary:
    """Spectra of materials by band name or by wavelength.

    Attributes:
        materials: Names, p of them.
        spectra: `[L, p]`, unit of the scene.
        wavelengths_um: `[L]`, or None where bands are named.
        bands: Names of the L bands, or None where wavelengths are given.
    """

    materials: tuple[str, ...]
    spectra: NDArray[np.float64]
    wavelengths_um: NDArray[np.float64] | None = None
    bands: tuple[str, ...] | None = None


def read_library(path: str | Path) -> SpectralLibrary:
    """Read a CSV: the first column is `wavelength_um`, `wavelength_nm` or `band`, each other one a material.

    Raises:
        ConfigurationError: If the file cannot be read, or is not of that form.
    """
    file = Path(path)
    try:
        if file.stat().st_size > _LARGEST_BYTES:
            raise ConfigurationError(f"{file.name} is too large to be a spectral library.")
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The spectral library {file} cannot be read; give a CSV file in UTF-8.") from error
    rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    header = [cell.strip() for cell in rows[0]] if rows else []
    kind = header[0].lower() if header else ""
    if kind not in {*_WAVELENGTH_COLUMNS, "band"} or len(header) < 2 or len(rows) < 2:
        raise ConfigurationError(
            f"The spectral library {file.name} must have a first column wavelength_um, wavelength_nm or band and one "
            "column for each material."
        )
    materials = tuple(header[1:])
    if len(set(materials)) != len(materials) or "" in materials:
        raise ConfigurationError(f"The materials in {file.name} need different names, one a column.")
    if any(len(row) != len(header) for row in rows):
        raise ConfigurationError(f"A row of {file.name} has more or fewer values than the header has columns.")
    spectra = np.array([[_number(cell, file.name) for cell in row[1:]] for row in rows[1:]])
    first = [row[0].strip() for row in rows[1:]]
    if kind == "band":
        return SpectralLibrary(materials, spectra, bands=tuple(first))
    waves = np.array([_number(cell, file.name) for cell in first]) * _WAVELENGTH_COLUMNS[kind]
    return SpectralLibrary(materials, spectra, wavelengths_um=waves)


def write_library(path: Path, library: SpectralLibrary) -> None:
    """Write a library whose bands are named, as `read_library` reads it."""
    lines = [",".join(["band", *library.materials])]
    lines += [
        ",".join([name, *(f"{value:.9g}" for value in row)])
        for name, row in zip(library.bands or (), library.spectra, strict=True)
    ]
    write_text(path, "\n".join(lines) + "\n")


def library_for(library: SpectralLibrary, sensor: str, bands: tuple[str, ...]) -> NDArray[np.float64]:
    """Return the library in a sensor's bands, `[B, p]`.

    Named bands must all be there. Wavelengths that are the bands' own are taken as they are; others are resampled
    with the bands' Gaussian responses.

    Raises:
        ContractError: If a band is missing, has no wavelength, or is not covered by the library.
    """
    described = get_sensor(sensor)
    if library.bands is not None:
        rows = {
            match_band(described, name) or name: row for name, row in zip(library.bands, library.spectra, strict=True)
        }
        missing = [name for name in bands if name not in rows]
        if missing:
            raise ContractError(
                f"The spectral library has no band {missing[0]} ({len(missing)} of the scene's {len(bands)} bands are "
                "missing); give a library with these bands or with wavelengths."
            )
        return np.array([rows[name] for name in bands])
    waves = library.wavelengths_um
    if waves is None:
        raise ContractError("The spectral library states neither bands nor wavelengths.")
    centers, widths = [], []
    for name in bands:
        band = described.band(name)
        if band.center_wavelength_um is None or band.full_width_half_max_um is None:
            raise ContractError(
                f"The band {name} of {described.id} has no wavelength and width, so the library cannot be resampled to "
                "it; give a library by band."
            )
        centers.append(band.center_wavelength_um)
        widths.append(band.full_width_half_max_um)
    if len(waves) == len(centers) and np.allclose(np.sort(waves), np.sort(centers), rtol=0, atol=_SAME_UM):
        order = np.argsort(np.argsort(np.array(centers), kind="stable"), kind="stable")
        return np.asarray(library.spectra[np.argsort(waves, kind="stable")][order])
    return resample_library(waves, library.spectra, centers, widths)


def _number(text: str, file: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigurationError(f"{file} holds {text.strip()!r} where a finite number is needed.")
    return value
