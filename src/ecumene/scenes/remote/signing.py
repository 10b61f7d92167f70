"""Addresses that need a short-lived token: fetched once for a container, renewed before it ends.

The pattern is that of shared access signatures: a service gives a query string for a storage account and container, and
says when it ends. Which service signs which hosts is data: a known provider by name, or a YAML file of the user.
Tokens stay in memory; plans, Items, sentences and logs keep the unsigned address.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.scenes.remote.addresses import is_web, with_query, without_secrets
from ecumene.scenes.remote.fetching import fetch_text

ENVIRONMENT = "ECUMENE_SIGN"
"""Name of a known provider, or path of a YAML file with the fields of `TokenService`."""

_EARLY_S = 60.0
_LARGEST_FILE = 1 << 16


class TokenService(BaseModel):
    """Where tokens come from.

    Attributes:
        hosts: Regular expression that an address must match as a whole; its named groups fill `token_url`.
        token_url: Address that answers with JSON, with `{group}` for the groups of `hosts`.
        token_key: Key of the query string in the answer.
        expiry_key: Key of the end (ISO 8601) in the answer; without it a token is used for `life_s`.
        life_s: Seconds that a token without a stated end is used for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hosts: str
    token_url: str = Field(pattern="^https?://")
    token_key: str = "token"  # noqa: S105  (a name, no secret)
    expiry_key: str = "msft:expiry"
    life_s: float = Field(default=600.0, gt=0)


KNOWN = {
    "planetary-computer": TokenService(
        hosts=r"https://(?P<account>[a-z0-9]+)\.blob\.core\.windows\.net/(?P<container>[a-z0-9-]+)/.*",
        token_url="https://planetarycomputer.microsoft.com/api/sas/v1/token/{account}/{container}",  # noqa: S106
    )
}
"""Providers by name (Planetary Computer: documentation of its data authentication API, v1)."""


@dataclass
class Signer:
    """Adds tokens to the addresses of one service."""

    service: TokenService
    _tokens: dict[str, tuple[str, float]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def sign(self, href: str, *, renew: bool = False) -> str:
        """Return the address with a token that still lives, or as it is where the service does not sign it.

        Args:
            href: Unsigned address.
            renew: Fetch a new token even if the last one should still live.

        Raises:
            SceneError: If the service gives no token.
        """
        match = re.fullmatch(self.service.hosts, href)
        if match is None:
            return href
        source = self.service.token_url.format(**match.groupdict())
        with self._lock:
            token, end = self._tokens.get(source, ("", 0.0))
            if renew or time.time() >= end:
                token, end = self._fetch(source)
                self._tokens[source] = token, end
        return with_query(href, token)

    def _fetch(self, source: str) -> tuple[str, float]:
        now = time.time()
        try:
            answer = json.loads(fetch_text(source))
            token = str(answer[self.service.token_key])
            stated = answer.get(self.service.expiry_key)
            end = now + self.service.life_s if stated is None else datetime.fromisoformat(str(stated)).timestamp()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SceneError(
                f"{without_secrets(source)} gives no token; check ECUMENE_SIGN and the provider's state."
            ) from error
        # Renewed early, but never so early that a short-lived token is fetched for every read.
        return token, end - min(_EARLY_S, 0.5 * max(0.0, end - now))


_SIGNERS: dict[str, Signer] = {}


def current_signer() -> Signer | None:
    """Return what the environment variable `ECUMENE_SIGN` asks for, or None.

    Raises:
        ConfigurationError: If it names neither a provider nor a usable file.
    """
    name = os.environ.get(ENVIRONMENT, "").strip()
    if not name or name == "none":
        return None
    if name not in _SIGNERS:
        _SIGNERS[name] = Signer(_service(name))
    return _SIGNERS[name]


def _service(name: str) -> TokenService:
    if name in KNOWN:
        return KNOWN[name]
    path = Path(name)
    if not path.is_file():
        raise ConfigurationError(
            f"ECUMENE_SIGN is {name!r}, which is neither a provider ({', '.join(KNOWN)}) nor a file; correct it."
        )
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ConfigurationError(f"{path} is too large for a token service; name the right file.")
        service = TokenService.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        re.compile(service.hosts)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError, re.error, RecursionError) as error:
        raise ConfigurationError(f"{path} does not describe a token service: it needs hosts and token_url.") from error
    return service


def signed(href: str, *, renew: bool = False) -> str:
    """Return an address as it is to be asked for; paths and other schemes come back as they are.

    Args:
        href: Unsigned address.
        renew: Fetch a new token.
    """
    if not is_web(href):
        return href
    signer = current_signer()
    return href if signer is None else signer.sign(href, renew=renew)
