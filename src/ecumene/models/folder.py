"""Reading a bundle's folder from a stranger, and writing one whole or not at all.

What is read: `model.json` first, its size bounded; then only the files that it lists, whose names must
be among the few that a bundle has. Every file is read once into memory and its checksum is taken of
those bytes, so that what was checked is what is used. Links, sub-folders, unknown files and every
format that can execute on loading are refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ecumene.core.errors import ModelError, ProductError
from ecumene.core.files import TEMPORARY_MARK

MODEL_JSON = "model.json"
NETWORK_WEIGHTS = "weights.safetensors"
FOREST = "forest.safetensors"
SVM = "svm.safetensors"
BOOSTER = "booster.txt"
DETECTOR = "detector.safetensors"
CARD = "card.md"
ONNX = "model.onnx"
ONNX_INT8 = "model-int8.onnx"
KNOWN_FILES = frozenset({NETWORK_WEIGHTS, FOREST, SVM, BOOSTER, DETECTOR, CARD, ONNX, ONNX_INT8})
EXECUTABLE_SUFFIXES = frozenset(
    {".pickle", ".pkl", ".p", ".pt", ".pth", ".ckpt", ".joblib", ".bin", ".npy", ".npz", ".dill", ".mar", ".h5"}
)
MAX_JSON_BYTES = 8 * 2**20
MAX_FILE_BYTES = 8 * 2**30


def _refuse_entry(entry: os.DirEntry[str]) -> None:
    """Refuse what has no place in a bundle's folder."""
    name = entry.name
    if Path(name).suffix.lower() in EXECUTABLE_SUFFIXES:
        raise ModelError(
            f"The model folder holds {name}, a format that can run code when it is loaded; "
            "delete that file if you trust the rest, or get the model again from its source."
        )
    if entry.is_symlink():
        raise ModelError(f"The model folder holds the link {name}; replace it by the file itself.")
    if not entry.is_file(follow_symlinks=False):
        raise ModelError(f"The model folder holds {name}, which is not a plain file; a model has no sub-folders.")
    if name != MODEL_JSON and name not in KNOWN_FILES:
        raise ModelError(f"The model folder holds the unknown file {name}; delete it, a model does not need it.")


def _reject_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")


def read_json(path: Path) -> dict[str, Any]:
    """Read a bounded JSON object.

    Raises:
        ModelError: If it is too big, not JSON, or not an object.
    """
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ModelError(
            f"{path.name} has {path.stat().st_size / 2**20:.0f} MiB, more than the {MAX_JSON_BYTES // 2**20} MiB that "
            "a model description may have; get the model again from its source."
        )
    try:
        value = json.loads(path.read_bytes(), parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{path.name} is not valid JSON ({str(error)[:100]}); get the model again from its source."
        ) from error
    if not isinstance(value, dict):
        raise ModelError(f"{path.name} does not describe a model; get the model again from its source.")
    return value


def read_folder(folder: Path | str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read a bundle's folder with all checks that need no knowledge of models.

    Args:
        folder: The bundle.

    Returns:
        (`model.json` as a dict, bytes of every other file by name).

    Raises:
        ModelError: If it is no bundle, hostile, incomplete or tampered with.
    """
    folder = Path(folder)
    try:
        if not (folder / MODEL_JSON).is_file():
            raise ModelError(f"{folder} is not a model: it has no {MODEL_JSON}; give the folder that training wrote.")
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            _refuse_entry(entry)
        item = read_json(folder / MODEL_JSON)
        listed = _listed_files(item)
        for entry in found:
            if entry.name != MODEL_JSON and entry.name not in listed:
                raise ModelError(f"The model folder holds {entry.name}, which {MODEL_JSON} does not list; delete it.")
        return item, {name: _read_checked(folder / name, asset) for name, asset in listed.items()}
    except OSError as error:
        raise ModelError(f"The model {folder} cannot be read ({error.strerror or error}).") from error


def _listed_files(item: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the item's assets by file name, refusing hrefs that are not one of a bundle's own files."""
    assets = item.get("assets")
    if not isinstance(assets, dict):
        raise ModelError(f"{MODEL_JSON} lists no files; get the model again from its source.")
    listed: dict[str, Mapping[str, Any]] = {}
    for asset in assets.values():
        href = asset.get("href") if isinstance(asset, dict) else None
        name = href[2:] if isinstance(href, str) and href.startswith("./") else href
        if not isinstance(name, str) or name not in KNOWN_FILES:
            raise ModelError(
                f"{MODEL_JSON} points to {str(href)[:80]!r}, which is not one of a model's own files; "
                "get the model again from its source."
            )
        listed[name] = asset
    return listed


def _read_checked(path: Path, asset: Mapping[str, Any]) -> bytes:
    """Read one file and compare it with its checksum."""
    if not path.is_file():
        raise ModelError(f"The model lacks its file {path.name}; get the model again from its source.")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ModelError(f"{path.name} is larger than {MAX_FILE_BYTES // 2**30} GiB, more than a model may have.")
    data = path.read_bytes()
    if asset.get("file:checksum") != checksum(data):
        raise ModelError(
            f"{path.name} is not the file that {MODEL_JSON} describes (its checksum differs): it was damaged or "
            "changed; get the model again from its source."
        )
    return data


def json_bytes(value: Any) -> bytes:
    """Return JSON as UTF-8 with sorted keys and no NaN."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    return text.encode("utf-8")


def checksum(data: bytes) -> str:
    """Return the SHA-256 of `data` as a multihash, as STAC's `file:checksum` wants it."""
    return "1220" + hashlib.sha256(data).hexdigest()


def write_folder(target: Path | str, files: Mapping[str, bytes], validate: Callable[[Path], None]) -> None:
    """Write a bundle's folder whole or not at all.

    The folder is written under a temporary name beside `target`, validated there, and renamed. A model
    that is there already is replaced; anything else that is there is left alone.

    Args:
        target: Final folder.
        files: Bytes by file name.
        validate: Called with the temporary folder; raise to refuse it.

    Raises:
        ProductError: If it cannot be written, or something that is not a model is in the way.
    """
    target = Path(target)
    temporary = target.with_name(f"{TEMPORARY_MARK}{secrets.token_hex(4)}-{target.name}")
    old = temporary.with_name(temporary.name + "-old")
    if target.exists() and not _replaceable(target):
        raise ProductError(f"{target} exists and is not a model; choose another folder with --out.")
    try:
        temporary.mkdir(parents=True)
        for name, data in files.items():
            with (temporary / name).open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        validate(temporary)
        if target.exists():
            target.replace(old)
        try:
            temporary.replace(target)
        except OSError:
            with contextlib.suppress(OSError):
                old.replace(target)
            raise
    except OSError as error:
        raise ProductError(f"The model {target} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _replaceable(target: Path) -> bool:
    """Whether `target` is a folder that holds a model and nothing else, or nothing."""
    if not target.is_dir() or target.is_symlink():
        return False
    names = {path.name for path in target.iterdir()}
    return not names or (MODEL_JSON in names and names <= KNOWN_FILES | {MODEL_JSON})
