"""ResNeXt-29 with block attention, the strongest baseline of So2Sat LCZ42."""

from ecumene.systems._so2sat import figure, resnext

SYSTEM = resnext(
    "so2sat-resnext-cbam",
    "ResNeXt-29 (8 x 64d) with block attention on patches of Sentinel-2, baseline of So2Sat LCZ42",
    attention=True,
    figures=(figure(0.61, "culture-10, Sentinel-2", "culture-10-v3"),),
)
