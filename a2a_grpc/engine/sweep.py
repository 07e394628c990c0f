"""Removes what is past its retention, and ends what has waited for its user beyond it."""

import asyncio
import logging

from a2a_grpc import lifecycle
from a2a_grpc.agent import Failed
from a2a_grpc.engine.resources import Resources
from a2a_grpc.engine.runs import Runs
from a2a_grpc.engine.settings import EngineSettings
from a2a_grpc.store import StaleAppend, TaskKey, TaskStore

logger = logging.getLogger("a2a_grpc.engine")

PAGE = 500
"""Tasks, and keys, removed at a time; between two pages the event loop goes round."""
DAY_S = 86_400.0


async def sweep(store: TaskStore, settings: EngineSettings) -> int:
    """Delete ended tasks by age and number, and idempotency keys by age. Return the number of both."""
    removed = 0
    while page := await store.purge(ended_age_s=settings.retention_s, keep=settings.max_ended_tasks, limit=PAGE):
        removed += page
        await asyncio.sleep(0)
    while page := await store.forget(bound_age_s=settings.idempotency_retention_s, limit=PAGE):
        removed += page
        await asyncio.sleep(0)
    return removed


class Expiry:
    """Ends tasks that have waited for their users for too long, in FAILED.

    FAILED and not CANCELED: no caller asked for the end, and clients show the reason of a failure. After that a task is
    kept as long as any other that has ended.

    Guarantees: each task is claimed before it is ended, so that one of several replicas ends it; a task whose answer
    has come goes on.
    """

    def __init__(self, resources: Resources, runs: Runs) -> None:
        self._resources = resources
        self._runs = runs

    async def sweep(self) -> list[TaskKey]:
        """End all tasks that have expired, by the store's clock. Return those that turned out to have work to do, which
        are held now. Raise StoreUnavailable."""
        limit_s = self._resources.settings.waiting_retention_s
        busy: list[TaskKey] = []
        before: list[TaskKey] = []
        while limit_s and (keys := await self._resources.log.store.waiting_longer(limit_s, PAGE)) and keys != before:
            for key in keys:
                if await self._expire(key):
                    busy.append(key)
            before = keys
        return busy

    async def _expire(self, key: TaskKey) -> bool:
        """End one task. Return True if this replica holds it now, and something is to be done for it."""
        async with self._resources.locks.holding(key):
            if (active := self._runs.get(key)) is not None:
                if active.run.is_asking and not active.inbox:
                    self._runs.stop(key, active, self._outcome)
                return False
            me = self._resources.replica.id
            head = await self._resources.log.store.claim(key, me)
            if head is None or head.state in lifecycle.TERMINAL or head.replica != me:
                return False
            if head.state not in lifecycle.INTERRUPTED or head.last_turn > head.turn or head.cancel is not None:
                return True
            try:
                await self._runs.endings.end(key, head, self._outcome)
            except StaleAppend:
                return False
        logger.info("task expired task=%s", key.id)
        return False

    @property
    def _outcome(self) -> Failed:
        limit_s = self._resources.settings.waiting_retention_s
        waited = f"{limit_s / DAY_S:g} days" if limit_s >= DAY_S else f"{limit_s:g} s"
        return Failed(f"The task waited for an answer for more than {waited}, and has expired.")
