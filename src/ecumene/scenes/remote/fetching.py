"""Requests over HTTP with patience: small texts, and whole files that go on where a connection broke."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecumene.core.errors import SceneError
from ecumene.core.optional import require
from ecumene.scenes.remote.addresses import without_secrets
from ecumene.scenes.remote.patience import TRANSIENT, Patience

CONNECT_S, READ_S = 10.0, 60.0
_CHUNK = 1 << 16
_LARGEST_TEXT = 64 << 20


def refusal(href: str, status: int | None, tries: int = 1) -> SceneError:
    """Return the sentence for an answer that is no file.

    Args:
        href: What was asked for; its query is left out.
        status: HTTP status; None: no answer at all.
        tries: How often it was asked.
    """
    name = without_secrets(href)
    if status in (401, 403):
        return SceneError(
            f"{name} may not be read ({status}): its signature has expired or credentials are missing; set "
            "ECUMENE_SIGN, or the provider's environment variables."
        )
    if status in (404, 410):
        return SceneError(f"{name} does not exist ({status}); check the address, or leave its Item out.")
    if status == 429:
        return SceneError(f"{name}: the server still throttles (429) after {tries} tries; try later, or fewer workers.")
    if status is None:
        return SceneError(f"{name} cannot be reached after {tries} tries; check the address and the connection.")
    return SceneError(f"{name} cannot be read: the server answers {status} after {tries} tries; try again later.")


def get(session: Any, href: str, patience: Patience, **options: Any) -> Any:
    """Return a response below 400.

    Args:
        session: A `requests.Session`.
        href: Address.
        patience: Bounds of trying again.
        **options: Of `Session.get`.

    Raises:
        SceneError: After all tries.
    """
    errors = require("requests").exceptions
    status: int | None = None
    tries = 0
    for attempt in patience.attempts():
        tries += 1
        try:
            response = session.get(href, timeout=(CONNECT_S, READ_S), **options)
        except (errors.ConnectionError, errors.Timeout, errors.ChunkedEncodingError):
            status, asked = None, None
        except errors.RequestException as error:
            raise SceneError(f"{without_secrets(href)} is no address that can be fetched; check it.") from error
        else:
            status, asked = int(response.status_code), response.headers.get("Retry-After")
            if status < 400:
                return response
            response.close()
            if status not in TRANSIENT:
                break
        if attempt.last:
            break
        attempt.wait(asked)
    raise refusal(href, status, tries)


def fetch_text(href: str, patience: Patience | None = None) -> str:
    """Return a text.

    Args:
        href: `http://` or `https://` address.
        patience: Bounds of trying again.

    Raises:
        SceneError: If it cannot be had, or is larger than 64 MB.
    """
    session = require("requests").Session()
    with session, get(session, href, patience or Patience(), stream=True) as response:
        parts, size = [], 0
        for chunk in response.iter_content(_CHUNK):
            size += len(chunk)
            if size > _LARGEST_TEXT:
                raise SceneError(f"{without_secrets(href)} is larger than 64 MB, which no catalogue page is.")
            parts.append(chunk)
    return b"".join(parts).decode("utf-8", errors="replace")


@dataclass(frozen=True)
class Answer:
    """What a server says when it is asked for one byte.

    Attributes:
        status: HTTP status; None without an answer.
        page: Whether it answered with a web page.
        retry_after: Its header of that name.
    """

    status: int | None
    page: bool = False
    retry_after: str | None = None


def _is_page(response: Any) -> bool:
    return str(response.headers.get("Content-Type", "")).lower().startswith("text/html")


def ask(href: str) -> Answer:
    """Ask for the first byte of an address; never raises."""
    requests = require("requests")
    try:
        with requests.get(
            href, headers={"Range": "bytes=0-0"}, stream=True, timeout=(CONNECT_S, CONNECT_S)
        ) as response:
            return Answer(int(response.status_code), _is_page(response), response.headers.get("Retry-After"))
    except requests.exceptions.RequestException:
        return Answer(None)


def fetch_file(href: str, target: Path, patience: Patience | None = None) -> None:
    """Write a file, going on where a connection broke, where the server honours ranges.

    Args:
        href: `http://` or `https://` address.
        target: File to write; what it holds already is overwritten.
        patience: Bounds of trying again.

    Raises:
        SceneError: If the file cannot be had whole.
    """
    patience = patience or Patience()
    errors = require("requests").exceptions
    session = require("requests").Session()
    expected: int | None = None
    with session, target.open("wb") as stream:
        for attempt in patience.attempts():
            start = stream.tell()
            headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
            with get(session, href, patience, stream=True, headers=headers) as response:
                if _is_page(response):
                    raise SceneError(
                        f"{without_secrets(href)} is a web page instead of a file; sign in, or check the address."
                    )
                if start and response.status_code != 206:
                    stream.seek(0)
                    stream.truncate()
                    start = 0
                length = response.headers.get("Content-Length")
                expected = start + int(length) if length is not None else expected
                try:
                    for chunk in response.iter_content(_CHUNK):
                        stream.write(chunk)
                except (errors.ConnectionError, errors.Timeout, errors.ChunkedEncodingError):
                    pass
            if expected is None or stream.tell() == expected:
                return
            if attempt.last:
                break
            attempt.wait()
    raise SceneError(f"{without_secrets(href)} ends before its last byte on every try; check the connection.")
