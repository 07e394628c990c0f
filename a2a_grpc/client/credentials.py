"""What a client shows of itself on each call (META-5)."""

import string
from collections.abc import Awaitable, Callable
from pathlib import Path

from a2a_grpc.config import ConfigurationError

KEY_SIGNS = frozenset(string.ascii_lowercase + string.digits + "-_.")

Credentials = Callable[[], Awaitable[tuple[str, str]]]
"""Gives the metadata entry for one call, just before it is made: so that a token that was renewed counts at once."""


def bearer(token: str | Path | Callable[[], Awaitable[str]]) -> Credentials:
    """`authorization: Bearer …`: a token, a file that holds one (read for each call), or a function that gives one."""

    async def entry() -> tuple[str, str]:
        return "authorization", f"Bearer {await _secret(token)}"

    return entry


def api_key(name: str, key: str | Path | Callable[[], Awaitable[str]]) -> Credentials:
    """An API key under the name that the card's security scheme gives."""

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
    """Raises ConfigurationError for what metadata cannot hold; the value is not told, it may be a secret."""
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
