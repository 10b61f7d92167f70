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
