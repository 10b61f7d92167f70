"""Lets the pure-Python parts of torchvision work beside a CPU-only torch.

PyPI's torchvision wheel is built for CUDA. Beside a CPU build of torch its extension does not load,
and `import torchvision` then fails because two operator schemas are missing, taking timm,
segmentation-models-pytorch, Lightning and torchmetrics down with it. Defining the two schemas is
enough for everything that ecumene uses; torchvision's own `ops.nms` stays unavailable in that case.
"""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import Any

_KEEP: list[Any] = []  # a torch.library.Library unregisters its schemas when it is collected


def _extension_loads() -> bool:
    """Whether torchvision's compiled extension can be loaded into this process."""
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # nothing to guard
    candidates = [path for path in Path(spec.origin).parent.glob("_C*") if path.suffix in {".so", ".pyd", ".dylib"}]
    for path in candidates:
        try:
            torch.ops.load_library(str(path))
        except OSError:
            return False
    return bool(candidates)


@cache
def ensure_torchvision() -> bool:
    """Make `import torchvision` succeed where only its compiled part is unusable.

    Returns:
        True if the guard had to define the schemas, False if torchvision is whole, absent or loaded.
    """
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None:
        return False
    if _extension_loads():
        return False
    import torch

    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEEP.append(library)
    return True
