"""One land-cover class of SEN12MS patches with DenseNet-121."""

from ecumene.systems._sen12ms import sen12ms

SYSTEM = sen12ms(
    "sen12ms-densenet121",
    "land cover of Sentinel-1 and Sentinel-2 patches, one class, DenseNet-121",
    {"trunk": "densenet121", "pool": "flatten"},
    several=False,
)
