"""`ecumene train` of systems that remove clouds, on the user's own scenes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecumene.core.errors import ConfigurationError

if TYPE_CHECKING:
    from ecumene.training.from_bundle import Beginning


def system_for_clouds(system: str, initial: Beginning | None) -> str | None:
    """Return the name of the system to train if it removes clouds, else None.

    Args:
        system: As typed; `auto` is the one that the bundle was trained with.
        initial: Bundle to go on from.

    Raises:
        ConfigurationError: If there is none of that name, or the bundle does not say which one it is.
    """
    if initial is not None:
        from ecumene.workflows.beginning import system_of

        system = system_of(initial.model, system)
    if system == "auto":
        return None
    from ecumene.systems import get_system

    return system if get_system(system).task == "restoration" else None


def train(scenes: Sequence[str] | None, out: Path, *, system: str, given: Sequence[str], **options: Any) -> None:
    """Train and print what is known of the model.

    Args:
        scenes: One path an acquisition.
        out: Folder of the bundle.
        system: Its name.
        given: Options that were given and mean nothing here.
        **options: Of `train_restoration_on_scenes`.

    Raises:
        ConfigurationError: If there is no scene, or an option that means nothing here was given.
    """
    from ecumene.workflows.given_options import refuse_others

    refuse_others(given, (), f"{system}, which learns from clear pixels of scenes")
    if not scenes:
        raise ConfigurationError(f"{system} learns from scenes, or from the folder of a data set: --data.")
    from ecumene.cli.from_data import print_scene_training
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.restoration_scenes import train_restoration_on_scenes

    with progress_bar("train") as progress:
        model = train_restoration_on_scenes(list(scenes), system, out, progress=progress, **options)
    print_scene_training(model, out)
