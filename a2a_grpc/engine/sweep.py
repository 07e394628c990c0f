"""Removes what is past its retention."""

import asyncio

from a2a_grpc.engine.settings import EngineSettings
from a2a_grpc.engine.writer import now_us
from a2a_grpc.store import TaskStore

PAGE = 500
"""Tasks, and keys, removed at a time; between two pages the event loop goes round."""


async def sweep(store: TaskStore, settings: EngineSettings) -> int:
    """Removes ended tasks by age and number, and idempotency keys by age: how many. Never a task that runs."""
    now, removed = now_us(), 0
    while page := await store.purge(
        ended_before_us=now - int(settings.retention_s * 1e6),
        keep=settings.max_ended_tasks,
        bound_before_us=now - int(settings.idempotency_retention_s * 1e6),
        limit=PAGE,
    ):
        removed += page
        await asyncio.sleep(0)
    return removed
