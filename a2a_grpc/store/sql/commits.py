"""Group commit: writes that arrive during a transaction go into the next one."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from a2a_grpc.database.retry import CONFLICTS, Outage, is_conflict, is_transient, pauses, reason
from a2a_grpc.database.together import TURNS
from a2a_grpc.database.transactions import Database
from a2a_grpc.store.sql.batch import Item, commit
from a2a_grpc.store.sql.keys import Numbers
from a2a_grpc.store.values import Append, Create, StoreLost, StoreUnavailable
from a2a_grpc.store.written import Writing, Written, refused

logger = logging.getLogger("a2a_grpc.store")

MAX_ITEMS = 512
"""Writes in one transaction."""
MAX_BYTES = 4 << 20
"""Bytes of events in one transaction, or one event."""


@dataclass(slots=True, eq=False, kw_only=True)
class _Waiting(Item):
    """A write on its way, with the future of its callers."""

    size: int
    until: float
    written: Writing

    def settle(self) -> None:
        """Give the callers the outcome of the write."""
        if isinstance(self.outcome, int):
            self.written.set_result(self.outcome)
        else:
            self.written.set_exception(self.outcome or StoreUnavailable("the write was not decided"))


class Commits:
    """Guarantees:

    - Writes are decided in the order in which they came, and their futures are resolved once they are durable.
    - There is no timer. A write that comes alone is sent after a few turns of the event loop.
    - A write that is refused, by its task or by the database, fails alone.
    - During an outage each write waits for its own budget at most, then raises StoreUnavailable.
    - If the background task ends, `is_healthy` is False.
    """

    def __init__(
        self,
        database: Database,
        *,
        budget_s: float,
        outage: Outage,
        committed: Callable[[Sequence[Item]], None],
    ) -> None:
        self._database = database
        self._numbers = Numbers()
        self._budget_s = budget_s
        self._outage = outage
        self._committed = committed  # called after each commit, before the callers are notified
        self.on_commit: Callable[[int, float], None] = lambda writes, duration_s: None
        """Called after each commit with the number of its writes, and its duration in seconds."""
        self._queue: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._batch: Sequence[_Waiting] = ()
        self._is_closing = False
        self._flusher: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._flusher = asyncio.create_task(self._flush_forever(), name="a2a-grpc store commits")
        self._flusher.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Commit the writes that wait. Refuse them if the database does not accept them at once."""
        self._is_closing = True
        self._arrived.set()
        if self._flusher is not None:
            await asyncio.wait([self._flusher])

    @property
    def is_healthy(self) -> bool:
        return self._flusher is not None and not self._flusher.done()

    def write(
        self, write: Create | Append, pk: int | None = None, token: bytes = b"", *, has_notes: bool = False
    ) -> Written:
        """Begin a write to the task with the number `pk`, if the number is known. Return its future."""
        if self._is_closing or not self.is_healthy:
            return refused(StoreUnavailable("the store is closed"))
        until = time.monotonic() + self._budget_s
        waiting = _Waiting(write, pk, token, has_notes, size=write.record.size, until=until, written=Writing())
        self._queue.append(waiting)
        self._arrived.set()
        return waiting.written

    async def _flush_forever(self) -> None:
        waits = pauses()
        while True:
            await self._arrived.wait()
            for _ in range(TURNS):
                await asyncio.sleep(0)
            self._batch = batch = self._next_batch()
            if not batch:
                if self._is_closing:
                    return
                self._arrived.clear()
                continue
            try:
                failed = await self._flush(batch)
            except StoreLost as error:
                self._outage.begin(error)
                self._refuse(batch, error)
                continue
            except Exception as error:
                logger.exception("a batch of writes could not be committed writes=%d", len(batch))
                self._refuse(batch, error)
                continue
            if failed is None:
                waits.reset()
                continue
            self._outage.begin(failed)
            if self._is_closing:
                self._refuse(batch, failed)
                return
            self._put_back(batch, failed)
            await asyncio.sleep(waits.next_s())

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._queue and len(batch) < MAX_ITEMS and (not batch or size + self._queue[0].size <= MAX_BYTES):
            waiting = self._queue.popleft()
            size += waiting.size
            batch.append(waiting)
        return batch

    async def _flush(self, batch: Sequence[_Waiting]) -> Exception | None:
        """Commit a batch, or each of its writes alone if the database refuses the batch.

        Return a transient error, after which the writes that are not resolved are tried again; else None.
        """
        try:
            await self._commit(batch)
        except StoreLost:
            raise
        except Exception as error:
            for waiting in batch:
                waiting.is_repeat = True
            if is_transient(error):
                return error
            if len(batch) == 1 and not is_conflict(error):
                raise
        else:
            self._outage.end()
            return None
        for waiting in batch:
            if (failed := await self._flush_alone(waiting)) is not None:
                return failed
        return None

    async def _flush_alone(self, waiting: _Waiting) -> Exception | None:
        for _ in range(CONFLICTS):
            try:
                await self._commit([waiting])
                return None
            except StoreLost:
                raise
            except Exception as error:
                if is_transient(error):
                    return error
                refused = error
                if not is_conflict(error):
                    break
        logger.error("a write was refused by the database task=%s error=%s", waiting.write.key.id, reason(refused))
        self._refuse([waiting], refused)
        del refused  # its traceback holds this frame, and the frame the write
        return None

    async def _commit(self, batch: Sequence[_Waiting]) -> None:
        begun = time.perf_counter()
        await self._database.write(commit, batch, self._numbers.next)
        self.on_commit(len(batch), time.perf_counter() - begun)
        self._committed(batch)
        for waiting in batch:
            waiting.settle()

    def _put_back(self, batch: Sequence[_Waiting], error: Exception) -> None:
        """Put the writes that are not resolved in front of the queue. Refuse all writes whose budget is used up."""
        now = time.monotonic()
        left = [waiting for waiting in batch if not waiting.written.done()]
        self._queue.extendleft(reversed([waiting for waiting in left if waiting.until > now]))
        self._refuse([waiting for waiting in left if waiting.until <= now], error)
        while self._queue and self._queue[0].until <= now:
            self._refuse([self._queue.popleft()], error)

    def _refuse(self, batch: Sequence[_Waiting], error: BaseException) -> None:
        for waiting in batch:
            if not waiting.written.done():
                refused = error
                if is_transient(error):
                    refused = StoreUnavailable(f"the store did not answer in time: {reason(error)}")
                    refused.__cause__ = error
                waiting.written.set_exception(refused)

    def _ended(self, flusher: asyncio.Task[None]) -> None:
        """Refuse all writes once the background task has ended."""
        error: BaseException = StoreUnavailable("the store is closed")
        if not self._is_closing:
            cause = None if flusher.cancelled() else flusher.exception()
            logger.error("the loop that commits writes failed error=%s", reason(cause) if cause else "canceled")
        elif not flusher.cancelled():
            flusher.exception()
        self._refuse([*self._batch, *self._queue], error)
        self._queue.clear()
