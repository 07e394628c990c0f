"""Credentials that a client sends with each call (spec §7.3)."""

import string
from collections.abc import Awaitable, Callable
from pathlib import Path

from a2a_grpc.config import ConfigurationError

KEY_SIGNS = frozenset(string.ascii_lowercase + string.digits + "-_.")

Credentials = Callable[[], Awaitable[tuple[str, str]]]
"""An async function without arguments that returns one entry of metadata, a pair of a name and a value. The
name is in small letters. The client calls the function before each call, so a renewed token counts at once."""


def bearer(token: str | Path | Callable[[], Awaitable[str]]) -> Credentials:
    """Return credentials that send `authorization: Bearer TOKEN` with each call.

    Args:
        token: The token as a text, the `Path` of a file that holds the token, or an async function that returns the
            token. The file is read, or the function called, before each call.

    Raises:
        ConfigurationError: The token cannot be read, is empty, or has characters that metadata cannot hold. The calls
            of the client raise this.
    """

    async def entry() -> tuple[str, str]:
        return "authorization", f"Bearer {await _secret(token)}"

    return entry


def api_key(name: str, key: str | Path | Callable[[], Awaitable[str]]) -> Credentials:
    """Return credentials that send an API key with each call.

    Args:
        name: The name of the entry, as the security scheme of the agent's card gives it (spec §7.3). It is sent in
            small letters.
        key: The key as a text, the `Path` of a file that holds the key, or an async function that returns the key. The
            file is read, or the function called, before each call.

    Raises:
        ConfigurationError: The key cannot be read, is empty, or has characters that metadata cannot hold. The calls of
            the client raise this.
    """

    async def entry() -> tuple[str, str]:
        return name.lower(), await _secret(key)

    return entry


async def _secret(source: str | Path | Callable[[], Awaitable[str]]) -> str:
    match source:
        case str():
            secret = source
        case Path():
            secret = _read(source)
        case _:
            secret = await source()
    if not (secret := secret.strip()) or not secret.isascii() or not secret.isprintable():
        raise ConfigurationError("the credentials are empty, or hold characters that metadata cannot")
    return secret


def check_entry(key: str, value: str | bytes) -> None:
    """Raise ConfigurationError for an entry that metadata cannot hold.

    The message does not name the value, since it may be a secret.
    """
    if not key or not all(sign in KEY_SIGNS for sign in key):
        raise ConfigurationError(f"'{key}' cannot be the name of metadata; it may have a-z, 0-9, '-', '_' and '.'")
    if isinstance(value, bytes) != key.endswith("-bin"):
        raise ConfigurationError(f"the metadata '{key}' must be {'bytes' if key.endswith('-bin') else 'text'}")
    if isinstance(value, str) and not (value.isascii() and value.isprintable()):
        raise ConfigurationError(f"the metadata '{key}' holds characters that metadata cannot")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError as error:
        raise ConfigurationError(f"cannot read the credentials in {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"the credentials in {path} hold characters that metadata cannot") from None
