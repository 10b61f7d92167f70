"""Files that are either whole or absent.

Everything that ecumene writes goes to a temporary name in the same folder, is validated there, and
takes its final name by an atomic rename; a crash, a full disk or a kill leaves the old state.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ecumene.core.errors import ProductError

TEMPORARY_MARK = ".part-"


def sha256_of(path: Path | str, block: int = 1 << 20) -> str:
    """Return the SHA-256 of a file as lower-case hex digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while chunk := stream.read(block):
            digest.update(chunk)
    return digest.hexdigest()


def multihash_of(path: Path | str) -> str:
    """Return the SHA-256 of a file in the multihash form that STAC's `file:checksum` wants."""
    return "1220" + sha256_of(path)


def _reason(error: OSError) -> str:
    """Return why something could not be written.

    Where the disk fills up within a write, NumPy counts bytes ("5760 requested and 3040 written") and gives no number.
    """
    short = error.errno is None and " requested and " in str(error)
    return os.strerror(errno.ENOSPC) if short else error.strerror or str(error)


@contextlib.contextmanager
def atomic_path(
    target: Path | str, validate: Callable[[Path], None] | None = None, *, durable: bool = True
) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on success validate it and rename it to `target`.

    Args:
        target: The final path; its folder is created.
        validate: Called with the finished temporary file; raise to refuse it.
        durable: Wait until the disk has it, so that it survives a power cut too. Without, a file may be damaged after
            one: only for what is checked by its checksum before it is used, and can be made again.

    Yields:
        A path in the same folder with the same suffix, so that drivers which look at suffixes work.

    Raises:
        ProductError: If the folder cannot be written to or the disk is full.
    """
    target = Path(target)
    temporary = target.with_name(f"{TEMPORARY_MARK}{secrets.token_hex(4)}-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if validate is not None:
            validate(temporary)
        if durable:
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
        temporary.replace(target)
    except OSError as error:
        raise ProductError(f"{target} cannot be written: {_reason(error)}.") from error
    finally:
        with contextlib.suppress(OSError):  # the folder itself may be what is wrong
            temporary.unlink(missing_ok=True)


def write_text(target: Path | str, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(target) as path:
        path.write_text(text, encoding="utf-8")


def write_json(target: Path | str, value: Any) -> None:
    """Write JSON atomically, with sorted keys, two blanks of indent and no NaN."""
    write_text(target, json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def ensure_writable_folder(folder: Path | str) -> Path:
    """Create `folder` and prove that a file can be written there.

    Raises:
        ProductError: If it is a file, or not writable.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f"{TEMPORARY_MARK}{secrets.token_hex(4)}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise ProductError(
            f"The output folder {folder} cannot be written to ({_reason(error)}); choose another with --out."
        ) from error
    return folder


def remove_leftovers(folder: Path | str) -> None:
    """Delete temporary files that a killed run left in `folder` (not recursive)."""
    for leftover in Path(folder).glob(f"{TEMPORARY_MARK}*"):
        if leftover.is_file():
            leftover.unlink(missing_ok=True)
