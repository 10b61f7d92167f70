"""Sentinel-2 SAFE products, levels 1C and 2A, read from their metadata XML.

Sources: Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), elements QUANTIFICATION_VALUE,
BOA_QUANTIFICATION_VALUE, RADIO_ADD_OFFSET, BOA_ADD_OFFSET. reflectance = (DN + offset) / quantification.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from ecumene.core.errors import SceneError
from ecumene.scenes.contract import MaskSource
from ecumene.scenes.declaration import Declaration, parse_time
from ecumene.scenes.formats.product import Calibration, Candidate, Product
from ecumene.scenes.formats.raster import inspect_raster
from ecumene.scenes.security import AllowedRoots, parse_xml
from ecumene.sensors import get_sensor, match_band

# Band identifiers of the metadata, 0 to 12, where the product does not list them itself.
_PHYSICAL = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
_IMAGE = re.compile(r"_(B\d[\dA]|SCL)(?:_(\d{2})m)?$")
_OFFSET_SINCE = (4, 0)


def find_metadata(path: Path) -> Path | None:
    """Return the product metadata file of a SAFE folder (or of the file itself), None if it is none."""
    if path.is_file():
        return path if re.fullmatch(r"MTD_MSIL(1C|2A)\.xml", path.name) else None
    found = sorted(path.glob("MTD_MSIL[12][AC].xml"))
    return found[0] if found else None


def _texts(root: Element, tag: str) -> Iterator[tuple[Element, str]]:
    for element in root.iter():
        if element.tag.rsplit("}", 1)[-1] == tag and element.text and element.text.strip():
            yield element, element.text.strip()


def _first(root: Element, tag: str) -> str | None:
    return next((text for _, text in _texts(root, tag)), None)


def _number(text: str, what: str, path: Path) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise SceneError(f"{path} states {text!r} as its {what}; fetch the product again.") from error


def baseline_of(text: str | None) -> tuple[int, int] | None:
    """Return a processing baseline `05.09` as (5, 9), None if it is none."""
    match = re.fullmatch(r"(\d+)\.(\d+)", text or "")
    return (int(match[1]), int(match[2])) if match else None


def _calibrations(root: Element, level: str, path: Path) -> dict[str, Calibration]:
    """Scale and offset of every band; each acquisition has its own, by its processing baseline."""
    tag = "QUANTIFICATION_VALUE" if level == "L1C" else "BOA_QUANTIFICATION_VALUE"
    quantification = _first(root, tag)
    if quantification is None:
        raise SceneError(f"{path} has no {tag}; fetch the product again.")
    divisor = _number(quantification, tag, path)
    if divisor <= 0:
        raise SceneError(f"{path} states {quantification} as its {tag}; fetch the product again.")
    sensor = get_sensor("sentinel-2")
    physical: dict[str, str] = {str(number): name for number, name in enumerate(_PHYSICAL)}
    for element in root.iter():
        said, identifier = element.get("physicalBand"), element.get("bandId")
        if said and identifier and (name := match_band(sensor, said)):
            physical[identifier] = name
    offsets: dict[str, float] = {}
    add = "RADIO_ADD_OFFSET" if level == "L1C" else "BOA_ADD_OFFSET"
    for element, text in _texts(root, add):
        identifier = element.get("band_id", "")
        if identifier not in physical:
            raise SceneError(f"{path} gives an offset for the unknown band {identifier!r}; fetch the product again.")
        offsets[physical[identifier]] = _number(text, add, path)
    baseline = baseline_of(_first(root, "PROCESSING_BASELINE"))
    if not offsets and baseline is not None and baseline >= _OFFSET_SINCE:
        raise SceneError(
            f"{path} has processing baseline {baseline[0]:02d}.{baseline[1]:02d} but no {add}; "
            "fetch the product again, or open its images with --scale and --offset."
        )
    return {name: Calibration(1.0 / divisor, offsets.get(name, 0.0) / divisor) for name in _PHYSICAL}


def _images(root: Element, folder: Path) -> dict[str, tuple[int, str]]:
    """Best file of each band (and SCL): name to (ground sampling, path relative to the product)."""
    granules = {match[1] for _, text in _texts(root, "IMAGE_FILE") if (match := re.search(r"GRANULE/([^/]+)/", text))}
    stems = [text for tag in ("IMAGE_FILE", "IMAGE_FILE_2A") for _, text in _texts(root, tag)]
    if not stems:
        found = sorted(folder.glob("GRANULE/*/IMG_DATA/**/*.jp2"))
        granules = {path.relative_to(folder).parts[1] for path in found}
        stems = [str(path.relative_to(folder).with_suffix("")) for path in found]
    if len(granules) > 1:
        raise SceneError(f"{folder} holds {len(granules)} granules; split it, one granule a scene.")
    best: dict[str, tuple[int, str]] = {}
    for stem in stems:
        match = _IMAGE.search(stem)
        if match is None:
            continue
        sampling = int(match[2] or 0)
        if match[1] not in best or sampling < best[match[1]][0]:
            best[match[1]] = (sampling, stem)
    return best


def read_sentinel2(metadata: Path, roots: AllowedRoots, declaration: Declaration) -> tuple[list[Candidate], Product]:
    """Read a SAFE product's metadata and look at its images.

    Args:
        metadata: `MTD_MSIL1C.xml` or `MTD_MSIL2A.xml`.
        roots: Where the images may lie.
        declaration: What is declared; only declared bands are looked for where bands are declared.

    Returns:
        The bands (finest version of each) and what the metadata say.

    Raises:
        SceneError: If metadata are incomplete, or an image is missing or damaged.
    """
    root, folder = parse_xml(metadata), metadata.parent
    level = "L1C" if "MSIL1C" in metadata.name else "L2A"
    images = _images(root, folder)
    scl = images.pop("SCL", None)
    if not images:
        raise SceneError(f"{metadata} lists no images; fetch the product again.")
    sensor = get_sensor("sentinel-2")
    wanted = {match_band(sensor, name) or name for name in declaration.bands or ()} - {"all"}
    named = [name for name in _PHYSICAL if name in images and (not wanted or name in wanted)]
    # Where none of the wanted bands is listed, what is there serves the sentence that says so.
    listed = named or [name for name in _PHYSICAL if name in images]
    candidates = []
    for name in listed:
        href = _image_path(images[name][1], roots, folder, metadata, must=bool(named))
        if named or Path(href).exists():
            candidates.append(Candidate(inspect_raster(href, roots), 1, name))
    mask = None
    if scl is not None and Path(scl_href := _image_path(scl[1], roots, folder, metadata, must=False)).exists():
        mask = MaskSource("scl", scl_href, 1, inspect_raster(scl_href, roots).geobox)
    baseline = _first(root, "PROCESSING_BASELINE")
    product = Product(
        sensor="sentinel-2",
        level=level,
        id=(_first(root, "PRODUCT_URI") or _first(root, "PRODUCT_URI_2A") or folder.name).removesuffix(".SAFE"),
        time=parse_time(_sensing_time(root, folder, metadata)),
        calibration=_calibrations(root, level, metadata),
        mask=mask,
        files=(str(metadata.resolve()),),
        properties={"platform": _first(root, "SPACECRAFT_NAME") or "", "processing_baseline": baseline or ""},
    )
    return candidates, product


def _image_path(stem: str, roots: AllowedRoots, folder: Path, metadata: Path, must: bool = True) -> str:
    """Path of an image that the XML names without suffix."""
    for suffix in (".jp2", ".tif"):
        href = roots.locate(stem + suffix, folder, str(metadata))
        if Path(href).exists():
            return href
    if must:
        raise SceneError(
            f"{metadata.parent} lacks the image {stem}.jp2; complete the product, "
            "or name the bands to open with --bands."
        )
    return href


def _sensing_time(root: Element, folder: Path, metadata: Path) -> str:
    """Sensing time of the granule; of the product where the granule's metadata are absent."""
    for path in sorted(folder.glob("GRANULE/*/MTD_TL.xml"))[:1]:
        time = _first(parse_xml(path), "SENSING_TIME")
        if time:
            return time
    time = _first(root, "DATATAKE_SENSING_START") or _first(root, "PRODUCT_START_TIME")
    if time is None:
        raise SceneError(f"{metadata} has no sensing time; fetch the product again.")
    return time
