"""EuroSAT with ResNet-50."""

from ecumene.systems._eurosat import eurosat, figure

SYSTEM = eurosat(
    "eurosat-resnet50",
    "land use of Sentinel-2 patches, ResNet-50 (RGB, SWIR, colour infrared or all 13 bands)",
    "resnet50",
    (
        figure(0.9857, "RGB", "random-80", verified=True),
        figure(0.9705, "SWIR", "random-80-swir", verified=True),
        figure(0.9830, "colour infrared", "random-80-ci", verified=True),
    ),
)
