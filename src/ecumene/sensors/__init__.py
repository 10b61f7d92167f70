"""Instruments as data: bands, wavelengths, polarisations and product levels, one YAML file a family."""

from ecumene.sensors.library import get_sensor, list_sensors
from ecumene.sensors.model import Band, ProductLevel, Sensor
from ecumene.sensors.names import match_band

__all__ = ["Band", "ProductLevel", "Sensor", "get_sensor", "list_sensors", "match_band"]
