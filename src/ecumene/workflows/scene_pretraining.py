"""How a network begins that has first learned from the image without labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.optional import require
from ecumene.core.progress import Progress
from ecumene.samples.datasets import DataSet
from ecumene.samples.datasets.cubes import HyperspectralCube
from ecumene.systems import System


def learn_start(
    system: System, data: DataSet, seed: int, progress: Progress
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[np.float32]]]:
    """Learn from the whole image of a data set without labels, as the system's `pretraining` says.

    Every pixel of the image is seen, also those whose labels are tested later; no label is.

    Args:
        system: With `pretraining`.
        data: A hyperspectral cube with its labelled pixels.
        seed: Of everything random.
        progress: Called with (steps done, steps, what).

    Returns:
        (weights to begin with by name, `mean` and `std` of the bands that they expect).

    Raises:
        ConfigurationError: If the data set has no image, or an argument is wrong.
    """
    if not isinstance(data, HyperspectralCube):
        raise ConfigurationError(
            f"{system.name} first learns from a whole image without labels, which {data.info.name} does not have; give "
            "a hyperspectral cube, or choose another system."
        )
    require("torch")
    from ecumene.training.reconstruction import learn_reconstruction

    learned = learn_reconstruction(
        data.image(), patch=data.patch_size, seed=seed, progress=progress, **system.pretraining
    )
    return learned.weights(), {"mean": learned.mean, "std": learned.std}
