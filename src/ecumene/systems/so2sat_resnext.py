"""ResNeXt-29 without attention, a baseline of So2Sat LCZ42."""

from ecumene.systems._so2sat import resnext

SYSTEM = resnext(
    "so2sat-resnext",
    "ResNeXt-29 (8 x 64d) on patches of Sentinel-2, baseline of So2Sat LCZ42",
    attention=False,
)
