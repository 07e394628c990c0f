"""The newest records of a task, which its followers share: what is read, when, how often, and what is kept."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from a2a_grpc.bus import LocalBus
from a2a_grpc.bus.protocol import Key
from a2a_grpc.errors import TaskNotFoundError, UnavailableError
from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED, WORKING
from a2a_grpc.log import Follower, Log
from a2a_grpc.log.reading import READ_BATCH
from a2a_grpc.log.tail import OVERHEAD, PATIENT_BYTES, TAIL_BYTES
from a2a_grpc.store import (
    Append,
    Create,
    Head,
    MemoryStore,
    Record,
    StaleAppend,
    StoreUnavailable,
    TaskKey,
    Written,
    refused,
)
from a2a_grpc.store.contract.given import KEY, born, chunk, create, status
from a2a_grpc.store.sql import SqlStore
from tests.covers import covers
from tests.harness import eventually
from tests.store.test_sql_cost import sending

FOLLOWERS = 50


class Store(MemoryStore):
    """Counts the reads of records. Reads wait while `gate` is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.refusal: Exception | None = None

    async def read(self, key: TaskKey, after: int, limit: int) -> list[Record] | None:
        self.reads.append(after)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return await super().read(key, after, limit)

    def write(self, write: Create | Append) -> Written:
        return super().write(write) if self.refusal is None else refused(self.refusal)


class TwinBus(LocalBus):
    """The bus of one of two processes."""

    def __init__(self) -> None:
        super().__init__()
        self.twin: TwinBus | None = None

    def wake(self, key: Key) -> None:
        super().wake(key)
        if self.twin is not None and (topic := self.twin._topics.get(key)):
            topic.invalidate()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def log(store: Store) -> Log:
    """The log of a process, with a task in it."""
    await create(store)
    return Log(store, LocalBus())


@pytest.fixture
async def twins(store: Store) -> tuple[Log, Log]:
    """The logs of two processes with one store, with a task in it."""
    buses = TwinBus(), TwinBus()
    buses[0].twin, buses[1].twin = buses[1], buses[0]
    await create(store)
    return Log(store, buses[0]), Log(store, buses[1])


async def write(log: Log, *records: Record) -> None:
    for record in records:
        await log.write(Append(KEY, record, 1))


def statuses(first: int, last: int) -> list[Record]:
    return [status(seq) for seq in range(first, last + 1)]


async def taken(follower: Follower, count: int) -> list[Record]:
    async with asyncio.timeout(10):
        return [await anext(follower) for _ in range(count)]


async def rest(follower: Follower) -> list[Record]:
    async with asyncio.timeout(10):
        return [record async for record in follower]


def text(seq: int, size: int) -> Record:
    return chunk(seq, "x" * size)


# -- one read for all


@covers("G3")
async def test_fifty_followers_of_a_task_of_another_process_cause_one_query_a_wake(tmp_path: Path) -> None:
    buses = TwinBus(), TwinBus()
    buses[0].twin = buses[1]
    here, there = [Log(SqlStore(f"sqlite:///{tmp_path}/tasks.db"), bus) for bus in buses]
    await here.store.open()
    await there.store.open()
    await create(here.store)
    with ExitStack() as stack:
        followers = [stack.enter_context(there.follow(KEY, 1, born().state)) for _ in range(FOLLOWERS)]
        following = [asyncio.create_task(rest(follower)) for follower in followers]
        with sending() as sent:
            for seq in range(2, 23):
                record = status(seq, COMPLETED if seq == 22 else WORKING)
                await here.write(Append(KEY, record, 1))
                await eventually(lambda seq=seq: seen(followers, seq))
        told = await asyncio.gather(*following)
    assert told == [[*statuses(2, 21), status(22, COMPLETED)]] * FOLLOWERS
    reads = [statement for statement in sent.statements if "a2a_record.event" in statement]
    assert 21 <= len(reads) <= 22, reads  # the first one finds nothing
    for log in (here, there):
        await log.store.close()


def seen(followers: Sequence[Follower], seq: int) -> None:
    assert {follower._seq for follower in followers} == {seq}


async def test_followers_share_the_read_that_is_under_way_and_a_wake_meanwhile_causes_one_more(
    store: Store, twins: tuple[Log, Log]
) -> None:
    here, there = twins
    with there.follow(KEY, 1) as one, there.follow(KEY, 1) as other:
        store.gate.clear()
        waiting = [asyncio.create_task(taken(follower, 2)) for follower in (one, other)]
        await eventually(lambda: reads(store, 1))
        await write(here, status(2))
        await write(here, status(3))
        store.gate.set()
        assert await asyncio.gather(*waiting) == [statuses(2, 3)] * 2
        waiting = [asyncio.create_task(taken(follower, 1)) for follower in (one, other)]
        await eventually(lambda: reads(store, 2))
        await write(here, status(4))
        assert await asyncio.gather(*waiting) == [[status(4)]] * 2
    assert store.reads == [1, 3, 3]


def reads(store: Store, count: int) -> None:
    assert len(store.reads) == count


async def test_a_follower_that_goes_away_during_a_shared_read_leaves_it_to_the_others(store: Store, log: Log) -> None:
    await write(log, status(2))
    with log.follow(KEY, 1) as other:
        with log.follow(KEY, 1) as one:
            store.gate.clear()
            leaving, staying = asyncio.create_task(taken(one, 1)), asyncio.create_task(taken(other, 1))
            await eventually(lambda: reads(store, 1))
            leaving.cancel()
            with suppress(asyncio.CancelledError):
                await leaving
        await eventually(lambda: reads(store, 2))
        store.gate.set()
        assert await staying == [status(2)]
    assert store.reads == [1, 1]


async def test_a_read_that_fails_fails_for_all_who_wait_for_it_and_the_next_one_reads_again(
    store: Store, log: Log
) -> None:
    with log.follow(KEY, 1) as one, log.follow(KEY, 1) as other:
        store.gate.clear()
        store.error = StoreUnavailable("away")
        waiting = [asyncio.create_task(taken(follower, 1)) for follower in (one, other)]
        await eventually(lambda: reads(store, 1))
        store.gate.set()
        assert [type(error) for error in await asyncio.gather(*waiting, return_exceptions=True)] == [
            StoreUnavailable
        ] * 2
        assert store.reads == [1]
        store.error = None
        await write(log, status(2))
        assert [await taken(follower, 1) for follower in (one, other)] == [[status(2)]] * 2


async def test_a_follower_of_an_unknown_task_is_told_so(log: Log) -> None:
    for after in (0, 7):
        with log.follow(KEY._replace(id="unknown"), after) as follower:
            with pytest.raises(TaskNotFoundError):
                await follower.batch()
    assert len(log.bus) == 0


# -- what this process has written


async def test_what_this_process_appends_to_a_new_task_is_never_read(store: Store) -> None:
    log = Log(store, LocalBus())
    with log.follow(KEY, 1, born().state, is_new=True) as one, log.follow(KEY, 1) as other:
        await log.write(Create(KEY, born(), "c-1", "me"))
        await write(log, *statuses(2, 9))
        assert await taken(one, 8) == await taken(other, 8) == statuses(2, 9)
        late = asyncio.create_task(rest(one))
        await write(log, status(10, COMPLETED))
        assert await late == await rest(other) == [status(10, COMPLETED)]
    assert store.reads == []


async def test_a_record_of_another_process_that_no_wake_told_of_is_found_at_the_next_record_of_this_one(
    store: Store, log: Log
) -> None:
    with log.follow(KEY, 1, born().state, is_new=True) as follower:
        await write(log, status(2))
        await store.write(Append(KEY, status(3), 1))
        await write(log, status(4))
        assert await taken(follower, 3) == statuses(2, 4)
    assert store.reads == [2]


async def test_a_poll_finds_what_no_wake_told_of_and_disturbs_no_follower_otherwise(store: Store, log: Log) -> None:
    with log.follow(KEY, 1, born().state, is_new=True) as follower:
        waiting = asyncio.create_task(taken(follower, 1))
        await asyncio.sleep(0)
        await log.poll()
        await asyncio.sleep(0)
        assert store.reads == []
        await store.write(Append(KEY, status(2), 1))
        await asyncio.sleep(0)
        assert store.reads == []
        await log.poll()
        assert await waiting == [status(2)]
        assert store.reads == [1]
        waiting = asyncio.create_task(taken(follower, 1))
        await store.write(Append(KEY, status(3), 1))
        await log.head(KEY)
        assert await waiting == [status(3)], "whoever reads the row finds it, too"


async def test_what_a_follower_that_is_behind_finds_in_the_store_wakes_those_that_wait(log: Log) -> None:
    with log.follow(KEY, 1, born().state, is_new=True) as behind, log.follow(KEY, 1, born().state) as waits:
        big = [text(seq, TAIL_BYTES // 2) for seq in range(2, 6)]
        await write(log, *big)
        assert await taken(waits, 4) == big
        waiting = asyncio.create_task(waits.batch())
        await asyncio.sleep(0)
        await log.store.write(Append(KEY, status(6), 1))
        assert [record.seq for record in await behind.batch()] == list(range(2, 7))
        assert await waiting == [status(6)]


async def test_a_write_that_fails_has_followers_look(store: Store, log: Log) -> None:
    for error in (StaleAppend(), StoreUnavailable("nobody knows")):
        with log.follow(KEY, 1, born().state, is_new=True) as follower:
            waiting = asyncio.create_task(follower.batch())
            await asyncio.sleep(0)
            store.reads.clear()
            store.refusal = error
            with suppress(StaleAppend, StoreUnavailable):
                await write(log, status(2))
            store.refusal = None
            await eventually(lambda: reads(store, 1))
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting


# -- what is kept


@covers("G3", "G11")
@pytest.mark.parametrize("size", [20, 3000, 400_000])
async def test_a_follower_that_stalls_gets_the_rest_from_the_store_and_the_tail_stays_small(
    store: Store, log: Log, size: int
) -> None:
    count = max(10, 3 * TAIL_BYTES // (size + OVERHEAD))
    with log.follow(KEY, 1, born().state, is_new=True) as stalled, log.follow(KEY, 1, born().state) as quick:
        tail = log._tails[KEY]
        for seq in range(2, count + 2):
            await write(log, text(seq, size))
            assert await taken(quick, 1) == [text(seq, size)]
            assert tail.size <= max(TAIL_BYTES, 2 * (size + OVERHEAD))
            assert tail.size >= min(size, TAIL_BYTES // 4)
        assert store.reads == []
        await write(log, status(count + 2, COMPLETED))
        records = await rest(stalled)
        assert [record.seq for record in records] == list(range(2, count + 3))
        assert store.reads


@covers("G11")
async def test_records_that_all_followers_have_taken_are_not_kept_and_a_tail_ends_with_its_last_follower(
    log: Log,
) -> None:
    with log.follow(KEY, 1, born().state, is_new=True) as one:
        tail = log._tails[KEY]
        with log.follow(KEY, 1) as other:
            await write(log, *statuses(2, 5))
            waiting = asyncio.create_task(taken(one, 5))
            await asyncio.sleep(0)
            assert len(tail.after(1) or ()) == 4, "the other one has not taken them"
            also = asyncio.create_task(taken(other, 5))
            await asyncio.sleep(0)
            assert (tail.size, tail.after(5), tail.after(4)) == (0, [], None)
            await write(log, status(6))
            assert (await waiting)[-1] == (await also)[-1] == status(6)
            assert tail.size > 0
            later = asyncio.create_task(one.batch())
            await asyncio.sleep(0)
        assert tail.size == 0, "only one that had not taken the record has left"
        later.cancel()
        with suppress(asyncio.CancelledError):
            await later
    assert (log._tails, len(log.bus)) == ({}, 0)


async def test_a_follower_that_had_all_records_and_leaves_takes_none_from_the_others(log: Log) -> None:
    with log.follow(KEY, 1, born().state, is_new=True):
        with log.follow(KEY, 1) as leaves, log.follow(KEY, 1) as stays:
            await write(log, *statuses(2, 5))
            for follower in (leaves, stays):
                assert await taken(follower, 4) == statuses(2, 5)
            waiting = [asyncio.create_task(follower.batch()) for follower in (leaves, stays)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            with suppress(asyncio.CancelledError):
                await waiting[0]
            leaves.__exit__(None, None, None)
            assert log._tails[KEY].after(1) == statuses(2, 5)
            waiting[1].cancel()
            with suppress(asyncio.CancelledError):
                await waiting[1]


async def test_a_follower_that_is_far_behind_does_not_hold_up_one_that_begins_at_the_end(
    store: Store, log: Log
) -> None:
    await write(log, *statuses(2, 2000))
    with log.follow(KEY, 0) as far:
        first = await far.batch()
        assert 1 <= len(first) <= READ_BATCH
        with log.follow(KEY, 1999) as near:
            before = len(store.reads)
            assert await taken(near, 1) == [status(2000)]
            assert store.reads[before:] == [1999]
        assert [record.seq for record in await taken(far, 2000 - len(first))] == list(range(len(first) + 1, 2001))


async def test_a_follower_that_begins_after_the_newest_known_record_finds_what_no_wake_told_of(
    store: Store, log: Log
) -> None:
    with log.follow(KEY, 1, born().state, is_new=True) as behind:
        for record in statuses(2, 3):
            await store.write(Append(KEY, record, 1))
        with log.follow(KEY, 2, WORKING) as ahead:
            assert await taken(ahead, 1) == [status(3)]
        assert await taken(behind, 2) == statuses(2, 3)


async def test_a_read_that_began_before_a_follower_skipped_records_does_not_count_for_it(
    store: Store, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, gate = store.read, asyncio.Event()

    async def read_and_wait(key: TaskKey, after: int, limit: int) -> list[Record] | None:
        found = await read(key, after, limit)
        await gate.wait()
        return found

    monkeypatch.setattr(store, "read", read_and_wait)
    last = READ_BATCH + 10
    with log.follow(KEY, 1, born().state) as behind:
        reading = asyncio.create_task(behind.batch())
        await eventually(lambda: _assert_equal(store.reads, [1]))
        for record in statuses(2, last):
            await store.write(Append(KEY, record, 1))
        with log.follow(KEY, last - 1, WORKING) as ahead:
            following = asyncio.create_task(taken(ahead, 1))
            await asyncio.sleep(0)
            gate.set()
            assert await following == [status(last)]
        first = await reading
        assert [*first, *await taken(behind, last - 1 - len(first))] == statuses(2, last)


def _assert_equal(found: object, expected: object) -> None:
    assert found == expected


async def test_a_task_that_ends_between_a_read_and_the_look_at_its_state_is_read_again(
    store: Store, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = store.head

    async def end_and_look(key: TaskKey) -> Head | None:
        monkeypatch.setattr(store, "head", look)
        await store.write(Append(KEY, status(2, COMPLETED), 1))
        return await look(key)

    monkeypatch.setattr(store, "head", end_and_look)
    with log.follow(KEY, 1) as follower:
        assert await rest(follower) == [status(2, COMPLETED)]


async def test_a_log_that_takes_several_reads_is_read_to_its_end(store: Store, log: Log) -> None:
    await write(log, *statuses(2, 600))
    with log.follow(KEY, 0) as follower:
        assert [record.seq for record in await taken(follower, 600)] == list(range(1, 601))
    assert store.reads == [0, 16, 272, 528]


async def test_a_cursor_in_the_middle_gets_every_record_whatever_the_others_have_taken(log: Log) -> None:
    await write(log, *statuses(2, 600))
    with ExitStack() as stack:
        followers = [(after, stack.enter_context(log.follow(KEY, after))) for after in (0, 300, 17, 599, 600, 599, 2)]
        following = [asyncio.create_task(rest(follower)) for _, follower in followers]
        await asyncio.sleep(0)
        await write(log, *statuses(601, 1300), status(1301, COMPLETED))
        for (after, _), found in zip(followers, await asyncio.gather(*following), strict=True):
            assert [record.seq for record in found] == list(range(after + 1, 1302))


# -- the end


@pytest.mark.parametrize("after", [1, 2, 3, 9])
async def test_a_follower_of_an_ended_task_ends(log: Log, after: int) -> None:
    await write(log, status(2), status(3, COMPLETED))
    with log.follow(KEY, after) as follower:
        assert [record.seq for record in await rest(follower)] == list(range(after + 1, 4))


async def test_a_closed_log_gives_what_it_has_and_then_ends(log: Log) -> None:
    with log.follow(KEY, 1, born().state, is_new=True) as one, log.follow(KEY, 1, folds=True) as folding:
        await write(log, status(2))
        assert await taken(one, 1) == [status(2)]
        waiting = [asyncio.create_task(follower.batch()) for follower in (one, folding)]
        await asyncio.sleep(0)
        log.close()
        with pytest.raises(UnavailableError):
            await waiting[0]
        assert await waiting[1] == [status(2)]
        with pytest.raises(UnavailableError):
            await folding.batch()


async def test_a_closed_log_gives_a_follower_that_folds_what_it_has_even_if_nobody_waits_for_more(log: Log) -> None:
    with log.follow(KEY, 1, born().state, is_new=True) as plain, log.follow(KEY, 1, folds=True) as folding:
        await write(log, status(2))
        log.close()
        assert await taken(plain, 1) == [status(2)]
        with pytest.raises(UnavailableError):
            await plain.batch()  # which has read the store, so that the tail is current
        async with asyncio.timeout(10):
            assert await folding.batch() == [status(2)]
            with pytest.raises(UnavailableError):
                await folding.batch()


# -- a follower that folds


async def test_a_follower_that_folds_is_woken_once_the_task_settles(log: Log) -> None:
    with log.follow(KEY, 1, born().state, is_new=True, folds=True) as follower:
        waiting = asyncio.create_task(follower.batch())
        await asyncio.sleep(0)
        for seq in range(2, 20):
            await write(log, status(seq))
            await asyncio.sleep(0)
        assert not waiting.done()
        await write(log, status(20, INPUT_REQUIRED))
        await write(log, status(21, turn=2))  # the answer has come before the follower goes on
        assert await waiting == [*statuses(2, 19), status(20, INPUT_REQUIRED), status(21, turn=2)]
        waiting = asyncio.create_task(follower.batch())
        await asyncio.sleep(0)
        await write(log, status(22, COMPLETED, turn=2))
        assert await waiting == [status(22, COMPLETED, turn=2)]


async def test_a_follower_that_folds_takes_what_has_become_much(store: Store, log: Log) -> None:
    with log.follow(KEY, 1, born().state, is_new=True, folds=True) as follower:
        waiting = asyncio.create_task(follower.batch())
        await asyncio.sleep(0)
        seq = 1
        while log._tails[KEY].size <= PATIENT_BYTES:
            assert not waiting.done()
            await write(log, text(seq := seq + 1, 5000))
        assert [record.seq for record in await waiting] == list(range(2, seq + 1))
    assert store.reads == []


async def test_a_follower_that_folds_gets_parsed_events_and_others_cost_no_memory_for_them(log: Log) -> None:
    record = status(2, INPUT_REQUIRED)
    event, _ = record.unpack()
    with log.follow(KEY, 1, born().state, is_new=True) as plain:
        log.write(Append(KEY, record, 1), event)
        assert (batch := await plain.batch(), plain.events(batch)) == ([record], [None])
        with log.follow(KEY, 2, INPUT_REQUIRED, folds=True) as follower:
            later = status(3, COMPLETED)
            log.write(Append(KEY, later, 1), event)
            assert await follower.batch() == [later]
            assert follower.events([record, later]) == [None, event]


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    yield
    await asyncio.sleep(0)
    left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("a2a-grpc:")]
    assert left == []
