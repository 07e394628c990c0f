"""Callers with API keys."""

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from a2a_grpc.auth import keyfile
from a2a_grpc.auth.keyfile import Key
from a2a_grpc.auth.protocol import EXPIRED, CallCredentials, Refused
from a2a_grpc.auth.tables import state_of, warn_if_writable
from a2a_grpc.config import ConfigurationError
from a2a_grpc.principal import Principal
from a2a_grpc.throttle import Throttle
from a2a_grpc.watched import LOOK_EVERY_S, Watched
from a2a_grpc.wire import APIKeySecurityScheme, HTTPAuthSecurityScheme, SecurityScheme

logger = logging.getLogger("a2a_grpc.auth")

METHOD = "key"
SCHEME, BEARER_SCHEME = "api_key", "api_key_bearer"
HEADER = "x-api-key"
REMIND_S = 60.0
"""Seconds between two log lines about the same fault of the file."""

_HEADER_NAME = re.compile(r"(?!grpc-|a2a-|authorization$)[a-z0-9][a-z0-9_.-]*(?<!-bin)")


class ApiKeys:
    """An authenticator of callers with API keys, which are listed in a file.

    A caller sends its key in a header of its own, or as `authorization: Bearer KEY` if the key begins with "a2a_", as
    keys of `a2a-grpc keys new` do. Several keys of one name are one caller, so that a key can be replaced by a new one.

    Guarantees:

    - Keys are compared by digest, in a time that tells nothing of the keys in the file.
    - A change of the file counts within two seconds, without a restart: new keys are accepted, removed keys refused.
    - If the new file cannot be read or is wrong, the keys that were read before remain valid, and the log says why.

    Args:
        path: The TOML file with the keys, which `a2a-grpc keys new` writes.
        header: The name of the metadata entry that carries a key.

    Raises:
        ConfigurationError: `header` cannot be the name of such an entry.
    """

    def __init__(self, path: str | Path, header: str = HEADER) -> None:
        if not _HEADER_NAME.fullmatch(header.lower()):
            raise ConfigurationError(
                f"the header of API keys is '{header}'; it must have letters, digits, '-', '_' and '.', and must not "
                "be 'authorization', begin with 'grpc-' or 'a2a-', or end with '-bin'"
            )
        self._path = Path(path)
        self._header = header.lower()
        self._card_name = header
        self._index = _Index(())
        self._watched: Watched | None = None
        self._mode: int | None = None
        self._fresh_until = 0.0
        self._lock = asyncio.Lock()
        self._lines = Throttle(logger, REMIND_S)

    async def open(self) -> None:
        """Read the file. Raise ConfigurationError if it cannot be read or is wrong."""
        self._take(await asyncio.to_thread(self._read))
        self._fresh_until = time.monotonic() + LOOK_EVERY_S

    async def close(self) -> None:
        """Forget the keys."""
        self._lines.close()
        self._index = _Index(())
        self._watched = self._mode = None

    async def __call__(self, credentials: CallCredentials, /) -> Principal | None:
        """Return the caller that a key names, or None if the call shows no key.

        Args:
            credentials: The metadata, the certificate and the address of the call.

        Raises:
            Refused: The key is unknown or has ended, or the call shows several keys.
        """
        digest = self._shown(credentials.metadata)
        if digest is None:
            return None
        await self._refresh()
        found = self._index.find(digest)
        if found is None:
            raise Refused("unknown key")
        key, principal = found
        if key.not_after is not None and time.time() >= key.not_after:
            raise Refused("expired key", EXPIRED)
        return principal

    def schemes(self) -> Mapping[str, SecurityScheme]:
        """Return the two schemes for the agent card: a key in its own header, and a key as a bearer token."""
        header = APIKeySecurityScheme(description="An API key of this agent.", location="header", name=self._card_name)
        bearer = HTTPAuthSecurityScheme(description="An API key that begins with a2a_.", scheme="Bearer")
        return {
            SCHEME: SecurityScheme(api_key_security_scheme=header),
            BEARER_SCHEME: SecurityScheme(http_auth_security_scheme=bearer),
        }

    def challenge(self) -> str:
        """Return "Bearer", the scheme with which `authorization` carries a key."""
        return "Bearer"

    def _shown(self, metadata: Mapping[str, tuple[str | bytes, ...]]) -> bytes | None:
        """Return the digest of the key that a call shows, or None if it shows no key."""
        digests = {_digest(value) for value in metadata.get(self._header, ())}
        bearers = metadata.get("authorization", ())
        keys = [key for value in bearers if (key := _bearer_key(value))]
        if keys and len(bearers) > 1:
            raise Refused("several authorization entries")
        digests |= {_digest(key) for key in keys}
        if len(digests) > 1:
            raise Refused("several keys")
        return next(iter(digests), None)

    async def _refresh(self) -> None:
        """Read the file again if it has changed. All calls that come meanwhile wait, since their key may be revoked."""
        if time.monotonic() < self._fresh_until:
            return
        async with self._lock:
            if time.monotonic() < self._fresh_until:
                return
            try:
                changed = await asyncio.to_thread(self._read_if_changed)
            except ConfigurationError as error:
                self._lines.warning(
                    str(error), "API keys not read again, the former ones remain valid: error=%s", error
                )
            else:
                self._lines.close()  # the fault is mended, so no line counts it any more
                if changed is not None:
                    self._take(changed)
            self._fresh_until = time.monotonic() + LOOK_EVERY_S

    def _take(self, read: "_Read") -> None:
        is_changed = read.found.keys != self._index.keys
        if is_changed and self._mode is not None:
            logger.info("API keys read again file=%s count=%d", self._path, len(read.found.keys))
        if is_changed or read.mode != self._mode:
            warn_if_writable(self._path, read.mode)
        self._mode, self._index = read.mode, read.found

    def _read_if_changed(self) -> "_Read | None":
        """Return what the file has, or None if it has not changed. Raise ConfigurationError as `open` does."""
        return self._read() if self._watched is None or self._watched.has_changed() else None

    def _read(self) -> "_Read":
        if self._watched is None:
            self._watched = Watched(self._path)
        read = _Read(state_of(self._path).st_mode, _Index(tuple(keyfile.read(self._path))))
        self._watched.use()
        return read


class _Index:
    """The keys of a file, found by the digest of what a caller shows.

    The places in the index are digests with a secret of this process. So the time of a search says nothing of how much
    of a digest is right.
    """

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self.keys = keys
        self._secret = secrets.token_bytes(32)
        self._found = {self._place(digest): (digest, key, _principal(key)) for digest, key in _by_digest(keys)}

    def find(self, digest: bytes) -> tuple[Key, Principal] | None:
        """Return the key with a digest and its caller, or None."""
        found = self._found.get(self._place(digest))
        if found is None or not hmac.compare_digest(found[0], digest):
            return None
        return found[1:]

    def _place(self, digest: bytes) -> bytes:
        return hashlib.blake2b(digest, key=self._secret).digest()


class _Read(NamedTuple):
    """What was read of the file."""

    mode: int
    found: _Index


def _by_digest(keys: tuple[Key, ...]) -> list[tuple[bytes, Key]]:
    return [(bytes.fromhex(key.digest), key) for key in keys]


def _principal(key: Key) -> Principal:
    return Principal(subject=key.name, method=METHOD, tenants=key.tenants, scopes=key.scopes, expires_at=key.not_after)


def _bearer_key(value: str | bytes) -> str:
    """Return the key of an `authorization` entry, or "" if it has no key of this package."""
    if isinstance(value, bytes):
        return ""
    scheme, _, key = value.partition(" ")
    key = key.strip(" ")
    return key if scheme.lower() == "bearer" and key.startswith(keyfile.PREFIX) else ""


def _digest(value: str | bytes) -> bytes:
    shown = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    return hashlib.sha256(shown).digest()
