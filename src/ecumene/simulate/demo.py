"""Everything that a demonstration needs, written as the files that a user would have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ecumene.core.files import ensure_writable_folder
from ecumene.simulate.city import City, simulate_city
from ecumene.simulate.labels import write_labels, write_reference_points
from ecumene.simulate.optical import observe_sentinel2
from ecumene.simulate.radar import observe_sentinel1
from ecumene.simulate.writing import write_sentinel1, write_sentinel2, write_truth

CLEAR_DATES = ("2023-04-22", "2023-07-06")
CLOUDY_DATE = "2023-08-25"
RADAR_DATE = "2023-07-07"
YEAR = 2023


@dataclass(frozen=True)
class DemoData:
    """Files of the demonstration.

    Attributes:
        city: The town itself.
        year: Year of scenes, labels and truth.
        sentinel2: Clear scenes of Sentinel-2 L2A, by date.
        cloudy: A clouded scene of Sentinel-2 L2A.
        sentinel1: A scene of Sentinel-1.
        labels: Training polygons.
        reference: Reference points.
        truth: Truth rasters by name.
    """

    city: City
    year: int
    sentinel2: tuple[Path, ...]
    cloudy: Path
    sentinel1: Path
    labels: Path
    reference: Path
    truth: dict[str, Path]


def write_demo(
    folder: Path | str,
    seed: int = 1,
    *,
    shape: tuple[int, int] = (256, 256),
    n_polygons_per_class: int = 25,
    n_reference: int = 600,
) -> DemoData:
    """Simulate a town and write its scenes, labels, reference points and truth.

    Args:
        folder: Target; `scenes/` and `truth/` are made in it.
        seed: Seed of everything.
        shape: Rows and columns of 10 m pixels.
        n_polygons_per_class: Training polygons for each class.
        n_reference: Reference points.

    Returns:
        The files.

    Raises:
        ProductError: If the folder cannot be written to.
        ConfigurationError: If the shape is out of range.
    """
    folder = ensure_writable_folder(folder)
    city = simulate_city(seed, shape)
    scenes = folder / "scenes"

    def optical(date: str, clouds: float) -> Path:
        seen = observe_sentinel2(city, date, level="L2A", cloud_cover=clouds, seed=seed)
        return write_sentinel2(seen, scenes / f"sentinel2_{date}.tif")

    return DemoData(
        city=city,
        year=YEAR,
        sentinel2=tuple(optical(date, 0.0) for date in CLEAR_DATES),
        cloudy=optical(CLOUDY_DATE, 0.25),
        sentinel1=write_sentinel1(
            observe_sentinel1(city, RADAR_DATE, seed=seed), scenes / f"sentinel1_{RADAR_DATE}.tif"
        ),
        labels=write_labels(city, folder / "labels.gpkg", n_polygons_per_class, seed, year=YEAR),
        reference=write_reference_points(city, folder / "reference.gpkg", n_reference, seed, year=YEAR),
        truth=write_truth(city, folder / "truth", YEAR),
    )
