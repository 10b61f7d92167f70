"""EuroSAT with GoogLeNet."""

from ecumene.systems._eurosat import eurosat, figure

SYSTEM = eurosat(
    "eurosat-googlenet",
    "land use of Sentinel-2 patches, GoogLeNet (RGB, SWIR, colour infrared or all 13 bands)",
    "googlenet",
    (figure(0.9818, "RGB", "random-80", verified=False),),
)
