"""Walking a STAC catalogue without leaving the allowed roots."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from ecumene.core.errors import SceneError
from ecumene.core.optional import require
from ecumene.scenes.remote.fetching import get
from ecumene.scenes.remote.patience import TRANSIENT, Patience
from ecumene.scenes.security import AllowedRoots, is_remote

MAX_OBJECTS = 100_000
"""STAC objects a walk reads at most, so that a catalogue that links in circles ends."""

_SEARCH = "item-search"
_TIMEOUT_S = 60.0
_REDIRECTS = 5


def host_prefix(url: str) -> str:
    """Return scheme and host of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def absolute(href: str, base: str | None) -> str:
    """Resolve a href of a STAC object against the place that the object was read from."""
    if href.startswith("file://"):
        return href.removeprefix("file://")
    if is_remote(href) or not base:
        return href
    if is_remote(base):
        return urljoin(base, href)
    return str(Path(base).parent / href)


def iterate_items(
    start: str,
    roots: AllowedRoots,
    *,
    collection: str | None,
    bbox: Sequence[float] | None,
    datetime: str | None,
) -> Iterator[Mapping[str, Any]]:
    """Yield Items as JSON, each with its place under `_href`.

    An API is searched; everything else is walked along its child and item links.

    Args:
        start: Path or URL.
        roots: What may be read.
        collection: Passed to an API's search.
        bbox: Passed to an API's search.
        datetime: Passed to an API's search.

    Raises:
        SceneError: If something cannot be read, is no STAC, or lies outside of `roots`.
    """
    start = start.removeprefix("file://")
    first = _read(start, roots, start)
    conforms = first.get("conformsTo") or []
    if is_remote(start) and any(_SEARCH in str(entry) for entry in conforms):
        yield from _search(start, collection, bbox, datetime)
        return
    pending: list[tuple[str, dict[str, Any]]] = [(start, first)]
    seen = {start}
    while pending:
        href, value = pending.pop()
        kind = value.get("type")
        if kind == "Feature":
            yield value | {"_href": href}
        elif kind == "FeatureCollection":
            features = value.get("features") or []
            yield from (feature | {"_href": href} for feature in features if isinstance(feature, dict))
        elif kind in ("Catalog", "Collection"):
            for link in reversed(value.get("links") or []):
                if link.get("rel") in ("child", "item") and isinstance(link.get("href"), str):
                    target = absolute(link["href"], href)
                    if target not in seen:
                        seen.add(target)
                        if len(seen) > MAX_OBJECTS:
                            raise SceneError(f"{start} has more than {MAX_OBJECTS} objects; name a part of it.")
                        pending.append((target, _read(target, roots, href)))
        else:
            raise SceneError(f"{href} is no STAC Item, Collection or Catalogue; check what was named.")


def _read(href: str, roots: AllowedRoots, named_by: str) -> dict[str, Any]:
    """Read one JSON object from an allowed place."""
    place = roots.locate(href, None, named_by)
    try:
        text = _download(place) if is_remote(place) else Path(place).read_text(encoding="utf-8")
        value = json.loads(text)
    except (OSError, ValueError) as error:
        raise SceneError(f"{href} cannot be read as STAC JSON; check that it exists and is whole.") from error
    if not isinstance(value, dict):
        raise SceneError(f"{href} is no STAC object; name an Item, Collection or Catalogue.")
    return value


def _download(url: str) -> str:
    """Fetch a text over HTTP; a redirect to another host is refused."""
    requests = require("requests")
    if not url.startswith(("http://", "https://")):
        raise SceneError(f"{url} cannot be read as a catalogue; give a path or an http(s) address.")
    place = url
    with requests.Session() as session:
        for _ in range(_REDIRECTS):
            response = get(session, place, Patience(), allow_redirects=False)
            if not response.is_redirect:
                return str(response.text)
            place = urljoin(place, response.headers["location"])
            if host_prefix(place) != host_prefix(url):
                raise SceneError(f"{url} redirects to another host ({place}); name that address if you trust it.")
    raise SceneError(f"{url} redirects in a circle; check the address.")


def _retries() -> Any:
    """Return urllib3's rule for trying a search again: back-off, or what the server asks for."""
    patience = Patience()
    return require("urllib3").util.Retry(
        total=patience.tries - 1,
        backoff_factor=patience.first_wait_s,
        backoff_max=patience.longest_wait_s,
        status_forcelist=sorted(TRANSIENT),
        allowed_methods=["GET"],
        respect_retry_after_header=True,
    )


def _search(
    start: str, collection: str | None, bbox: Sequence[float] | None, datetime: str | None
) -> Iterator[Mapping[str, Any]]:
    """Search an API with pystac-client; pages that lead to another host are refused."""
    pystac_client = require("pystac_client")
    errors = (pystac_client.exceptions.APIError, require("requests").exceptions.RequestException)
    allowed = host_prefix(start)

    class _OwnHost(pystac_client.stac_api_io.StacApiIO):  # type: ignore[misc,name-defined]
        """Requests stay on the API's host."""

        def request(self, href: str, *args: Any, **kwargs: Any) -> Any:
            """Check the host before every request."""
            if host_prefix(href) != allowed:
                raise SceneError(f"{start} leads to another host ({href}); name that address if you trust it.")
            return super().request(href, *args, **kwargs)

    try:
        client = pystac_client.Client.open(start, stac_io=_OwnHost(timeout=_TIMEOUT_S, max_retries=_retries()))
        search = client.search(
            method="GET",  # the one that every API must offer
            collections=[collection] if collection else None,
            bbox=list(bbox) if bbox is not None else None,
            datetime=datetime,
        )
        for item in search.items_as_dicts():
            links = [link.get("href") for link in item.get("links", []) if link.get("rel") == "self"]
            yield item | {"_href": links[0] if links else start}
    except errors as error:
        raise SceneError(f"The search of {start} failed; check the address, the collection and the time.") from error
