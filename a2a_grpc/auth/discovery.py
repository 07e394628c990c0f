"""Read the keys of an issuer: by OIDC discovery, from a URL, or from a file."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from a2a_grpc.address import is_loopback
from a2a_grpc.auth import keyset
from a2a_grpc.auth.keyset import KeySet, KeySetError
from a2a_grpc.config import ConfigurationError
from a2a_grpc.harmless import one_line
from a2a_grpc.masking import mask_url
from a2a_grpc.regular import read_regular
from a2a_grpc.watched import LOOK_EVERY_S, Watched

WELL_KNOWN = "/.well-known/openid-configuration"
FETCH_TIMEOUT_S = 5.0
"""Seconds for all requests that bring the keys once."""
MAX_DOCUMENT_BYTES = 256 * 1024
MAX_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class SourceError(Exception):
    """The keys could not be read now. The message says why, for the log."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often keys are read.

    Attributes:
        fresh_s: Seconds for which keys are used without another look.
        ahead_s: Seconds before the end of `fresh_s` in which a call starts a look, but does not wait for it.
        retry_s: Seconds between two looks for an unknown key, and after a failure.
        stale_s: Seconds after which keys are not used any more if they cannot be read again.
    """

    fresh_s: float
    ahead_s: float
    retry_s: float
    stale_s: float


class Source(Protocol):
    """A place that has the keys of an issuer."""

    @property
    def pace(self) -> Pace:
        """How often the keys are read."""
        ...

    async def load(self) -> KeySet:
        """Return the keys that the place has now.

        Raises:
            SourceError: The keys cannot be read now.
            ConfigurationError: The place is not that of the issuer's keys.
        """
        ...


FROM_AFAR = Pace(fresh_s=300.0, ahead_s=60.0, retry_s=30.0, stale_s=3600.0)
FROM_FILE = Pace(fresh_s=LOOK_EVERY_S, ahead_s=0.0, retry_s=LOOK_EVERY_S, stale_s=float("inf"))


@dataclass(frozen=True, slots=True)
class KeyUrl:
    """The keys at a URL."""

    url: str
    pace: Pace = FROM_AFAR

    async def load(self) -> KeySet:
        """Return the keys at the URL. Raise SourceError."""
        return await _bounded(self._load())

    async def _load(self) -> KeySet:
        return _keys(self.url, await _get(self.url))


@dataclass(frozen=True, slots=True)
class Discovery:
    """The keys at the URL that the issuer's document names (OpenID Connect Discovery 1.0, section 4)."""

    issuer: str
    pace: Pace = FROM_AFAR

    @property
    def url(self) -> str:
        """The URL of the issuer's document."""
        return self.issuer.rstrip("/") + WELL_KNOWN

    async def load(self) -> KeySet:
        """Return the keys. Raise SourceError, or ConfigurationError if the document is that of another issuer."""
        return await _bounded(self._load())

    async def _load(self) -> KeySet:
        document = _object(self.url, await _get(self.url))
        if document.get("issuer") != self.issuer:
            named = one_line(str(document.get("issuer")), 200)
            raise ConfigurationError(
                f"the document at {self.url} is that of the issuer '{named}', not of '{self.issuer}'; give the issuer "
                "exactly as its document has it"
            )
        where = document.get("jwks_uri")
        if not isinstance(where, str):
            raise SourceError(f"the document at {self.url} has no jwks_uri")
        if problem := url_problem(where, may_be_local=is_local(self.issuer)):
            raise SourceError(f"the jwks_uri of {self.url} {problem}")
        return _keys(where, await _get(where))


class KeyFile:
    """The keys in a file, which is read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pace = FROM_FILE
        self._watched: Watched | None = None
        self._keys: KeySet | None = None

    async def load(self) -> KeySet:
        """Return the keys in the file. Raise ConfigurationError if it cannot be read."""
        return await asyncio.to_thread(self._load)

    def _load(self) -> KeySet:
        if self._watched is None:
            self._watched = Watched(self.path)
        elif self._keys is not None and not self._watched.has_changed():
            return self._keys
        self._keys = self._read()
        self._watched.use()
        return self._keys

    def _read(self) -> KeySet:
        try:
            return keyset.parse(read_regular(self.path, MAX_DOCUMENT_BYTES))
        except OSError as error:
            raise ConfigurationError(f"jwks_file {self.path}: cannot be read: {error.strerror}") from None
        except KeySetError as error:
            raise ConfigurationError(f"jwks_file {self.path}: {error}") from None


def url_problem(url: str, *, may_be_local: bool = True) -> str:
    """Return what is wrong with the URL of keys or of an issuer, as the end of a sentence; "" if nothing is.

    Args:
        url: The URL.
        may_be_local: True if the URL may be that of a server on this machine, in plaintext.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("https", "http") or not host or not url.isascii() or not url.isprintable() or " " in url:
        return "is not a URL that begins with https://"
    if parts.username is not None or parts.password is not None:
        return "has a user name or a password"
    if parts.fragment:
        return "has a fragment"
    if parts.scheme == "http" and not (may_be_local and is_loopback(host)):
        return "begins with http://, which is for servers on this machine only; use https://"
    return ""


def is_local(url: str) -> bool:
    """Return True if a URL is that of a server on this machine."""
    return is_loopback(urlsplit(url).hostname or "")


async def _bounded(loading: Any) -> KeySet:
    """Return what an HTTP source loads. Raise SourceError for each way in which HTTP can fail."""
    import aiohttp

    try:
        async with asyncio.timeout(FETCH_TIMEOUT_S):
            return await loading  # type: ignore[no-any-return]
    except TimeoutError:
        raise SourceError(f"no answer within {FETCH_TIMEOUT_S:g} s") from None
    except (aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError, ValueError, EOFError) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise SourceError(one_line(mask_url(str(error)), 300) or type(error).__name__) from None


async def _get(url: str) -> bytes:
    """Return the document at a URL, which may redirect to another path of the same server."""
    import aiohttp
    from yarl import URL

    here = URL(url)
    async with aiohttp.ClientSession(auto_decompress=False, trust_env=not is_local(url)) as session:
        for _ in range(1 + MAX_REDIRECTS):
            headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
            async with session.get(here, headers=headers, allow_redirects=False) as answer:
                if answer.status in REDIRECTS:
                    there = here.join(URL(answer.headers.get("Location", "")))
                    if (there.scheme, there.raw_host, there.port) != (here.scheme, here.raw_host, here.port):
                        raise SourceError(f"{url} redirects to another server")
                    here = there
                    continue
                if answer.status != 200:
                    raise SourceError(f"{url} answers {answer.status}")
                return await _content(url, answer)
    raise SourceError(f"{url} redirects in circles")


async def _content(url: str, answer: Any) -> bytes:
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise SourceError(f"{url} is compressed, which was not asked for")
    content = bytearray()
    while len(content) <= MAX_DOCUMENT_BYTES and (more := await answer.content.read(MAX_DOCUMENT_BYTES)):
        content += more
    if len(content) > MAX_DOCUMENT_BYTES:
        raise SourceError(f"{url} has more than {MAX_DOCUMENT_BYTES} bytes")
    return bytes(content)


def _object(url: str, content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content.decode())
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise SourceError(f"{url} is not a JSON object")
    return document


def _keys(url: str, content: bytes) -> KeySet:
    try:
        return keyset.parse(content)
    except KeySetError as error:
        raise SourceError(f"{url}: {error}") from None
