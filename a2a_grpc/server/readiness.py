"""Find out whether a server accepts calls, and whether its store answers."""

import asyncio
import logging
import time
from collections.abc import Callable

from a2a_grpc.deadlines import time_limit
from a2a_grpc.store import StoreUnavailable, TaskStore

logger = logging.getLogger("a2a_grpc.server")

STORE_ANSWERS_WITHIN_S = 1.0
"""Seconds that the store has to answer. If it takes longer, the server is not ready."""
ANSWER_KEEPS_S = 1.0
"""Seconds for which an answer of the store is used, before the store is asked again."""


class Readiness:
    """The answer for `/readyz` and for the health service.

    Guarantees:

    - The store is asked at most once in `ANSWER_KEEPS_S`. All callers that wait share one question.
    - A server that stops accepting calls is not ready from then on, even if the store answers.
    """

    def __init__(self, store: TaskStore, takes_work: Callable[[], bool]) -> None:
        self._store = store
        self._takes_work = takes_work
        self._answers = False
        self._keeps_until = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def check(self) -> bool:
        """Return True if the server takes work and its store answers."""
        if not self._takes_work():
            return False
        if time.monotonic() >= self._keeps_until:
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask(), name="a2a-grpc:ready")
            await asyncio.wait([self._asking])  # `await` would cancel it for all callers if one is canceled
        return self._answers and self._takes_work()

    async def stop(self) -> None:
        """End a question that is being asked."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _ask(self) -> None:
        try:
            async with time_limit(STORE_ANSWERS_WITHIN_S):
                await self._store.ping()
            self._answers = True
        except (TimeoutError, StoreUnavailable):
            self._answers = False
        except Exception:
            logger.exception("readiness check of the store failed")
            self._answers = False
        finally:
            self._keeps_until = time.monotonic() + ANSWER_KEEPS_S
            self._asking = None
