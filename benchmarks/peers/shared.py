"""What the peers' scripts share: arguments, the network of segmentation-models-pytorch, time and memory.

Nothing of ecumene is imported: the scripts run in environments of their own (`requirements-*.txt`).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any


def guard_torchvision() -> None:
    """Let torchvision's Python part load beside a CPU build of torch whose operators it lacks."""
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        guard_torchvision.library = library  # type: ignore[attr-defined]  # the schemas go with the object


def arguments(description: str | None) -> argparse.Namespace:
    """Read what the benchmark hands over."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--scene", type=Path, required=True)
    parser.add_argument("--network", type=Path, required=True, help="network.json beside its weights")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--settings", type=json.loads, default={}, help="overrides as JSON")
    return parser.parse_args()


def load_network(description: Path) -> tuple[Any, dict[str, Any]]:
    """Return (U-Net with the benchmark's weights, its description)."""
    import segmentation_models_pytorch as smp
    from safetensors.torch import load_file

    about = json.loads(description.read_text())
    network = smp.Unet("resnet18", encoder_weights=None, in_channels=about["in_channels"], classes=about["classes"])
    network.load_state_dict(load_file(str(description.parent / about["weights"])))
    return network.eval(), about


class Clock:
    """Wall and processor seconds since it was made."""

    def __init__(self) -> None:
        self.start = time.perf_counter(), time.process_time()

    def report(self, settings: dict[str, Any]) -> None:
        """Print the line that the benchmark reads."""
        wall, processor = time.perf_counter() - self.start[0], time.process_time() - self.start[1]
        status = Path("/proc/self/status").read_text()
        peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
        print(json.dumps({"wall_s": wall, "processor_s": processor, "peak_rss_mib": peak, "settings": settings}))
