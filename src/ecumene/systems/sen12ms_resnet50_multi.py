"""Several land-cover labels of SEN12MS patches with ResNet-50."""

from ecumene.systems._sen12ms import sen12ms

SYSTEM = sen12ms(
    "sen12ms-resnet50-multi",
    "land cover of Sentinel-1 and Sentinel-2 patches, several labels, ResNet-50",
    {"trunk": "resnet50"},
    several=True,
)
