"""DS-UNet: urban change between two dates from Sentinel-1 and Sentinel-2."""

from ecumene.systems._change import dual_stream

SYSTEM = dual_stream(
    "ds-unet",
    "change between two dates: one U-Net a sensor, fused before the head (one sensor: one U-Net)",
    "by sensor",
    {"F1": 0.600, "precision": 0.687, "recall": 0.532},
)
