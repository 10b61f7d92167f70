"""The single-stream comparison of DS-UNet: all channels of all sensors in one U-Net."""

from ecumene.systems._change import dual_stream

SYSTEM = dual_stream(
    "ds-unet-stacked",
    "change between two dates: one U-Net on the stacked channels of all sensors",
    None,
    {"F1": 0.555, "precision": 0.550, "recall": 0.560},
)
