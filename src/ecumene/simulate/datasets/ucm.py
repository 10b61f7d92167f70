"""Simulated images in the files of UC Merced Land Use with the table of its object labels.

Layout as Yang and Newsam (2010) and Chaudhuri et al. (2018, doi 10.1109/TGRS.2017.2760909) published it:
`Images/agricultural/agricultural00.tif`, 256 by 256 pixels of 0.3 m in red, green and blue, and a table with 17
columns of 0 and 1. The town of `simulate_city` has cells of 2.5 m, too coarse for cars and courts, so these images are
drawn object by object; a label is given where 3.6 square metres of it are visible.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.progress import Progress, silent
from ecumene.simulate.datasets.aerial import CARS, COLOURS, LABELS, ROOFS, Canvas, Spot
from ecumene.simulate.datasets.files import Written, in_order, whole_folder, write_image, write_notice
from ecumene.simulate.noise import generator

SIZE = 256
PER_JOB = 16
WHITE = (0.86, 0.86, 0.84)


def _spot(c: Canvas, angle: float | None = None) -> Spot:
    turn = c.rng.uniform(0, np.pi) if angle is None else angle
    return Spot(c.rng.uniform(0, c.size), c.rng.uniform(0, c.size), turn)


def _inside(c: Canvas, low: float, high: float, angle: float) -> Spot:
    return Spot(c.rng.uniform(low, high), c.rng.uniform(low, high), angle)


def _trees(c: Canvas, count: int, radius: tuple[float, float] = (5.0, 13.0)) -> None:
    for _ in range(count):
        spot, size = _spot(c), c.rng.uniform(*radius)
        window, along, across = c.box(spot, 2.6 * size, 2.6 * size)
        crown = np.hypot(along, across) < size * (1.0 + 0.18 * c.grain[window])
        shade = c.rng.uniform(0.8, 1.25)
        red, green, blue = COLOURS["trees"]
        c.paint(window, crown, (red * shade, green * shade, blue * shade), "trees", 0.8 * size)


def _car(c: Canvas, spot: Spot) -> None:
    colour = CARS[int(c.rng.integers(len(CARS)))]
    c.rectangle(spot, c.rng.uniform(14.0, 17.0), c.rng.uniform(5.5, 6.8), colour, "cars", 3.0)


def _building(c: Canvas, spot: Spot, length: float, width: float, height: float, label: str = "buildings") -> None:
    colour = ROOFS[int(c.rng.integers(len(ROOFS)))] if label == "buildings" else COLOURS[label]
    c.rectangle(spot, length, width, colour, label, height)
    if label == "buildings" and width > 20:
        red, green, blue = (0.85 * part for part in colour)
        c.rectangle(spot.moved(0.0, 0.25 * width), length, 0.5 * width, (red, green, blue), label)


def _road(c: Canvas, spot: Spot, width: float, *, cars: int = 0, marked: bool = True) -> None:
    """Lay a straight road through the whole canvas, with cars on it."""
    c.rectangle(spot, 4.0 * c.size, width, COLOURS["pavement"], "pavement")
    for step in range(-14, 15) if marked else ():
        c.rectangle(spot.moved(24.0 * step, 0.0), 9.0, 1.0, WHITE, "pavement")
    for _ in range(cars):
        side = c.rng.choice((-1.0, 1.0)) * width / 4
        _car(c, spot.moved(c.rng.uniform(-0.5, 0.5) * c.size, side))


def _houses(
    c: Canvas, plot: float, length: tuple[float, float], label: str = "buildings", *, cars: float = 0.3
) -> None:
    """Set houses on a grid of plots, one in each, with drives."""
    turn, count = c.rng.uniform(0, np.pi), int(0.8 * c.size / plot) + 1
    middle = Spot(c.size / 2, c.size / 2, turn)
    for row in range(-count, count + 1):
        for col in range(-count, count + 1):
            spot = middle.moved((col + c.rng.uniform(-0.08, 0.08)) * plot, (row + c.rng.uniform(-0.08, 0.08)) * plot)
            long = c.rng.uniform(*length)
            if row % 2 == 0 and c.rng.uniform() < cars:
                beside = spot.moved(0.0, 0.45 * plot)
                c.rectangle(beside, 22.0, 10.0, COLOURS["pavement"], "pavement")
                _car(c, beside)
            if c.rng.uniform() < 0.93:
                _building(c, spot, long, min(long * c.rng.uniform(0.55, 0.8), 0.7 * plot), 9.0, label)


def _parking(c: Canvas, spot: Spot, rows: int, full: float) -> None:
    for row in range(-rows, rows + 1):
        for col in range(-18, 19):
            place = Spot(spot.x, spot.y, spot.angle).moved(9.0 * col, 30.0 * row)
            c.rectangle(place.moved(4.5, 0.0), 0.9, 17.0, WHITE, "pavement")
            if c.rng.uniform() < full:
                _car(c, Spot(place.x, place.y, spot.angle + np.pi / 2))


def _agricultural(c: Canvas) -> None:
    c.ground("field")
    turn, width = c.rng.uniform(0, np.pi), c.rng.uniform(5.0, 12.0)
    y, x = np.mgrid[0 : c.size, 0 : c.size]
    furrows = np.sin(2 * np.pi * (x * np.cos(turn) + y * np.sin(turn)) / width)
    c.image *= (1.0 + 0.12 * furrows).astype(np.float32)
    if c.rng.uniform() < 0.25:
        c.rectangle(_spot(c, turn), 4.0 * c.size, 14.0, COLOURS["bare-soil"], "bare-soil")
    if c.rng.uniform() < 0.25:
        _trees(c, 6)


def _airplane(c: Canvas) -> None:
    c.ground("pavement", contrast=0.03)
    if c.rng.uniform() < 0.5:
        c.ground("grass", c.rough > 1.0)
    for _ in range(int(c.rng.integers(1, 4))):
        spot, size = _spot(c), c.rng.uniform(38.0, 85.0)
        body = COLOURS["airplane"]
        c.rectangle(spot, size, 0.1 * size, body, "airplane", 8.0)
        for side in (-1, 1):
            c.rectangle(Spot(*_at(spot, 0.02 * size, side * 0.22 * size), spot.angle + side * 1.25), 0.5 * size,
                        0.09 * size, body, "airplane", 6.0)  # fmt: skip
        c.rectangle(spot.moved(-0.45 * size, 0.0), 0.08 * size, 0.3 * size, body, "airplane", 6.0)
    if c.rng.uniform() < 0.6:
        _building(c, Spot(c.rng.uniform(0, c.size), 0.0, 0.0), 120.0, 60.0, 16.0)
    for _ in range(int(c.rng.integers(0, 6))):
        _car(c, _spot(c))


def _at(spot: Spot, along: float, across: float) -> tuple[float, float]:
    there = spot.moved(along, across)
    return there.x, there.y


def _baseballdiamond(c: Canvas) -> None:
    c.ground("grass")
    home = _inside(c, 90.0, 170.0, c.rng.uniform(0, 2 * np.pi))
    window, along, across = c.box(home, 360.0, 360.0)
    wedge = (np.hypot(along, across) < 95.0) & (np.abs(np.arctan2(across, along)) < np.pi / 4)
    c.paint(window, wedge, COLOURS["bare-soil"], "bare-soil")
    c.rectangle(Spot(*_at(home, 44.0, 0.0), home.angle + np.pi / 4), 46.0, 46.0, COLOURS["grass"], "grass")
    c.disc(home.moved(44.0, 0.0), 6.0, COLOURS["bare-soil"], "bare-soil")
    _trees(c, int(c.rng.integers(0, 9)))
    if c.rng.uniform() < 0.4:
        _building(c, home.moved(-40.0, 0.0), 40.0, 22.0, 8.0)


def _beach(c: Canvas) -> None:
    c.ground("sea", contrast=0.04)
    turn = c.rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0 : c.size, 0 : c.size] - c.size / 2
    inland = x * np.cos(turn) + y * np.sin(turn) + 12.0 * c.rough
    c.ground("sand", inland > c.rng.uniform(-40.0, 40.0), contrast=0.04)
    if c.rng.uniform() < 0.3:
        c.ground("grass", inland > 90.0)


def _buildings(c: Canvas) -> None:
    c.ground("pavement", contrast=0.04)
    if c.rng.uniform() < 0.5:
        c.ground("grass", c.rough > 0.8)
    turn = c.rng.uniform(0, np.pi)
    for _ in range(int(c.rng.integers(3, 6))):
        _building(c, _spot(c, turn), c.rng.uniform(70.0, 140.0), c.rng.uniform(45.0, 80.0), c.rng.uniform(14.0, 40.0))
    for _ in range(int(c.rng.integers(3, 14))):
        _car(c, _spot(c, turn))
    _trees(c, int(c.rng.integers(0, 10)))


def _chaparral(c: Canvas) -> None:
    c.ground("sand" if c.rng.uniform() < 0.7 else "bare-soil")
    bush = c.grain + 0.4 * c.rough > 0.75
    c.ground("chaparral", bush, contrast=0.12)
    c.image[:, bush] *= 0.45


def _denseresidential(c: Canvas) -> None:
    c.ground("grass")
    _road(c, _spot(c), 26.0, cars=4, marked=False)
    _houses(c, c.rng.uniform(44.0, 56.0), (34.0, 46.0))
    _trees(c, int(c.rng.integers(8, 25)), (4.0, 9.0))


def _forest(c: Canvas) -> None:
    c.ground("grass")
    _trees(c, 420, (8.0, 15.0))


def _freeway(c: Canvas) -> None:
    c.ground("grass" if c.rng.uniform() < 0.6 else "bare-soil")
    spot = Spot(128.0, 128.0, c.rng.uniform(0, np.pi))
    for side in (-1, 1):
        _road(c, spot.moved(0.0, side * 34.0), 46.0, cars=int(c.rng.integers(2, 7)))
    _trees(c, int(c.rng.integers(0, 8)))


def _golfcourse(c: Canvas) -> None:
    c.ground("grass", contrast=0.03)
    c.image[:, c.rough > 0.5] *= 1.18
    for _ in range(int(c.rng.integers(1, 4))):
        spot = _spot(c)
        window, along, across = c.box(spot, 60.0, 40.0)
        c.paint(window, np.hypot(along / 20.0, across / 12.0) < 1.0 + 0.2 * c.rough[window], COLOURS["sand"], "sand")
    _trees(c, int(c.rng.integers(8, 40)))
    if c.rng.uniform() < 0.2:
        c.ground("water", c.rough < -1.3, contrast=0.03)


def _harbor(c: Canvas) -> None:
    c.ground("water", contrast=0.03)
    turn = c.rng.uniform(0, np.pi)
    middle = Spot(128.0, 128.0, turn)
    for row in range(-3, 4):
        pier = middle.moved(0.0, 62.0 * row)
        c.rectangle(pier, 500.0, 7.0, COLOURS["dock"], "dock", 2.0)
        for col in range(-9, 10):
            for side in (-1, 1):
                if c.rng.uniform() < 0.75:
                    there = pier.moved(17.0 * col, side * 20.0)
                    boat = Spot(there.x, there.y, turn + np.pi / 2)
                    c.rectangle(boat, c.rng.uniform(22.0, 32.0), c.rng.uniform(8.0, 11.0), COLOURS["ship"], "ship", 3.0)


def _intersection(c: Canvas) -> None:
    c.ground("grass")
    turn = c.rng.uniform(0, np.pi)
    for corner in range(4):
        there = Spot(128.0, 128.0, turn).moved(88.0 * (-1) ** corner, 88.0 * (-1) ** (corner // 2))
        if c.rng.uniform() < 0.75:
            _building(c, there, 60.0, 45.0, 12.0)
    _trees(c, int(c.rng.integers(2, 14)))
    for extra in (0.0, np.pi / 2):
        _road(c, Spot(128.0, 128.0, turn + extra), 48.0, cars=int(c.rng.integers(1, 6)))


def _mediumresidential(c: Canvas) -> None:
    c.ground("grass")
    _road(c, _spot(c), 26.0, cars=2, marked=False)
    _houses(c, c.rng.uniform(72.0, 88.0), (44.0, 60.0))
    _trees(c, int(c.rng.integers(15, 40)))


def _mobilehomepark(c: Canvas) -> None:
    c.ground("pavement" if c.rng.uniform() < 0.5 else "bare-soil")
    _road(c, _spot(c), 24.0, cars=2, marked=False)
    _houses(c, c.rng.uniform(40.0, 48.0), (34.0, 40.0), "mobile-home", cars=0.5)
    _trees(c, int(c.rng.integers(4, 18)), (4.0, 8.0))


def _overpass(c: Canvas) -> None:
    c.ground("grass" if c.rng.uniform() < 0.5 else "bare-soil")
    turn = c.rng.uniform(0, np.pi)
    _road(c, Spot(128.0, 128.0, turn), 60.0, cars=3)
    bridge = Spot(128.0, 128.0, turn + c.rng.uniform(1.0, 2.1))
    c.rectangle(bridge, 4.0 * c.size, 56.0, COLOURS["dock"], "pavement", 14.0)
    _road(c, bridge, 50.0, cars=3)
    _trees(c, int(c.rng.integers(0, 6)))


def _parkinglot(c: Canvas) -> None:
    c.ground("pavement", contrast=0.03)
    _parking(c, Spot(128.0, 128.0, c.rng.uniform(0, np.pi)), 6, c.rng.uniform(0.6, 0.95))
    if c.rng.uniform() < 0.3:
        _trees(c, 6, (4.0, 7.0))


def _river(c: Canvas) -> None:
    c.ground("grass" if c.rng.uniform() < 0.7 else "bare-soil")
    _trees(c, int(c.rng.integers(60, 160)), (6.0, 13.0))
    spot = Spot(128.0, 128.0, c.rng.uniform(0, np.pi))
    window, _, across = c.box(spot, 600.0, 600.0)
    offset = np.abs(across + 16.0 * c.rough[window])
    half = c.rng.uniform(28.0, 60.0)
    if c.rng.uniform() < 0.3:
        c.paint(window, offset < half + 9.0, COLOURS["sand"], "sand")
    c.paint(window, offset < half, COLOURS["water"], "water")


def _runway(c: Canvas) -> None:
    c.ground("grass" if c.rng.uniform() < 0.7 else "bare-soil")
    spot = Spot(128.0, 128.0, c.rng.uniform(0, np.pi))
    c.rectangle(spot, 1000.0, c.rng.uniform(90.0, 150.0), COLOURS["pavement"], "pavement")
    for step in range(-6, 7):
        c.rectangle(spot.moved(60.0 * step, 0.0), 34.0, 3.5, WHITE, "pavement")


def _sparseresidential(c: Canvas) -> None:
    c.ground("grass" if c.rng.uniform() < 0.6 else "bare-soil", contrast=0.1)
    _road(c, _spot(c), 18.0, marked=False)
    _building(c, _inside(c, 70.0, 186.0, c.rng.uniform(0, np.pi)), 60.0, 38.0, 10.0)
    _trees(c, int(c.rng.integers(25, 80)))
    if c.rng.uniform() < 0.3:
        _car(c, _spot(c))


def _storagetanks(c: Canvas) -> None:
    c.ground("bare-soil" if c.rng.uniform() < 0.6 else "pavement")
    pitch = c.rng.uniform(75.0, 130.0)
    for x in np.arange(0.5 * pitch, c.size, pitch):
        for y in np.arange(0.5 * pitch, c.size, pitch):
            c.disc(Spot(x, y), c.rng.uniform(0.26, 0.42) * pitch, COLOURS["tanks"], "tanks", 22.0)
    if c.rng.uniform() < 0.4:
        _building(c, _spot(c), 50.0, 30.0, 9.0)


def _tenniscourt(c: Canvas) -> None:
    c.ground("grass")
    turn = c.rng.uniform(0, np.pi)
    middle = _inside(c, 90.0, 166.0, turn)
    for number in range(int(c.rng.integers(1, 4))):
        court = middle.moved(0.0, 58.0 * number)
        c.rectangle(court, 120.0, 56.0, (0.40, 0.30, 0.26), "court")
        c.rectangle(court, 79.0, 36.0, COLOURS["court"], "court")
        for across in (-18.0, -13.5, 13.5, 18.0):
            c.rectangle(court.moved(0.0, across), 79.0, 1.0, WHITE, "court")
    if c.rng.uniform() < 0.5:
        _road(c, middle.moved(0.0, -60.0), 24.0, cars=2)
    if c.rng.uniform() < 0.5:
        _building(c, _spot(c), 50.0, 34.0, 10.0)
    _trees(c, int(c.rng.integers(5, 25)))


CLASSES: dict[str, Callable[[Canvas], None]] = {
    "agricultural": _agricultural,
    "airplane": _airplane,
    "baseballdiamond": _baseballdiamond,
    "beach": _beach,
    "buildings": _buildings,
    "chaparral": _chaparral,
    "denseresidential": _denseresidential,
    "forest": _forest,
    "freeway": _freeway,
    "golfcourse": _golfcourse,
    "harbor": _harbor,
    "intersection": _intersection,
    "mediumresidential": _mediumresidential,
    "mobilehomepark": _mobilehomepark,
    "overpass": _overpass,
    "parkinglot": _parkinglot,
    "river": _river,
    "runway": _runway,
    "sparseresidential": _sparseresidential,
    "storagetanks": _storagetanks,
    "tenniscourt": _tenniscourt,
}
"""The 21 classes, in their alphabetical order, and how each is drawn."""


@dataclass(frozen=True)
class _Job:
    folder: Path
    seed: int
    images: tuple[tuple[str, int], ...]


def draw(kind: str, number: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return an image of a class, uint8 `[3, 256, 256]`, and 0 or 1 for each of the 17 labels."""
    canvas = Canvas(generator(seed, number, list(CLASSES).index(kind), 85), SIZE)
    CLASSES[kind](canvas)
    return canvas.finish()


def _write_images(job: _Job) -> list[tuple[str, list[int]]]:
    rows = []
    for kind, number in job.images:
        image, labels = draw(kind, number, job.seed)
        name = f"{kind}{number:02d}"
        write_image(job.folder / "Images" / kind / f"{name}.tif", image)
        rows.append((name, labels.tolist()))
    return rows


def write_ucm(
    out: Path | str, number: int = 2_100, seed: int = 0, *, workers: int = 1, progress: Progress = silent
) -> Written:
    """Write simulated images in the files of UC Merced, with the table of object labels.

    Args:
        out: Folder to make.
        number: Images, as many of each of the 21 classes (the first ones get one more); 21 or more.
        seed: Of everything; equal arguments give equal files, whatever `workers` is.
        workers: Processes.
        progress: Called with (groups of images done, groups, what).

    Raises:
        ConfigurationError: If the number is out of range.
        ProductError: If the folder is not empty or cannot be written.
    """
    if not len(CLASSES) <= number <= 200_000:
        raise ConfigurationError(f"The number of images must be between 21 and 200000, not {number}.")
    per_class, more = divmod(number, len(CLASSES))
    images = [(kind, i) for rank, kind in enumerate(CLASSES) for i in range(per_class + (rank < more))]
    with whole_folder(out) as folder:
        for kind in CLASSES:
            (folder / "Images" / kind).mkdir(parents=True)
        jobs = [_Job(folder, seed, tuple(images[first : first + PER_JOB])) for first in range(0, number, PER_JOB)]
        with (folder / "LandUse_Multilabeled.csv").open("w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(("image", *LABELS))
            for done, rows in enumerate(in_order(_write_images, jobs, workers)):
                table.writerows((name, *labels) for name, labels in rows)
                progress(done + 1, len(jobs), "groups of images")
        write_notice(folder, "ucm-multilabel", {"number": number, "seed": seed, "labels": list(LABELS)})
    return Written(Path(out), "ucm-multilabel", number, number)
