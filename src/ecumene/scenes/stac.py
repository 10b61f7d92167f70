"""Scenes from STAC: a local Item, Collection or Catalogue, one on a web server, or a search API.

Catalogues come from strangers. A local one may read only inside its own folder, one from the web only
from its own host; everything else (a bucket that holds the pixels, say) must be named as an allowed root.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecumene.core.errors import ConfigurationError, ContractError, SceneError
from ecumene.scenes.contract import MaskSource, SceneSource
from ecumene.scenes.declaration import parse_time
from ecumene.scenes.formats.assembly import finest_grid
from ecumene.scenes.security import AllowedRoots, is_remote
from ecumene.scenes.stac_assets import AssetOpener, asset_bands, category_assets
from ecumene.scenes.stac_catalogue import absolute, host_prefix, iterate_items
from ecumene.sensors import Sensor, get_sensor, match_band

Bounds = tuple[float, float, float, float]


def scenes_from_stac(
    href_or_item: Any,
    *,
    collection: str | None = None,
    bbox: Sequence[float] | None = None,
    datetime: str | None = None,
    sensor: str | None = None,
    level: str | None = None,
    bands: Sequence[str] | None = None,
    allowed_roots: Sequence[str | Path] | None = None,
    max_items: int | None = None,
) -> tuple[SceneSource, ...]:
    """Describe the scenes of a STAC Item, Collection, Catalogue or API.

    Args:
        href_or_item: Path or URL of the JSON, or a `pystac.Item`, or an Item as a dict (their relative
            hrefs need a self link).
        collection: Only Items of this collection (an API needs it).
        bbox: Only Items that touch (west, south, east, north) in degrees.
        datetime: Only Items of this time or interval: `2020-06-04`, `2020-06/2020-08-31`, `2020-06-04/..`.
        sensor: Sensor, where `constellation`, `platform` and `instruments` do not say it.
        level: Product level, where neither `processing:level` nor the collection's name says it.
        bands: Only these bands (as the sensor, or by common name), in this order.
        allowed_roots: Folders, or URL prefixes, that assets and Items may lie in besides the
            catalogue's own folder or host.
        max_items: Stop after so many Items.

    Returns:
        The scenes, by time.

    Raises:
        SceneError: If the catalogue or an asset cannot be read, is missing, or lies outside of the
            allowed roots, or no Item matches.
        ConfigurationError: If sensor, level, scale or offset are said nowhere.
        ContractError: If a band of `bands` has no asset.
        MissingDependencyError: If a remote catalogue needs pystac-client and it is not installed.
    """
    bounds = _bounds(bbox)
    interval = _interval(datetime)
    if isinstance(href_or_item, str | Path):
        start = str(href_or_item)
        roots = _roots(start, allowed_roots)
        items: Iterable[Mapping[str, Any]] = iterate_items(
            start, roots, collection=collection, bbox=bounds, datetime=datetime
        )
    else:
        item = dict(href_or_item if isinstance(href_or_item, Mapping) else href_or_item.to_dict(transform_hrefs=False))
        start = _self_href(item, href_or_item)
        roots = _roots(start, allowed_roots)
        items = [item | {"_href": start}]
    sources = []
    for found in _matching(items, collection, bounds, interval):
        sources.append(_source(found, roots, sensor, level, bands))
        if max_items is not None and len(sources) >= max_items:
            break
    if not sources:
        raise SceneError(
            f"No Item of {start or 'the STAC Item'} fits the collection, area and time asked for; widen them."
        )
    return tuple(sorted(sources, key=lambda source: (_sortable(source), source.id)))


def _sortable(source: SceneSource) -> int:
    return 0 if source.time is None else int(source.time.astype("datetime64[ns]").astype(np.int64))


def _self_href(item: Mapping[str, Any], original: Any) -> str:
    """Where an Item in memory comes from, or an empty text."""
    known = getattr(original, "get_self_href", lambda: None)()
    links = [link.get("href") for link in item.get("links", []) if link.get("rel") == "self"]
    return str(known or (links[0] if links else ""))


def _roots(start: str, extra: Sequence[str | Path] | None) -> AllowedRoots:
    """Return what may be read: the catalogue's folder or host, and what the user allows."""
    if not start:
        return AllowedRoots.around([], extra)
    if is_remote(start) and not start.startswith("file://"):
        return AllowedRoots.around([], [*(extra or ()), host_prefix(start)])
    return AllowedRoots.around([start.removeprefix("file://")], extra)


def _bounds(bbox: Sequence[float] | None) -> Bounds | None:
    if bbox is None:
        return None
    if len(bbox) != 4 or not all(np.isfinite(bbox)) or bbox[1] > bbox[3]:
        raise ConfigurationError("The bounding box must be west, south, east, north in degrees.")
    west, south, east, north = (float(value) for value in bbox)
    return west, south, east, north


def _interval(text: str | None) -> tuple[np.datetime64 | None, np.datetime64 | None]:
    """Return (first, last) moment of a STAC interval, ends included; None is open."""
    if text is None:
        return None, None
    first, _, last = text.partition("/")
    last = last if "/" in text else first
    begin = None if first in ("", "..") else parse_time(_full(first))
    if last in ("", ".."):
        return begin, None
    end = parse_time(_full(last))
    lengths = {4: ("Y", 4), 7: ("M", 7), 10: ("D", 10)}
    if len(last) in lengths:  # the whole year, month or day
        unit = lengths[len(last)][0]
        end = (end.astype(f"datetime64[{unit}]") + 1).astype("datetime64[ns]") - np.timedelta64(1, "ns")
    return begin, end


def _full(text: str) -> str:
    """Complete a year or a month to a day."""
    return text + {4: "-01-01", 7: "-01"}.get(len(text), "")


def _matching(
    items: Iterable[Mapping[str, Any]],
    collection: str | None,
    bounds: Bounds | None,
    interval: tuple[np.datetime64 | None, np.datetime64 | None],
) -> Iterator[Mapping[str, Any]]:
    """Yield the Items that fit."""
    for item in items:
        if collection is not None and item.get("collection") != collection:
            continue
        if bounds is not None and not _touches(item.get("bbox"), bounds):
            continue
        first, last = interval
        if first is not None or last is not None:
            time = _time(item)
            if time is None or (first is not None and time < first) or (last is not None and time > last):
                continue
        yield item


def _touches(box: Any, bounds: Bounds) -> bool:
    """Whether an Item's bbox (4 or 6 numbers, perhaps over the antimeridian) touches `bounds`."""
    if not isinstance(box, list) or len(box) not in (4, 6):
        return True  # an Item that does not say where it is is not left out silently
    half = len(box) // 2
    west, south, east, north = box[0], box[1], box[half], box[half + 1]
    overlap_y = bool(south <= bounds[3] and north >= bounds[1])
    if west > east:
        return overlap_y and bool(bounds[2] >= west or bounds[0] <= east)
    return overlap_y and bool(west <= bounds[2] and east >= bounds[0])


def _time(item: Mapping[str, Any]) -> np.datetime64 | None:
    """Return an Item's time in UTC: `datetime`, else `start_datetime`."""
    properties = item.get("properties") or {}
    text = properties.get("datetime") or properties.get("start_datetime")
    return None if text is None else parse_time(text)


def _source(
    item: Mapping[str, Any],
    roots: AllowedRoots,
    sensor_name: str | None,
    level_name: str | None,
    bands: Sequence[str] | None,
) -> SceneSource:
    """Describe one Item."""
    identifier, properties = str(item.get("id", "item")), dict(item.get("properties") or {})
    assets = item.get("assets") or {}
    for key, asset in assets.items():
        if not isinstance(asset, Mapping) or not isinstance(asset.get("href"), str):
            raise SceneError(f"Asset {key} of Item {identifier} has no href; correct the Item.")
    sensor = _sensor(properties, sensor_name, identifier)
    level = sensor.level(_level(sensor, item, level_name, identifier))
    hrefs = {key: absolute(asset["href"], item.get("_href")) for key, asset in assets.items()}
    found = asset_bands(item, hrefs, sensor)
    if bands is not None:
        by_name = {band.name: band for band in found}
        names = [match_band(sensor, name) or name for name in bands]
        missing = [name for name in names if name not in by_name]
        if missing:
            raise ContractError(
                f"Item {identifier} has no asset for the band {', '.join(missing)}; its assets have "
                f"{', '.join(by_name) or 'no band of the sensor'}."
            )
        found = [by_name[name] for name in names]
    if not found:
        raise SceneError(
            f"Item {identifier} has no asset that is a band of {sensor.id}; "
            f"its assets are {', '.join(assets) or 'none'}, so check the sensor."
        )
    opener = AssetOpener(roots, f"Item {identifier}")
    described = tuple(opener.band(band, properties, sensor, level) for band in found)
    facts: dict[str, Any] = {"stac_id": identifier, "collection": item.get("collection")}
    facts |= {
        key: properties[key] for key in ("platform", "s2:processing_baseline", "eo:cloud_cover") if key in properties
    }
    licence = properties.get("license")
    if licence:
        facts["licence"] = licence
    return SceneSource(
        id=identifier,
        sensor=sensor.id,
        level=level.name,
        quantity=level.quantity,
        unit=level.unit,
        time=_time(item),
        bands=described,
        geobox=finest_grid([band.geobox for band in described]),
        mask=_mask(item, hrefs, opener, properties),
        files=tuple(dict.fromkeys(band.href for band in described)),
        properties=facts,
    )


def _mask(
    item: Mapping[str, Any], hrefs: Mapping[str, str], opener: AssetOpener, properties: Mapping[str, Any]
) -> MaskSource | None:
    """Return the Item's scene classification or quality band, if it has one."""
    for kind, key in category_assets(item):
        href = opener.locate(hrefs[key])
        grid = opener.grid(href, item["assets"][key], properties)
        return MaskSource(kind="scl" if kind == "scl" else "landsat_qa", href=href, index=1, geobox=grid)
    return None


def _sensor(properties: Mapping[str, Any], given: str | None, identifier: str) -> Sensor:
    """Return the sensor: given, or what the Item's platform fields name."""
    if given is not None:
        return get_sensor(given)
    names = [properties.get("platform"), properties.get("constellation"), *(properties.get("instruments") or ())]
    for name in names:
        try:
            return get_sensor(str(name)) if name else get_sensor("")
        except ConfigurationError:
            continue
    raise ConfigurationError(
        f"Item {identifier} does not name a known sensor in platform, constellation or instruments; declare --sensor."
    )


def _level(sensor: Sensor, item: Mapping[str, Any], given: str | None, identifier: str) -> str:
    """Return the level's name: given, or what the Item says."""
    names = [level.name for level in sensor.levels if "/" not in level.name]
    properties = item.get("properties") or {}
    said = [properties.get(key) for key in ("processing:level", "s2:product_type", "landsat:correction")]
    candidates = [given] if given is not None else [*said, item.get("collection")]
    for candidate in candidates:
        for token in [str(candidate or ""), *re.split(r"[^A-Za-z0-9]+", str(candidate or ""))]:
            token = re.sub(r"^S2MSI(?=\d)", "L", token.upper())
            token = re.sub(r"^(L[12])(SP|SR|TP|GT|GS)$", r"\1", token)
            match = [name for name in names if name.upper() == token]
            if match:
                return match[0]
    if given is None and len(names) == 1:
        return names[0]
    raise ConfigurationError(
        f"Item {identifier} does not say a product level of {sensor.id}; declare --level (one of {', '.join(names)})."
    )
