"""Errors that a user can act on.

Every error that can be caused by data, files or arguments is an `EcumeneError` whose text is one
sentence: what is wrong, and what to do about it. The command line prints that sentence and exits
with the class's `exit_code`; anything else is a defect of the package and shows its traceback.
"""

from __future__ import annotations


class EcumeneError(Exception):
    """Base of all errors that carry a sentence for the user."""

    exit_code = 1


class SceneError(EcumeneError):
    """A scene cannot be opened, read or aligned."""

    exit_code = 3


class DamagedPixelsError(SceneError):
    """Some pixels of a scene that could be opened cannot be decoded; others can."""


class NothingToMapError(SceneError):
    """Scenes can be read, but no pixel of them can be mapped."""


class ContractError(EcumeneError):
    """Bands, unit, level or ground sampling do not fit what a model or function needs."""

    exit_code = 4


class LabelError(EcumeneError):
    """Labels cannot be read, or cannot be used for what was asked."""

    exit_code = 5


class ModelError(EcumeneError):
    """A model bundle is damaged, hostile, too new, or cannot be executed."""

    exit_code = 6


class ProductError(EcumeneError):
    """A product cannot be written, validated or read."""

    exit_code = 7


class ConfigurationError(EcumeneError):
    """An option, a declaration or a configuration file is wrong."""

    exit_code = 2


class MissingDependencyError(EcumeneError):
    """An optional library is needed and absent; the sentence names the extra that brings it."""

    exit_code = 8


class PartialResultError(EcumeneError):
    """The result is whole and valid, but parts of the input could not be read and are marked as not valid."""

    exit_code = 9


INTERRUPTED, TERMINATED = 130, 143
"""Exit codes of a run stopped by the keyboard or by SIGTERM; the same command goes on where it stopped."""


def exit_codes() -> dict[int, str]:
    """Return what every exit code of the command means, in ascending order."""

    def kinds(parent: type[EcumeneError]) -> list[type[EcumeneError]]:
        return [parent, *(found for child in parent.__subclasses__() for found in kinds(child))]

    meanings = {0: "Everything was done.", 1: "A defect of ecumene; the traceback says where."}
    for kind in kinds(EcumeneError)[1:]:
        if kind.__module__ == __name__:
            meanings.setdefault(kind.exit_code, (kind.__doc__ or kind.__name__).strip().splitlines()[0])
    meanings[INTERRUPTED] = "Interrupted from the keyboard; the same command goes on."
    meanings[TERMINATED] = "Terminated (SIGTERM); the same command goes on."
    return dict(sorted(meanings.items()))
