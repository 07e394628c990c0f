"""Credentials that a client sends with each call (spec §7.3)."""

import string
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from a2a_grpc.config import ConfigurationError
from a2a_grpc.regular import MAX_TOKEN_BYTES, read_regular
from a2a_grpc.wire import SecurityScheme

KEY_SIGNS = frozenset(string.ascii_lowercase + string.digits + "-_.")
RESERVED = {
    **dict.fromkeys(["content-type", "te", "user-agent"], "gRPC sets it itself"),
    **dict.fromkeys(
        ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"], "HTTP/2 does not allow it"
    ),
    "content-length": "the length of a call is not known in advance",
    "host": "HTTP/2 has the authority instead, which the setting authority (--authority) gives",
}
"""Names that metadata cannot have (RFC 9113 §8.2.2 and §8.3.1), and why, besides those that begin with `grpc-`."""

AUTHORIZATION = "authorization"

BEARER_SCHEMES = ("http_auth_security_scheme", "oauth2_security_scheme", "open_id_connect_security_scheme")
"""The kinds of security schemes that a bearer token can meet."""

Credentials: TypeAlias = Callable[[], Awaitable[tuple[str, str]]]
"""An async function without arguments that returns one entry of metadata, a pair of a name and a value. The
name is in small letters. The client calls the function before each call, so a renewed token counts at once. If the
agent answers UNAUTHENTICATED, the client calls the function once more, and repeats the call if the value is another."""

Source: TypeAlias = str | Path | Callable[[], Awaitable[str]]
"""A secret, the path of a file that holds it, or an async function that returns it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A security scheme of a card, and the card.

    Attributes:
        scheme: The scheme.
        name: The name of the scheme in the card.
        scopes: The scopes that the card's requirement asks for.
        source: The card, for errors.
        host: The host of the card; empty for a card from a file.
        any_host: True if the card may name other hosts than its own.
    """

    scheme: SecurityScheme
    name: str
    scopes: tuple[str, ...]
    source: str
    host: str
    any_host: bool


class Provider:
    """Credentials that know which security schemes they meet. Each is `Credentials`, too."""

    async def __call__(self) -> tuple[str, str]:
        """Return the entry of metadata for one call."""
        raise NotImplementedError

    def meets(self, scheme: SecurityScheme) -> bool:
        """Return True if these credentials can meet a scheme.

        Args:
            scheme: The scheme, of an agent's card.
        """
        raise NotImplementedError

    def bound(self, place: Place) -> "Provider":
        """Return these credentials with what the card says of them, such as the name of an API key.

        Args:
            place: The scheme that the credentials meet, with its card.
        """
        return self

    def refused(self, value: str) -> None:
        """Record that the agent has refused a value of these credentials.

        Args:
            value: The value of the entry that was sent.
        """


def is_bearer(scheme: SecurityScheme) -> bool:
    """Return True if a bearer token can meet a scheme."""
    kind = scheme.WhichOneof("scheme")
    return kind in BEARER_SCHEMES and (
        kind != "http_auth_security_scheme" or scheme.http_auth_security_scheme.scheme.strip().lower() == "bearer"
    )


class Bearer(Provider):
    """A bearer token from a source."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def __call__(self) -> tuple[str, str]:
        """Return the entry `authorization`."""
        return AUTHORIZATION, f"Bearer {await secret_of(self._source)}"

    def meets(self, scheme: SecurityScheme) -> bool:
        """Return True for a scheme of bearer tokens."""
        return is_bearer(scheme)


class ApiKey(Provider):
    """An API key from a source. Without a name it has the name that the card gives."""

    def __init__(self, name: str | None, source: Source) -> None:
        self._name = None if name is None else name.lower()
        self._source = source

    async def __call__(self) -> tuple[str, str]:
        """Return the entry with the key."""
        if self._name is None:
            raise ConfigurationError(
                "the API key has no name, and there is no card that gives one; use api_key('NAME', …), or --api-key "
                "NAME=KEY"
            )
        return self._name, await secret_of(self._source)

    def meets(self, scheme: SecurityScheme) -> bool:
        """Return True for an API key in a header, of this name if there is one."""
        key = scheme.api_key_security_scheme
        is_header = scheme.HasField("api_key_security_scheme") and key.location.strip().lower() == "header"
        return is_header and self._name in (None, key.name.strip().lower())

    def bound(self, place: Place) -> Provider:
        """Return the key with the name that the card gives, unless it has one."""
        name = place.scheme.api_key_security_scheme.name.strip()
        return self if self._name is not None or not name else ApiKey(name, self._source)


def bearer(token: str | Path | Callable[[], Awaitable[str]]) -> Credentials:
    """Return credentials that send `authorization: Bearer TOKEN` with each call.

    Args:
        token: The token as a text, the `Path` of a file that holds the token, or an async function that returns the
            token. The file is read, or the function called, before each call.

    Raises:
        ConfigurationError: The token cannot be read, is empty, or has characters that metadata cannot hold. The calls
            of the client raise this.
    """
    return Bearer(token)


def api_key(name: str | None, key: str | Path | Callable[[], Awaitable[str]]) -> Credentials:
    """Return credentials that send an API key with each call.

    Args:
        name: The name of the entry, as the security scheme of the agent's card gives it (spec §7.3). It is sent in
            small letters. None for the name that the card gives.
        key: The key as a text, the `Path` of a file that holds the key, or an async function that returns the key. The
            file is read, or the function called, before each call.

    Raises:
        ConfigurationError: The key cannot be read, is empty, or has characters that metadata cannot hold, or it has no
            name. The calls of the client raise this.
    """
    return ApiKey(name, key)


async def entries_of(credentials: Iterable[Credentials]) -> dict[str, str]:
    """Return the entries of metadata of several credentials, by names in small letters. The first of a name counts."""
    entries: dict[str, str] = {}
    for one in credentials:
        key, secret = await one()
        check_entry(key.lower(), secret)
        entries.setdefault(key.lower(), secret)
    return entries


def refuse(credentials: Iterable[Credentials], values: Iterable[str]) -> None:
    """Record that a server has refused a call with these values, so that they are renewed if that is possible."""
    values = list(values)
    for one in credentials:
        if isinstance(one, Provider):
            for value in values:
                one.refused(value)


async def secret_of(source: Source) -> str:
    match source:
        case str():
            secret = source
        case Path():
            secret = _read(source)
        case _:
            secret = await source()
    return sendable(secret)


def sendable(secret: str) -> str:
    """Return a secret without spaces around it. Raise ConfigurationError if metadata cannot hold it."""
    if not (secret := secret.strip()) or not secret.isascii() or not secret.isprintable():
        raise ConfigurationError("the credentials are empty, or hold characters that metadata cannot")
    return secret


def why_reserved(key: str) -> str:
    """Return why an entry of metadata cannot have a name that is well-formed. Return an empty text if it can."""
    return "names that begin with 'grpc-' are for gRPC itself" if key.startswith("grpc-") else RESERVED.get(key, "")


def check_entry(key: str, value: str | bytes) -> None:
    """Raise ConfigurationError for an entry that metadata cannot hold.

    The message does not name the value, since it may be a secret.
    """
    if not key or not all(sign in KEY_SIGNS for sign in key):
        raise ConfigurationError(f"'{key}' cannot be the name of metadata; it may have a-z, 0-9, '-', '_' and '.'")
    if reason := why_reserved(key):
        raise ConfigurationError(f"'{key}' cannot be the name of metadata; {reason}")
    if isinstance(value, bytes) != key.endswith("-bin"):
        raise ConfigurationError(f"the metadata '{key}' must be {'bytes' if key.endswith('-bin') else 'text'}")
    if isinstance(value, str) and not (value.isascii() and value.isprintable()):
        raise ConfigurationError(f"the metadata '{key}' holds characters that metadata cannot")


def _read(path: Path) -> str:
    try:
        return read_regular(path, MAX_TOKEN_BYTES).decode("ascii")
    except OSError as error:
        raise ConfigurationError(f"cannot read the credentials in {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"the credentials in {path} hold characters that metadata cannot") from None
