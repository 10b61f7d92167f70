"""A map for each class of a whole image: the network's own attention, or Grad-CAM."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.explanation.class_attention import grad_cam
from ecumene.explanation.tensors import DifferentiableModel
from ecumene.models.bundle import Model

Float = NDArray[np.float32]


def class_maps(model: Model, image: Float, classes: Sequence[int], threads: int | None = None) -> tuple[Float, str]:
    """Return where a network looks for classes in one image.

    A network with a class attention layer (Hua et al. 2019) gives that layer's maps as they are, positive and negative:
    the recurrence that reads them decides what either sign means. Every other one gives Grad-CAM (Selvaraju et al.
    2017), not negative.

    Args:
        model: A network for whole images.
        image: `[C, P, P]`, physical units.
        classes: Class indices.
        threads: Threads of torch.

    Returns:
        (maps `[len(classes), h, w]` on the grid of the layer or of the image, not scaled; name of the layer).

    Raises:
        ConfigurationError: If the model answers for pixels, or has no layer with maps.
    """
    import torch

    from ecumene.models.deployed import normalise_tensor
    from ecumene.networks.contract import ClassAttention

    if model.objective.unit_of_work != "scene":
        raise ConfigurationError(f"The model {model.spec.name} labels pixels; use `ecumene explain`.")
    explained = DifferentiableModel(model, "A map of attention", threads)
    if not isinstance(explained.network, ClassAttention):
        found = [grad_cam(model, image[None], None, index, threads=threads) for index in classes]
        return np.stack([heat for heat, _ in found]), found[0][1]
    x, _ = explained.tensors(image[None], None)
    with torch.no_grad():
        maps = explained.network.class_attention(normalise_tensor(x, explained.module.mean, explained.module.std)[0])[0]
    return np.asarray(maps[list(classes)].float().numpy(), np.float32), "class attention"
