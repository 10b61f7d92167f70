"""The files of a published data set, whether unpacked in a folder or still in their archive."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from ecumene.core.errors import SceneError
from ecumene.core.files import TEMPORARY_MARK

_LARGEST_MEMBER = 1 << 30


class OfficialFiles:
    """Names and bytes of the files of a data set.

    Reading is possible from several threads at once, and never leaves the folder or the archive.

    Args:
        folder: A folder, or a zip archive as published.

    Attributes:
        root: The folder or archive.
        names: Relative names with `/`, sorted.

    Raises:
        SceneError: If there is nothing, or the archive is cut short.
    """

    def __init__(self, folder: str | Path) -> None:
        self.root = Path(folder)
        self._archive: zipfile.ZipFile | None = None
        if self.root.is_dir():
            self.names: tuple[str, ...] = tuple(sorted(_walk(self.root)))
        elif self.root.is_file():
            self._archive = _open_archive(self.root)
            members = [item.filename for item in self._archive.infolist() if not item.is_dir()]
            self.names = tuple(sorted(name for name in members if "__MACOSX/" not in name))
        else:
            raise SceneError(f"{self.root} does not exist; give the folder or the archive with the official files.")

    @property
    def is_archive(self) -> bool:
        """Whether the files are in an archive."""
        return self._archive is not None

    def read(self, name: str, first: int | None = None) -> bytes:
        """Return the bytes of a file, or its first ones.

        Raises:
            SceneError: If it cannot be read.
        """
        try:
            if self._archive is None:
                with (self.root / name).open("rb") as stream:
                    return stream.read() if first is None else stream.read(first)
            if self._archive.getinfo(name).file_size > _LARGEST_MEMBER:
                raise SceneError(f"{name} in {self.root.name} is far too large for an image; get the archive again.")
            with self._archive.open(name) as stream:
                return stream.read() if first is None else stream.read(first)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise SceneError(f"{name} in {self.root.name} is damaged; download the archive again.") from error
        except (OSError, KeyError) as error:
            raise SceneError(f"{name} cannot be read from {self.root}; unpack or download the data again.") from error

    def matching(self, wanted: Callable[[PurePosixPath], bool]) -> list[str]:
        """Return the names that fulfil a condition, in order."""
        return [name for name in self.names if wanted(PurePosixPath(name))]

    def with_suffix(self, suffixes: Sequence[str]) -> list[str]:
        """Return the names with one of these suffixes (lower case), in order."""
        return self.matching(lambda path: path.suffix.lower() in suffixes)

    def folders(self) -> set[str]:
        """Return the relative names of all folders, also of empty ones."""
        if self._archive is None:
            return {
                Path(where, name).relative_to(self.root).as_posix()
                for where, names, _ in os.walk(self.root)
                for name in names
            }
        stated = {item.filename.rstrip("/") for item in self._archive.infolist() if item.is_dir()}
        return stated | {str(parent) for name in self.names for parent in PurePosixPath(name).parents} - {"."}


def open_files(folder: str | Path, suffixes: Sequence[str], title: str) -> OfficialFiles:
    """Open the folder or archive of a data set; a folder may also hold the one archive that was downloaded.

    Args:
        folder: What the user gave.
        suffixes: Suffixes of the data set's images, lower case.
        title: Name of the data set in errors.

    Raises:
        SceneError: If there are no such files.
    """
    files = OfficialFiles(folder)
    if files.with_suffix(suffixes):
        return files
    archives = [] if files.is_archive else files.with_suffix((".zip",))
    if len(archives) == 1:
        return open_files(files.root / archives[0], suffixes, title)
    if len(archives) > 1:
        raise SceneError(f"{files.root} holds several archives ({', '.join(archives)}); name one of them as --data.")
    listed = " or ".join(suffixes)
    raise SceneError(f"{files.root} holds no {listed} files of {title}; give the folder or archive as published.")


def _walk(root: Path) -> list[str]:
    found = []
    for where, _, names in os.walk(root):
        inside = Path(where).relative_to(root).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        found += [prefix + name for name in names if not name.startswith((".", TEMPORARY_MARK))]
    return found


def _open_archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise SceneError(
            f"{path.name} is no whole zip archive, so that its download was perhaps cut short; download it again."
        ) from error
    except OSError as error:
        raise SceneError(f"{path} cannot be read ({error.strerror or error}).") from error
