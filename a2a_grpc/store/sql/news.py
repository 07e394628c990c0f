"""Asking whether logs have grown, for all who want to know at the same time in one query."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from a2a_grpc.store.protocol import StoreUnavailable


class News:
    """Guarantees: an answer is as new as the question: the query begins after it was asked. What is asked while a query
    is under way goes into the next one; there is no timer."""

    def __init__(self, ask: Callable[[Sequence[int]], Awaitable[dict[int, int]]]) -> None:
        self._ask = ask
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def seq(self, pk: int) -> int:
        """The last seq of the task with this number; 0 if it is gone. Raises StoreUnavailable."""
        waiting = self._waiting.get(pk)
        if waiting is None:
            waiting = self._waiting[pk] = asyncio.get_running_loop().create_future()
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask_on(), name="a2a-grpc store news")
        return await asyncio.shield(waiting)

    async def _ask_on(self) -> None:
        asked: dict[int, asyncio.Future[int]] = {}
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, {}
                try:
                    seqs = await self._ask(list(asked))
                except Exception as error:
                    self._fail(asked, error)
                    continue
                for pk, waiting in asked.items():
                    waiting.set_result(seqs.get(pk, 0))
        finally:
            # Only if this task is canceled anybody is left.
            self._fail({**asked, **self._waiting}, StoreUnavailable("the store is closed"))

    def _fail(self, asked: dict[int, asyncio.Future[int]], error: Exception) -> None:
        for waiting in asked.values():
            if not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # nobody may be left to look at it

    async def stop(self) -> None:
        if self._asking is not None and not self._asking.done():
            self._asking.cancel()
            await asyncio.wait([self._asking])
