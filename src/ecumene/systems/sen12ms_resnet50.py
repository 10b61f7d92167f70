"""One land-cover class of SEN12MS patches with ResNet-50."""

from ecumene.systems._sen12ms import sen12ms

SYSTEM = sen12ms(
    "sen12ms-resnet50",
    "land cover of Sentinel-1 and Sentinel-2 patches, one class, ResNet-50",
    {"trunk": "resnet50"},
    several=False,
)
