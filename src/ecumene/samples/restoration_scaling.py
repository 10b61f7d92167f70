"""How published cloud-removal networks scale reflectance and backscatter: means, standard deviations and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ecumene.core.errors import ConfigurationError
from ecumene.scenes.contract import Channel


@dataclass(frozen=True)
class RestorationScaling:
    """Physical values x become (x - mean) / std, limited to a range.

    Attributes:
        optical: Mean and standard deviation of reflectance.
        radar: The same of backscatter in dB, by polarisation.
        optical_limits: Smallest and largest scaled reflectance that a network sees.
        radar_limits: The same of backscatter.
    """

    optical: tuple[float, float]
    radar: Mapping[str, tuple[float, float]]
    optical_limits: tuple[float, float]
    radar_limits: tuple[float, float]

    def of(self, channel: Channel) -> tuple[float, float]:
        """Return mean and standard deviation of a channel.

        Raises:
            ConfigurationError: If it is neither reflectance nor backscatter in dB.
        """
        if channel.unit == "1":
            return self.optical
        if channel.unit == "dB" and channel.band in self.radar:
            return self.radar[channel.band]
        raise ConfigurationError(
            f"{channel.key} in {channel.unit!r} is neither reflectance nor backscatter (VV, VH) in dB, which is what "
            "networks that remove clouds read; leave it out."
        )


SCALINGS: Mapping[str, RestorationScaling] = {
    # Meraner et al. 2020: digital numbers / 2000, VV from -25 and VH from -32.5 dB to 0, each in [0, 2].
    "resnet": RestorationScaling((0.0, 0.2), {"VV": (-25.0, 12.5), "VH": (-32.5, 16.25)}, (0.0, 5.0), (0.0, 2.0)),
    # Ebel et al. 2023: reflectance and backscatter from -25 to 0 dB in [0, 1], all multiplied by 10.
    "times-ten": RestorationScaling((0.0, 0.1), {"VV": (-25.0, 2.5), "VH": (-25.0, 2.5)}, (0.0, 10.0), (0.0, 10.0)),
    # Isola et al. 2017, as the networks against discriminators use it: both in [-1, 1].
    "symmetric": RestorationScaling((0.5, 0.5), {"VV": (-12.5, 12.5), "VH": (-12.5, 12.5)}, (-1.0, 1.0), (-1.0, 1.0)),
}


def get_scaling(name: str) -> RestorationScaling:
    """Return a scaling by name.

    Raises:
        ConfigurationError: If there is none of that name.
    """
    if name not in SCALINGS:
        raise ConfigurationError(f"The scaling is one of {', '.join(SCALINGS)}, not {name!r}.")
    return SCALINGS[name]


def scaled_statistics(name: str, channels: Sequence[Channel]) -> dict[str, list[float]]:
    """Return `mean` and `std` of channels as `training.provenance.make_inputs` takes them."""
    scaling = get_scaling(name)
    pairs = [scaling.of(channel) for channel in channels]
    return {"mean": [mean for mean, _ in pairs], "std": [std for _, std in pairs]}
