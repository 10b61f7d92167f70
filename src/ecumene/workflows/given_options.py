"""Which options a user changed, so that none is ignored silently."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from ecumene.core.errors import ConfigurationError

_TYPED: Mapping[str, str] = {
    "use_bands": "--use",
    "mask_clouds": "--no-cloud-mask",
    "options": "--option",
    "animation": "--no-animation",
}


def given_options(chosen: Any) -> tuple[str, ...]:
    """Return the fields of a dataclass of options whose values are not their defaults."""
    found = []
    for entry in dataclasses.fields(chosen):
        default = entry.default if entry.default is not dataclasses.MISSING else None
        if entry.default_factory is not dataclasses.MISSING:
            default = entry.default_factory()
        if getattr(chosen, entry.name) != default:
            found.append(entry.name)
    return tuple(found)


def typed(name: str) -> str:
    """Return an option as it is typed."""
    return _TYPED.get(name, f"--{name.replace('_', '-')}")


def refuse_declared(declaration: Mapping[str, Any], what: str, allowed: Iterable[str] = ()) -> None:
    """Refuse what is declared of scenes where the inputs are none.

    Args:
        declaration: By name; None: not declared.
        what: What the inputs say themselves, the end of the sentence.
        allowed: What may be declared of these inputs, too.

    Raises:
        ConfigurationError: If something else is declared.
    """
    known = set(allowed)
    for name, value in declaration.items():
        if value is not None and name not in known:
            raise ConfigurationError(f"{typed(name)} is said of scenes; {what}.")


def refuse_others(given: Iterable[str], allowed: Iterable[str], what: str) -> None:
    """Refuse options that would mean nothing.

    Args:
        given: Options that were changed.
        allowed: Options that mean something here.
        what: What they mean nothing to, the middle of the sentence, such as `the method cva`.

    Raises:
        ConfigurationError: If there is such an option.
    """
    known = set(allowed)
    for name in given:
        if name not in known:
            raise ConfigurationError(f"{typed(name)} means nothing to {what}; leave it out.")
