"""A synthetic Earth with its truth: a town that grows, as Sentinel-2 and Sentinel-1 would see it.

Simulated data are for tests, demonstrations and controlled experiments. They support no claim about the
accuracy of anything on real data.
"""

from ecumene.simulate.city import City, simulate_city
from ecumene.simulate.cover import FRACTION_NAMES, LEGEND, Cover, Material
from ecumene.simulate.demo import DemoData, write_demo
from ecumene.simulate.labels import draw_polygons, write_labels, write_reference_points
from ecumene.simulate.optical import Observation, noise_sigma, observe_sentinel2
from ecumene.simulate.radar import observe_sentinel1
from ecumene.simulate.sun import Sun, sun_position
from ecumene.simulate.writing import write_raster, write_sentinel1, write_sentinel2, write_truth

__all__ = [
    "FRACTION_NAMES",
    "LEGEND",
    "City",
    "Cover",
    "DemoData",
    "Material",
    "Observation",
    "Sun",
    "draw_polygons",
    "noise_sigma",
    "observe_sentinel1",
    "observe_sentinel2",
    "simulate_city",
    "sun_position",
    "write_demo",
    "write_labels",
    "write_raster",
    "write_reference_points",
    "write_sentinel1",
    "write_sentinel2",
    "write_truth",
]
