"""Addresses without their secrets, for plans, sentences and logs."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

WEB = ("http://", "https://")
"""What is fetched by HTTP; other schemes (`s3://`, `gs://`, `/vsi...`) are GDAL's."""


def is_web(href: str) -> bool:
    """Whether an address is fetched by HTTP."""
    return href.startswith(WEB)


def without_secrets(href: str) -> str:
    """Return an address without query, fragment, user and password.

    Args:
        href: Path or address; paths come back as they are.
    """
    if "://" not in href:
        return href
    parts = urlsplit(href)
    host = parts.netloc.rsplit("@", 1)[-1]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def with_query(href: str, query: str) -> str:
    """Return an address with a query added to the one it has."""
    joined = "&" if urlsplit(href).query else "?"
    return f"{href}{joined}{query.lstrip('?&')}"
