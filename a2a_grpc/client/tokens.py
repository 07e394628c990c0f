"""Access tokens that end: a token is renewed before its end, once for all calls that need it."""

import asyncio
import base64
import binascii
import json
import logging
import time
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from a2a_grpc.client.credentials import AUTHORIZATION, Provider, is_bearer
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError
from a2a_grpc.wire import SecurityScheme

logger = logging.getLogger("a2a_grpc.client")

AHEAD_S = 60.0
"""Seconds before its end at which a token is renewed; half of its life for a token that lives less than twice that."""

AGAIN_S = 5.0
"""Seconds until the next try to renew a token that is still valid, after a try that failed."""

REFUSED_AGAIN_S = 1.0
"""The least time in seconds between two renewals because the agent refuses the token."""

MAX_LIFE_S = 10 * 366 * 86_400.0
"""The longest life of a token that counts, since a peer may send any number."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token.

    Attributes:
        value: The token itself.
        expires_at: The Unix time in seconds at which the token ends; None if that is not known.
        refresh: The refresh token that came with it; empty if there is none.
    """

    value: str = field(repr=False)
    expires_at: float | None = None
    refresh: str = field(default="", repr=False)


def token_of(value: str, *, expires_in: object = None, expires_at: float | None = None, refresh: str = "") -> Token:
    """Return a token that was just received. If nothing says when it ends, the claim `exp` of a JWT says so."""
    now = time.time()
    if expires_at is None and (life_s := _number(expires_in)) is not None:
        expires_at = now + life_s
    if expires_at is None:
        expires_at = expiry_of(value)
    return Token(value, None if expires_at is None else min(expires_at, now + MAX_LIFE_S), refresh)


def expiry_of(value: str) -> float | None:
    """Return the claim `exp` of a JWT as a Unix time; None for any other token. The signature is not checked."""
    parts = value.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return _number(claims.get("exp")) if isinstance(claims, dict) else None


def _number(value: Any) -> float | None:
    """Return a number that is not negative; some servers send it as a text. Return None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < float("inf") else None


class Renewed:
    """A token that is obtained when it is needed.

    Guarantees:

    - It is renewed `AHEAD_S` before its end, and after `refused`. A token with no known end is kept until `refused`.
    - Calls of one event loop that need a token at the same time cause one request, which all of them wait for. If it
      fails, all of them get its error.
    - If a token cannot be renewed before its end, it is used until its end.
    - An agent that refuses every token causes one renewal in `REFUSED_AGAIN_S`.
    - If the Python task that makes the request is canceled, the next one that waits makes it.

    Args:
        obtain: An async function that returns a new token. It gets the last one, or None.
        token: The token to begin with.
    """

    def __init__(self, obtain: Callable[[Token | None], Awaitable[Token]], token: Token | None = None) -> None:
        self._obtain = obtain
        self._token = token
        self._renew_at = _renew_at(token)
        self._is_refused = False
        self._refused_at = float("-inf")
        self._tries = 0
        self._failure: tuple[type[Exception], str] | None = None
        # An object may serve the clients of several event loops, and a lock belongs to one loop.
        self._locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = weakref.WeakKeyDictionary()

    async def value(self) -> str:
        """Return a token that is valid as far as is known. Raise what `obtain` raises."""
        if (token := self._fresh()) is not None:
            return token.value
        tries = self._tries
        async with self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            if (token := self._fresh()) is not None:
                return token.value
            if self._tries != tries and self._failure is not None:  # of the request that this call has waited for
                kind, text = self._failure
                raise kind(text)
            return (await self._renew()).value

    def refused(self, value: str) -> None:
        """Record that the agent has refused a token. It is renewed, unless a newer one is here already."""
        now = time.monotonic()
        if self._token is not None and self._token.value == value and now - self._refused_at > REFUSED_AGAIN_S:
            self._is_refused, self._refused_at = True, now

    def _fresh(self) -> Token | None:
        return self._token if not self._is_refused and time.time() < self._renew_at else None

    async def _renew(self) -> Token:
        old, self._failure = self._token, None
        try:
            token = await self._obtain(old)
        except (A2AError, ConfigurationError) as error:
            self._tries += 1
            if old is not None and not self._is_refused and time.time() < (old.expires_at or 0.0):
                logger.warning("token not renewed, and used until its end problem=%s", error)
                self._renew_at = min(time.time() + AGAIN_S, old.expires_at or 0.0)
                return old
            self._failure = type(error), str(error)
            raise
        self._tries += 1
        self._token, self._is_refused, self._renew_at = token, False, _renew_at(token)
        return token


def _renew_at(token: Token | None) -> float:
    """Return the Unix time from which a token is renewed."""
    if token is None:
        return 0.0
    if token.expires_at is None:
        return float("inf")
    left_s = token.expires_at - time.time()
    return token.expires_at - min(AHEAD_S, max(left_s, 0.0) / 2)


class RenewedBearer(Provider):
    """Sends a bearer token that a subclass obtains.

    Args:
        token: The token to begin with.
    """

    def __init__(self, token: Token | None = None) -> None:
        self._token = Renewed(self._obtain, token)

    async def __call__(self) -> tuple[str, str]:
        """Return the entry `authorization`."""
        return AUTHORIZATION, f"Bearer {await self._token.value()}"

    def meets(self, scheme: SecurityScheme) -> bool:
        """Return True for a scheme of bearer tokens."""
        return is_bearer(scheme)

    def refused(self, value: str) -> None:
        """Have another token obtained, if the value is that of the last one."""
        self._token.refused(value.removeprefix("Bearer "))

    async def _obtain(self, old: Token | None) -> Token:
        """Return a new token. The old one is None at first."""
        raise NotImplementedError
