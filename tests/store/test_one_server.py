"""What `OneServer` adds to a store that keeps tasks, also if the outcome of a write is not known."""

import asyncio
import time
from collections.abc import Collection

import pytest

from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED, WORKING
from a2a_grpc.store import (
    Append,
    Binding,
    Create,
    InOrder,
    OneServer,
    StaleAppend,
    StoreUnavailable,
    TaskKey,
    Written,
    over,
)
from a2a_grpc.store.contract.given import (
    KEY,
    LEASE_S,
    ME,
    OTHER,
    WAITING,
    append,
    born,
    claim,
    create,
    enqueue,
    head_of,
    status,
)
from a2a_grpc.store.memory import MemoryRecords


class SlowRecords(MemoryRecords):
    """Tasks in memory whose writes wait for `go`, and may fail before or after they have happened."""

    def __init__(self) -> None:
        super().__init__(100, 1 << 20, time.monotonic)
        self.go = asyncio.Event()
        self.go.set()
        self.fails = ""
        self.open_tasks: Collection[TaskKey] = ()
        self._in_order = InOrder(self._perform)

    async def open(self) -> Collection[TaskKey]:
        return self.open_tasks

    def write(self, write: Create | Append) -> Written:
        return self._in_order.write(write)

    async def _perform(self, write: Create | Append) -> int:
        await self.go.wait()
        if self.fails == "before":
            raise StoreUnavailable("no answer")
        result = await super().write(write)
        if self.fails == "after":
            raise StoreUnavailable("no answer")
        return result


@pytest.fixture
async def records() -> SlowRecords:
    return SlowRecords()


@pytest.fixture
async def store(records: SlowRecords) -> OneServer:
    store = OneServer(records)
    await store.open()
    await store.join(ME, LEASE_S)
    return store


async def failed(store: OneServer, records: SlowRecords, write: Create | Append, fails: str) -> None:
    """Make a write of which the caller does not know whether it happened."""
    records.fails = fails
    with pytest.raises(StoreUnavailable):
        await store.write(write)
    records.fails = ""


async def test_a_write_that_happened_without_an_answer_has_all_its_changes(
    store: OneServer, records: SlowRecords
) -> None:
    epoch = await create(store, pending=WAITING._replace(turn=1))
    await enqueue(store)
    bind = ("k", Binding(b"f", KEY.id, 2))
    await failed(store, records, Append(KEY, status(2, turn=2), epoch, bind, done=2), "after")
    head = await head_of(store)
    assert (head.seq, head.turn, head.last_turn, head.epoch) == (2, 2, 2, epoch)
    assert await store.pending(KEY) == []
    assert await store.bound(KEY.scope, "k") == bind[1]
    assert await append(store, status(3, COMPLETED, turn=2), epoch=epoch) == 2


async def test_a_write_that_did_not_happen_has_none_of_its_changes(store: OneServer, records: SlowRecords) -> None:
    epoch = await create(store)
    await enqueue(store)
    await failed(store, records, Append(KEY, status(2, turn=2), epoch, ("k", Binding(b"f")), done=2), "before")
    assert (await head_of(store)).seq == 1
    assert await store.pending(KEY) == [WAITING._replace(turn=2)]
    assert await store.bound(KEY.scope, "k") is None
    assert await append(store, status(2, turn=2), epoch=epoch, bind=("k", Binding(b"f")), done=2) == 2


async def test_a_task_that_ended_without_an_answer_is_held_no_longer(store: OneServer, records: SlowRecords) -> None:
    epoch = await create(store)
    await failed(store, records, Append(KEY, status(2, COMPLETED), epoch), "after")
    assert await store.claimed_by(ME) == []
    head = await claim(store, OTHER, force=True)
    assert (head.state, head.replica, head.epoch) == (COMPLETED, "", epoch)
    with pytest.raises(StaleAppend):
        await enqueue(store)


@pytest.mark.parametrize(("fails", "held"), [("after", [KEY]), ("before", [])])
async def test_a_task_that_may_have_been_created_is_looked_for(
    store: OneServer, records: SlowRecords, fails: str, held: list[TaskKey]
) -> None:
    await failed(store, records, Create(KEY, born(), "c-1", ME), fails)
    assert await store.claimed_by(ME) == held
    assert await records.head(KEY) is None if not held else (await head_of(store)).replica == ME


async def test_a_claim_waits_for_the_write_that_is_under_way(store: OneServer, records: SlowRecords) -> None:
    epoch = await create(store)
    records.go.clear()
    written = store.write(Append(KEY, status(2), epoch))
    claiming = asyncio.create_task(claim(store, OTHER, force=True))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not claiming.done()
    records.go.set()
    head = await claiming
    assert (written.result(), head.seq, head.replica) == (1, 2, OTHER)
    late = store.write(Append(KEY, status(3), epoch))
    await over(late)
    assert isinstance(late.exception(), StaleAppend)


async def test_no_message_is_accepted_while_the_task_ends(store: OneServer, records: SlowRecords) -> None:
    epoch = await create(store)
    records.go.clear()
    written = store.write(Append(KEY, status(2, COMPLETED), epoch))
    accepting = asyncio.create_task(enqueue(store))
    await asyncio.sleep(0)
    records.go.set()
    with pytest.raises(StaleAppend):
        await accepting
    assert await written == 1


async def test_a_key_of_a_write_that_was_refused_is_free(store: OneServer) -> None:
    epoch = await create(store)
    with pytest.raises(StaleAppend):
        await append(store, status(7), epoch=epoch, bind=("k", Binding(b"f")))
    assert await store.bound(KEY.scope, "k") is None


async def test_the_tasks_of_an_earlier_process_are_lost_unless_they_wait_for_their_users() -> None:
    records = SlowRecords()
    keys = [KEY._replace(id=f"t-{place}") for place in range(3)]
    states = (WORKING, INPUT_REQUIRED, COMPLETED)
    before = OneServer(records)
    epochs = [await create(before, key) for key in keys]
    for key, state, epoch in zip(keys, states, epochs, strict=True):
        await append(before, status(2, state), epoch=epoch, key=key)
    records.open_tasks = keys
    store = OneServer(records)
    await store.open()
    await store.join(ME, LEASE_S)
    assert await store.orphaned(10) == [keys[0]]
    assert await store.count_waiting() == 1
    taken = await store.claim(keys[0], ME)
    assert taken is not None
    assert (taken.seq, taken.attempt, taken.replica) == (2, 2, ME)
    assert taken.epoch > epochs[0]
    waiting = await head_of(store, keys[1])
    assert (waiting.state, waiting.replica, waiting.last_turn) == (INPUT_REQUIRED, "", 1)
    assert (await head_of(store, keys[2])).state == COMPLETED
