"""Optional libraries: imported late, missed with a sentence."""

from __future__ import annotations

import importlib
from types import ModuleType

from ecumene.core.errors import MissingDependencyError

_EXTRA_OF = {
    "torch": "deep",
    "torchvision": "deep",
    "lightning": "deep",
    "torchmetrics": "deep",
    "timm": "deep",
    "segmentation_models_pytorch": "deep",
    "lightgbm": "boosting",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "openvino": "openvino",
    "captum": "explain",
    "captum.attr": "explain",
    "pystac_client": "stac",
    "requests": "stac",
    "urllib3": "stac",
    "odc.stac": "stac",
    "spyndex": "indices",
    "laspy": "points",
    "skimage": "unwrapping",
    "h5py": "hdf5",
    "distributed": "cluster",
    "fsspec": "remote",
    "s3fs": "remote",
    "stac_geoparquet": "index",
    "fastapi": "viewer",
    "uvicorn": "viewer",
    "rio_tiler": "viewer",
    "rio_tiler.io": "viewer",
    "duckdb": "viewer",
}


def require(module: str) -> ModuleType:
    """Import `module`, or say which extra of ecumene brings it.

    Raises:
        MissingDependencyError: If the library is not installed.
    """
    if module in {"torchvision", "timm", "segmentation_models_pytorch", "lightning", "torchmetrics"}:
        from ecumene.core.torchvision_guard import ensure_torchvision

        ensure_torchvision()
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF.get(module, "all")
        raise MissingDependencyError(
            f"This needs {module}, which is not installed; install it with: pip install 'ecumene[{extra}]'."
        ) from error
