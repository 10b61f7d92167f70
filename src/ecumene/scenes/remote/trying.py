"""Reading a remote raster again where trying again can help, and saying why where it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ecumene.core.errors import SceneError
from ecumene.scenes.remote.addresses import is_web, without_secrets
from ecumene.scenes.remote.cache import FOLDER, current_cache, local_or_signed
from ecumene.scenes.remote.fetching import Answer, ask, refusal
from ecumene.scenes.remote.patience import TRANSIENT, Patience
from ecumene.scenes.remote.signing import current_signer, signed

T = TypeVar("T")
_TRIES_WHERE_REACHABLE = 3
"""A file whose server answers well but which cannot be decoded is damaged, not busy."""

DEFAULT = Patience()


def patiently(href: str, action: Callable[[str, bool], T], patience: Patience | None = None) -> T:
    """Do something with a raster; for `http(s)` addresses again, as long as that can help.

    Args:
        href: Local path, GDAL path, or unsigned address.
        action: Called with what GDAL shall open (signed, or a cached copy) and whether this is a further try, in which
            case nothing that GDAL has cached of it may be used; raises `SceneError` where it fails.
        patience: Bounds of trying again.

    Returns:
        What `action` returned.

    Raises:
        SceneError: If it failed for good, in one sentence without secrets.
    """
    if not is_web(href):
        return action(href, False)
    renewed = False
    tries = 0
    for attempt in (patience or DEFAULT).attempts():
        tries += 1
        try:
            return action(local_or_signed(href, renew=renewed and tries == 2), tries > 1)
        except SceneError as error:
            if current_cache() is not None:
                raise  # the cache has had its own patience, and what it keeps is whole
            answer = ask(signed(href))
            if answer.status in (401, 403) and not renewed and current_signer() is not None:
                renewed = True
                continue
            if not _may_change(href, answer, tries):
                raise _sentence(href, answer, tries, error) from error
            if attempt.last:
                raise refusal(href, answer.status, tries) from error
            attempt.wait(answer.retry_after)
    raise refusal(href, None, tries)


def _may_change(href: str, answer: Answer, tries: int) -> bool:
    if answer.status is None or answer.status in TRANSIENT:
        return True
    return answer.status == 206 and not answer.page and tries < _TRIES_WHERE_REACHABLE


def _sentence(href: str, answer: Answer, tries: int, error: SceneError) -> SceneError:
    name = without_secrets(href)
    if answer.status is not None and answer.status >= 400:
        return refusal(href, answer.status, tries)
    if answer.page:
        return SceneError(f"{name} is a web page instead of a raster; sign in, or check the address.")
    if answer.status == 200:
        return SceneError(f"{name}: its server gives no parts of files; set {FOLDER} to a folder, to fetch it whole.")
    return SceneError(f"{name} cannot be decoded after {tries} tries; the file is damaged at its source.")
