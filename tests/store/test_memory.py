"""The memory store: the contract of every store, then its own bounds."""

import asyncio
import sys
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from a2a_grpc.config import ConfigurationError
from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED, WORKING
from a2a_grpc.store import Binding, ListFilter, MemoryStore, Note, Record, StoreFull, TaskStore, open_store
from a2a_grpc.store.contract import OutboxContract, StoreContract
from a2a_grpc.store.contract.given import KEY, append, born, chunk, create, status
from a2a_grpc.store.local_notes import NOTE_BYTES
from a2a_grpc.store.memory import EVICTED_TASKS
from a2a_grpc.store.memory_log import FREED_RECORDS
from tests.covers import covers


class TestMemoryStore(StoreContract, OutboxContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[TaskStore]:
        store = MemoryStore()
        yield store
        await store.close()


async def test_a_new_task_makes_room_by_removing_the_oldest_that_ended() -> None:
    store = MemoryStore(max_tasks=3)
    for place in range(3):
        epoch = await create(store, KEY._replace(id=f"t-{place}"))
        if place != 1:
            await append(store, status(2, COMPLETED), epoch=epoch, key=KEY._replace(id=f"t-{place}"))
    await create(store, KEY._replace(id="t-3"))
    await create(store, KEY._replace(id="t-4"))
    left = await store.list(KEY.scope, ListFilter(), None, 10)
    assert sorted(listed.position.id for listed in left.tasks) == ["t-1", "t-3", "t-4"]


@covers("Q12")
async def test_a_task_that_has_not_ended_is_never_evicted() -> None:
    store = MemoryStore(max_tasks=2)
    await create(store, KEY._replace(id="t-0"))
    await create(store, KEY._replace(id="t-1"))
    with pytest.raises(StoreFull, match="limited to 2 tasks"):
        await create(store, KEY._replace(id="t-2"))
    assert await store.head(KEY._replace(id="t-0")) is not None
    assert await store.head(KEY._replace(id="t-2")) is None


@covers("G11")
async def test_the_bytes_of_all_events_are_bounded_for_new_tasks() -> None:
    store = MemoryStore(max_bytes=len(born().event) + 5_000)
    epoch = await create(store)
    await append(store, status(2), epoch=epoch)
    await append(store, chunk(3, "x" * 5_000), epoch=epoch)
    with pytest.raises(StoreFull, match="bytes"):
        await create(store, KEY._replace(id="t-2"))
    await append(store, status(4, COMPLETED), epoch=epoch)
    await create(store, KEY._replace(id="t-2"))
    assert await store.head(KEY) is None


async def test_an_evicted_task_is_freed_in_steps() -> None:
    """A million records take 50 ms to free, and the event loop stands still meanwhile."""
    store = MemoryStore(max_tasks=2)
    event, count = bytes(range(100)), 3 * FREED_RECORDS
    unused = sys.getrefcount(event)
    epoch = await create(store)
    for seq in range(2, count):
        await append(store, Record(seq, event, WORKING, 1), epoch=epoch)
    await append(store, status(count, COMPLETED), epoch=epoch)
    left = []
    for place in range(5):
        key = KEY._replace(id=f"t-{place}")
        await append(store, status(2, COMPLETED), epoch=await create(store, key), key=key)
        left.append(sys.getrefcount(event) - unused)
    assert all(before - after <= FREED_RECORDS for before, after in pairwise(left))
    assert left[1] > 0
    assert left[-1] == 0


async def test_so_many_tasks_are_evicted_for_one_task_at_most_and_the_others_for_the_next() -> None:
    store = MemoryStore(max_bytes=1 << 20)
    for place in range(2 * EVICTED_TASKS):
        key = KEY._replace(id=f"t-{place}")
        await append(store, status(2, COMPLETED), epoch=await create(store, key), key=key)
    large = KEY._replace(id="large")
    epoch = await create(store, large)
    await append(store, chunk(2, "x" * (1 << 20)), epoch=epoch, key=large)
    await create(store, KEY._replace(id="new"))
    assert (await store.list(KEY.scope, ListFilter(state=COMPLETED), None, 1)).total == EVICTED_TASKS
    with pytest.raises(StoreFull, match="bytes"):
        await create(store, KEY._replace(id="newer"))
    assert (await store.list(KEY.scope, ListFilter(state=COMPLETED), None, 1)).total == 0


async def test_a_purge_goes_on_if_tasks_are_evicted_meanwhile() -> None:
    store = MemoryStore(max_tasks=3)
    for place in range(3):
        key = KEY._replace(id=f"t-{place}")
        epoch = await create(store, key)
        for seq in range(2, 2 * FREED_RECORDS):
            await append(store, Record(seq, b"event", WORKING, 1), epoch=epoch, key=key)
        await append(store, status(2 * FREED_RECORDS, COMPLETED), epoch=epoch, key=key)
    purging = asyncio.create_task(store.purge(ended_age_s=0.0, keep=0, limit=10))
    await asyncio.sleep(0)  # the first one is removed, and its records are freed in steps
    for place in range(2):
        await create(store, KEY._replace(id=f"new-{place}"))
    assert await purging == 2
    assert (await store.list(KEY.scope, ListFilter(), None, 10)).total == 2


async def test_idempotency_keys_are_bounded_in_number() -> None:
    store = MemoryStore(max_bindings=2)
    for name in ("a", "b", "c"):
        await store.bind(KEY.scope, name, Binding(b"f"))
    assert await store.bound(KEY.scope, "a") is None
    assert await store.bound(KEY.scope, "c") is not None


async def test_notes_are_bounded_and_those_of_ended_tasks_make_room() -> None:
    store = MemoryStore(max_note_bytes=2 * (NOTE_BYTES + 100))
    ended, other = KEY, KEY._replace(id="t-2")
    for key in (ended, other):
        await store.put_note(key, Note(0, "a", b"x" * 100), epoch=await create(store, key))
    with pytest.raises(StoreFull):
        await store.put_note(other, Note(0, "a", b"x" * 101), epoch=1)
    await append(store, status(2, INPUT_REQUIRED), epoch=1)
    await append(store, status(3, COMPLETED), epoch=1)
    assert await store.get_note(ended, 0, "a") is not None
    await store.put_note(other, Note(1, "b", b"x"), epoch=1)
    assert [await store.get_note(key, 0, "a") for key in (ended, other)] == [None, b"x" * 100]
    await append(store, status(2, COMPLETED), epoch=1, key=other)
    third = KEY._replace(id="t-3")
    await store.put_note(third, Note(1, "b", b"x" * (NOTE_BYTES + 200)), epoch=await create(store, third))


@pytest.mark.parametrize("url", ["memory:", "memory://"])
def test_a_memory_store_is_opened_by_url(url: str) -> None:
    assert isinstance(open_store(url), MemoryStore)


@pytest.mark.parametrize("url", ["", "redis://localhost", "memory:here"])
def test_a_url_that_names_no_store_is_refused_by_name(url: str) -> None:
    with pytest.raises(ConfigurationError, match=f"store is '{url}'"):
        open_store(url)
