"""ecumene: maps of the inhabited Earth from satellite images, each with its error bar.

The public functions are imported on first use, so that `import ecumene` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ecumene._version import __version__

if TYPE_CHECKING:
    from ecumene.scenes.opening import describe_scene, open_scene
    from ecumene.scenes.stack import align_scenes
    from ecumene.workflows.assess import assess_map
    from ecumene.workflows.change import find_change
    from ecumene.workflows.clear import clear_scenes
    from ecumene.workflows.demo import run_demo
    from ecumene.workflows.explain import explain_scene
    from ecumene.workflows.map import map_scenes
    from ecumene.workflows.train import train_model
    from ecumene.workflows.trust import trust_report

_PUBLIC = {
    "open_scene": "ecumene.scenes.opening",
    "describe_scene": "ecumene.scenes.opening",
    "align_scenes": "ecumene.scenes.stack",
    "train_model": "ecumene.workflows.train",
    "map_scenes": "ecumene.workflows.map",
    "assess_map": "ecumene.workflows.assess",
    "trust_report": "ecumene.workflows.trust",
    "explain_scene": "ecumene.workflows.explain",
    "find_change": "ecumene.workflows.change",
    "clear_scenes": "ecumene.workflows.clear",
    "run_demo": "ecumene.workflows.demo",
}

__all__ = [
    "__version__",
    "align_scenes",
    "assess_map",
    "clear_scenes",
    "describe_scene",
    "explain_scene",
    "find_change",
    "map_scenes",
    "open_scene",
    "run_demo",
    "train_model",
    "trust_report",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        import importlib

        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'ecumene' has no attribute {name!r}")
