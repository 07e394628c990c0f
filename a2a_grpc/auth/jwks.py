"""The keys of one issuer, read when they are needed."""

import asyncio
import logging
import time
from collections.abc import Callable

from a2a_grpc.auth.discovery import Source, SourceError
from a2a_grpc.auth.keyset import Key, KeySet
from a2a_grpc.auth.protocol import Refused
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import UnavailableError, detached
from a2a_grpc.masking import mask_url
from a2a_grpc.throttle import Throttle

logger = logging.getLogger("a2a_grpc.auth")

COLD_RETRY_S = 5.0
"""Seconds between two tries to read keys while there are none."""
REMIND_S = 60.0
"""Seconds between two log lines about keys that cannot be read."""


class KeyCache:
    """The keys of one issuer.

    Guarantees (each number is one of the source's `Pace`; those in brackets are for a URL):

    - One read at a time, for all calls that wait for it. A call that is canceled does not end the read.
    - Keys are used for `fresh_s` (5 min). A call in the last `ahead_s` (1 min) of this time starts a read and does not
      wait for it.
    - Tokens with unknown keys start a read at most once in `retry_s` (30 s), for any number of such tokens.
    - If the keys cannot be read again, the old keys are used until they are `stale_s` (1 h) old. Calls do not wait for
      the reads, which are at least `retry_s` apart. If the keys are older, calls are UNAVAILABLE.
    - While the keys cannot be read, a token with an unknown key is UNAVAILABLE, since its key may be new.

    Args:
        issuer: The issuer, for the log.
        source: The place that has the keys.
        clock: Seconds that never go back.
    """

    def __init__(self, issuer: str, source: Source, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._source = source
        self._pace = source.pace
        self._clock = clock
        self._keys = KeySet()
        self._read_at = self._tried_at = self._asked_at = float("-inf")
        self._problem: SourceError | ConfigurationError | None = None
        self._reading: asyncio.Task[None] | None = None
        self._lines = Throttle(logger, REMIND_S)

    async def open(self) -> None:
        """Read the keys. If they cannot be read now, say it in the log.

        Raises:
            ConfigurationError: The place is not that of the issuer's keys.
        """
        self._tried_at = self._clock()
        try:
            self._take(await self._source.load())
        except SourceError as error:
            self._fail(error)

    async def close(self) -> None:
        """Stop a read."""
        self._lines.close()
        if self._reading is not None:
            self._reading.cancel()
            await self._end_of_reading()

    async def find(self, key_id: str | None, algorithm: str) -> Key:
        """Return the key that verifies a token.

        Args:
            key_id: The key id that the token names, if any.
            algorithm: The algorithm of the token.

        Raises:
            Refused: The issuer has no such key.
            UnavailableError: The keys of the issuer cannot be read now, so the key may be a new one.
        """
        age = self._clock() - self._read_at
        has_waited = False
        if age >= self._pace.fresh_s - self._pace.ahead_s:
            if self._clock() - self._tried_at >= (self._pace.retry_s if self._are_usable() else COLD_RETRY_S):
                self._start_reading()
            if (age >= self._pace.fresh_s and self._problem is None) or age >= self._pace.stale_s:
                has_waited = await self._end_of_reading()
        if found := self._found(key_id, algorithm):
            return found
        if not has_waited:
            if self._clock() - self._asked_at >= self._pace.retry_s:
                self._asked_at = self._clock()
                self._start_reading()
            await self._end_of_reading()
            if found := self._found(key_id, algorithm):
                return found
        if self._problem is not None:
            raise self._unavailable()
        raise Refused("unknown key")

    def _found(self, key_id: str | None, algorithm: str) -> Key | None:
        """Return the key for a token, or None. Raise UnavailableError if there are no keys that may be used."""
        if not self._are_usable():
            raise self._unavailable()
        return self._keys.find(key_id, algorithm)

    def _are_usable(self) -> bool:
        """Return True if there are keys that are not too old."""
        return self._clock() - self._read_at < self._pace.stale_s

    def _unavailable(self) -> UnavailableError:
        return UnavailableError("the caller cannot be identified now", retry_after_s=COLD_RETRY_S)

    def _start_reading(self) -> None:
        if self._reading is None:
            self._tried_at = self._clock()
            self._reading = asyncio.create_task(self._read(), name=f"a2a-grpc keys of {self._issuer}")

    async def _end_of_reading(self) -> bool:
        """Wait for the read that runs, if one does. Return True if one did."""
        if self._reading is None:
            return False
        await asyncio.wait([self._reading])
        return True

    async def _read(self) -> None:
        try:
            keys = await self._source.load()
        except (SourceError, ConfigurationError) as error:
            self._fail(error)
        except Exception as error:
            logger.exception("keys of an issuer cannot be read because of a fault issuer=%s", self._issuer)
            self._fail(SourceError(type(error).__name__))
        else:
            self._take(keys)
        finally:
            self._reading = None

    def _fail(self, problem: SourceError | ConfigurationError) -> None:
        self._problem = detached(problem)
        facts = (self._issuer, mask_url(str(problem)))
        if self._are_usable():
            self._lines.warning(
                "again",
                "keys of an issuer cannot be read again, so the former keys are used issuer=%s error=%s",
                *facts,
            )
        else:
            self._lines.warning(
                "read", "keys of an issuer cannot be read, so its tokens cannot be verified issuer=%s error=%s", *facts
            )

    def _take(self, keys: KeySet) -> None:
        if self._problem is not None or not self._are_usable() or keys.ids != self._keys.ids:
            logger.info("keys of an issuer read issuer=%s count=%d", self._issuer, len(keys))
        self._keys, self._problem = keys, None
        self._read_at = self._clock()
