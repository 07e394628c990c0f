"""Group commit: writes that arrive during a transaction go into the next one."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from a2a_grpc.database.retry import CONFLICTS, Outage, is_conflict, is_transient, pauses, reason
from a2a_grpc.database.together import TURNS
from a2a_grpc.database.transactions import Database
from a2a_grpc.store.sql.batch import Item, commit
from a2a_grpc.store.sql.keys import Numbers
from a2a_grpc.store.values import StoreLost, StoreUnavailable
from a2a_grpc.store.writes import Append, Create
from a2a_grpc.store.written import Writing, Written, refused

logger = logging.getLogger("a2a_grpc.store")

MAX_ITEMS = 512
"""Writes in one transaction."""
MAX_BYTES = 4 << 20
"""Bytes of events in one transaction, or one event."""


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
        self._queue: deque[Item] = deque()
        self._arrived = asyncio.Event()
        self._batch: Sequence[Item] = ()
        self._is_closing = False
        self.failure = ""
        """Why no write is accepted: the error of the last try, if at least two have failed, while writes wait."""
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
        item = Item(write, until, Writing(), pk, token, has_notes)
        self._queue.append(item)
        self._arrived.set()
        return item.written

    async def _flush_forever(self) -> None:
        waits, has_failed = pauses(), False
        while True:
            await self._arrived.wait()
            for _ in range(TURNS):
                await asyncio.sleep(0)
            self._batch = batch = self._next_batch()
            if not batch:
                if self._is_closing:
                    return
                self._outage.give_up(self)  # the writes that failed were refused
                has_failed, self.failure = False, ""
                self._arrived.clear()
                continue
            try:
                await self._flush(batch)
                self._outage.end(self, is_write=True)
                waits.reset()
                has_failed, self.failure = False, ""
            except StoreLost as error:
                self._outage.begin(error)
                self._refuse(batch, error)
            except Exception as error:
                if not is_transient(error):
                    logger.exception("a batch of writes could not be committed writes=%d", len(batch))
                    self._refuse(batch, error)
                    continue
                self._outage.begin(error, self)
                if self._is_closing:
                    self._refuse(batch, error)
                    return
                self._put_back(batch, error)
                # One failure may be a lock that was not to be had in time. The error itself would hold the writes.
                self.failure = reason(error) if has_failed and self._queue else ""
                has_failed = True
                await asyncio.sleep(waits.next_s())

    def _next_batch(self) -> list[Item]:
        batch: list[Item] = []
        size = 0
        while self._queue and len(batch) < MAX_ITEMS:
            size += self._queue[0].write.record.size
            if batch and size > MAX_BYTES:
                break
            batch.append(self._queue.popleft())
        return batch

    async def _flush(self, batch: Sequence[Item]) -> None:
        """Commit a batch, or each of its writes alone if the database refuses the batch.

        Raise StoreLost and transient errors. After one that is transient, the writes that are not resolved are tried
        again.
        """
        try:
            await self._commit(batch)
            return
        except Exception as error:
            for item in batch:
                item.is_repeat = True
            if _concerns_all(error) or (len(batch) == 1 and not is_conflict(error)):
                raise
        for item in batch:
            await self._flush_alone(item)

    async def _flush_alone(self, item: Item) -> None:
        for _ in range(CONFLICTS):
            try:
                await self._commit([item])
                return
            except Exception as error:
                if _concerns_all(error):
                    raise
                refused = error
                if not is_conflict(error):
                    break
        logger.error("a write was refused by the database task=%s error=%s", item.write.key.id, reason(refused))
        self._refuse([item], refused)
        del refused  # its traceback holds this frame, and the frame the write

    async def _commit(self, batch: Sequence[Item]) -> None:
        begun = time.perf_counter()
        await self._database.write(commit, batch, self._numbers.next)
        self.on_commit(len(batch), time.perf_counter() - begun)
        self._committed(batch)
        for item in batch:
            item.settle()

    def _put_back(self, batch: Sequence[Item], error: Exception) -> None:
        """Put the writes that are not resolved in front of the queue. Refuse all writes whose budget is used up."""
        now = time.monotonic()
        left = [item for item in batch if not item.written.done()]
        self._queue.extendleft(reversed([item for item in left if item.until > now]))
        self._refuse([item for item in left if item.until <= now], error)
        while self._queue and self._queue[0].until <= now:
            self._refuse([self._queue.popleft()], error)

    def _refuse(self, batch: Sequence[Item], error: BaseException) -> None:
        for item in batch:
            if not item.written.done():
                refused = error
                if is_transient(error):
                    refused = StoreUnavailable(f"the store did not answer in time: {reason(error)}")
                    refused.__cause__ = error
                item.written.set_exception(refused)

    def _ended(self, flusher: asyncio.Task[None]) -> None:
        """Refuse all writes once the background task has ended."""
        self._outage.give_up(self)
        error: BaseException = StoreUnavailable("the store is closed")
        if not self._is_closing:
            cause = None if flusher.cancelled() else flusher.exception()
            logger.error("the loop that commits writes failed error=%s", reason(cause) if cause else "canceled")
        elif not flusher.cancelled():
            flusher.exception()
        self._refuse([*self._batch, *self._queue], error)
        self._queue.clear()


def _concerns_all(error: Exception) -> bool:
    """Return True for an error that says nothing of the write during which it came."""
    return isinstance(error, StoreLost) or is_transient(error)
