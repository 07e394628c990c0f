"""Remove what is past its retention."""

import asyncio

from a2a_grpc.engine.settings import EngineSettings
from a2a_grpc.store import TaskStore

PAGE = 500
"""Tasks, and keys, removed at a time; between two pages the event loop goes round."""


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
