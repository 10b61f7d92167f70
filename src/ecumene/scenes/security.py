"""What a scene's files may point at.

A VRT, a `scene.yaml` or a product's XML names other files, and all of them may come from a stranger.
Every such name must lie inside the allowed roots: the folders of the paths that the user typed, and the
roots that the user named. Symbolic links are resolved first, so that a link does not lead outside.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse as parse_xml_file

from ecumene.core.errors import SceneError

_REMOTE = re.compile(r"^(/vsi[a-z0-9_]+/|[a-z][a-z0-9+.-]+://)", re.IGNORECASE)
_PREFIXED = re.compile(r"^[A-Za-z][A-Za-z0-9_]+:")
_VRT_DEPTH = 4
_VRT_SOURCES = 20_000


def is_remote(href: str) -> bool:
    """Whether a name is a URL or a virtual file system of GDAL (`/vsicurl/`, `/vsizip/`, ...)."""
    return _REMOTE.match(href) is not None


def parse_xml(path: str | Path) -> Element:
    """Parse an XML file without entity expansion, DTDs or external references.

    Raises:
        SceneError: If the file is no XML, or uses such features.
    """
    try:
        root = parse_xml_file(str(path), forbid_dtd=True).getroot()
    except (ParseError, DefusedXmlException, UnicodeDecodeError, ValueError) as error:
        raise SceneError(f"{path} is not a readable XML file; fetch the product again.") from error
    except OSError as error:
        raise SceneError(f"{path} cannot be read ({error.strerror or error}); check the file.") from error
    if root is None:
        raise SceneError(f"{path} is an empty XML file; fetch the product again.")
    return root


@dataclass(frozen=True)
class AllowedRoots:
    """Folders and URL prefixes that files of a scene may lie in."""

    folders: tuple[Path, ...]
    prefixes: tuple[str, ...] = ()

    @classmethod
    def around(cls, paths: Sequence[str], extra: Sequence[str | Path] | None = None) -> AllowedRoots:
        """Return the roots for paths that the user typed: their folders, and `extra`.

        The working directory belongs to them where a path is relative.
        """
        folders: list[Path] = []
        prefixes: list[str] = []
        for text in paths:
            if is_remote(text):
                prefixes.append(text.rsplit("/", 1)[0] + "/")
                continue
            path = Path(text)
            if not path.is_absolute():
                folders.append(Path.cwd().resolve())
            folders.append((path if path.is_dir() else path.parent).resolve())
            folders.append(path.resolve() if path.is_dir() else path.resolve().parent)
        for root in extra or ():
            if is_remote(str(root)):
                prefixes.append(str(root).rstrip("/") + "/")
            else:
                folders.append(Path(root).resolve())
        return cls(tuple(dict.fromkeys(folders)), tuple(dict.fromkeys(prefixes)))

    def locate(self, href: str, folder: Path | None, named_by: str) -> str:
        """Return where `href` lies, if that is allowed.

        Args:
            href: A path or URL as a file names it.
            folder: What relative paths are relative to; None: the working directory.
            named_by: The file that names it, for the sentence.

        Returns:
            The absolute path, or the URL.

        Raises:
            SceneError: If it lies outside of the allowed roots.
        """
        if is_remote(href):
            if ".." in href or not any(href.startswith(prefix) for prefix in self.prefixes):
                raise self._refused(href, named_by)
            return href
        if _PREFIXED.match(href) or "\0" in href or href.lstrip().startswith("<"):
            raise self._refused(href, named_by)
        path = Path(href) if folder is None else folder / href
        resolved = path.resolve()
        if not any(resolved.is_relative_to(root) for root in self.folders):
            raise self._refused(href, named_by)
        return str(resolved)

    @staticmethod
    def _refused(href: str, named_by: str) -> SceneError:
        return SceneError(
            f"{named_by} points to {href!r}, which lies outside of the allowed roots; "
            "name its folder as an allowed root if you trust it."
        )


def is_vrt(path: str) -> bool:
    """Whether a local file is a VRT by its content, whatever its suffix."""
    try:
        with Path(path).open("rb") as stream:
            return b"<VRTDataset" in stream.read(4096)
    except OSError:
        return False


def check_vrt(path: str, roots: AllowedRoots, depth: int = 0) -> tuple[str, ...]:
    """Check everything that a VRT reads, through nested VRTs, before GDAL opens it.

    Args:
        path: The VRT.
        roots: Where sources may lie.
        depth: How many VRTs deep this one is.

    Returns:
        Its sources that are not VRTs.

    Raises:
        SceneError: If a source lies outside of the allowed roots, is missing, or the VRT runs code.
    """
    if depth > _VRT_DEPTH:
        raise SceneError(f"{path} nests VRTs more than {_VRT_DEPTH} deep or in a circle; flatten it.")
    found: list[str] = []
    for element in parse_xml(path).iter():
        tag = element.tag.rsplit("}", 1)[-1]
        text = (element.text or "").strip()
        if tag == "PixelFunctionLanguage" and text.lower() not in {"", "c", "expression"}:
            raise SceneError(f"{path} runs {text} code to make its pixels; convert it to a GeoTIFF where you trust it.")
        if tag not in {"SourceFilename", "SourceDataset"} or not text:
            continue
        relative = element.get("relativeToVRT", element.get("relativetoVRT", "0")) == "1"
        source = roots.locate(text, Path(path).parent if relative else None, path)
        if not is_remote(source) and not Path(source).exists():
            raise SceneError(f"{path} reads {text!r}, which does not exist; restore it beside the VRT.")
        if source not in found:
            found.extend(check_vrt(source, roots, depth + 1) if is_vrt(source) else [source])
        if len(found) > _VRT_SOURCES:
            raise SceneError(f"{path} has more than {_VRT_SOURCES} sources; split it.")
    return tuple(dict.fromkeys(found))
