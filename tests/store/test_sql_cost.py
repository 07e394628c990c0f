"""What an event costs, counted: bytes that go to the database, and what comes back."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from a2a_grpc.bus import LocalBus
from a2a_grpc.bus.protocol import Key
from a2a_grpc.lifecycle import COMPLETED, WORKING
from a2a_grpc.log import Log
from a2a_grpc.store import Append, ListFilter, Snapshot, TaskKey, TaskView
from a2a_grpc.store.contract.given import KEY, append, born, chunk, create, filled, head_of, status
from a2a_grpc.store.sql import SqlStore, sqlite
from a2a_grpc.store.sql.sqlite import ROWS_TOGETHER_SINCE
from a2a_grpc.wire import Task
from tests.covers import covers
from tests.harness import eventually, scripted, scripted_agent, serving


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    store = SqlStore(f"sqlite:///{tmp_path}/tasks.db")
    await store.open()
    yield store
    await store.close()


class Sent:
    """What went to the database."""

    def __init__(self) -> None:
        self.size = 0
        self.statements: list[str] = []


@contextmanager
def sending() -> Iterator[Sent]:
    sent = Sent()

    def count(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        sent.statements.append(statement)
        sent.size += sum(_size(value) for row in (parameters if many else [parameters]) for value in _values(row))

    event.listen(Engine, "before_cursor_execute", count)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", count)


def _values(row: Any) -> list[Any]:
    return list(row.values()) if isinstance(row, dict) else list(row)


def _size(value: Any) -> int:
    return len(value) if isinstance(value, (bytes, str)) else 8


async def _append_chunks(store: SqlStore, epoch: int, first: int, count: int) -> None:
    for start in range(first, first + count, 100):
        await asyncio.gather(*(append(store, chunk(seq, "x" * 50), epoch=epoch) for seq in range(start, start + 100)))


@covers("G12")
async def test_an_event_costs_the_same_however_long_the_log_is(store: SqlStore) -> None:
    epoch = await create(store)
    await append(store, status(2), epoch=epoch)
    costs: list[int] = []
    size = len(chunk(3, "x" * 50).event)
    with sending() as all_sent:
        for thousand in range(10):
            before = all_sent.size
            await _append_chunks(store, epoch, 3 + 1000 * thousand, 1000)
            costs.append(all_sent.size - before)
    # Beside the event a handful of numbers; a snapshot now and then, all of them together less than twice the log.
    assert min(costs) <= 1000 * (size + 150)
    assert sum(costs) <= 10_000 * (size + 150 + 2 * size)
    assert sorted(costs)[7] <= 1.2 * min(costs)


async def test_a_thousand_events_of_a_thousand_tasks_are_a_few_statements(store: SqlStore) -> None:
    keys = [KEY._replace(id=f"t-{place}") for place in range(400)]
    with sending() as sent:
        epochs = await asyncio.gather(*(create(store, key) for key in keys))
        await asyncio.gather(
            *(append(store, status(2), epoch=epoch, key=key) for key, epoch in zip(keys, epochs, strict=True))
        )
    assert len(sent.statements) <= 40


async def test_an_append_alone_is_one_transaction_of_three_statements(store: SqlStore) -> None:
    epoch = await create(store)
    with sending() as sent:
        await append(store, status(2), epoch=epoch)
    verbs = [statement.split()[0] for statement in sent.statements]
    assert verbs == ["BEGIN", "SELECT", "UPDATE", "INSERT"]


async def test_a_list_takes_the_same_number_of_queries_whatever_the_page(store: SqlStore, tmp_path: Path) -> None:
    for place in range(50):
        key = KEY._replace(id=f"t-{place}")
        epoch = await create(store, key)
        await append(store, status(2, COMPLETED), epoch=epoch, key=key)
    counts = []
    for limit in (1, 10, 50):
        other = SqlStore(f"sqlite:///{tmp_path}/tasks.db")
        await other.open()
        with sending() as sent:
            page = await other.list(KEY.scope, ListFilter(), None, limit)
        await other.close()
        assert len(page.tasks) == limit
        counts.append(len(sent.statements))
    assert len(set(counts)) == 1
    assert counts[0] <= 5


@pytest.mark.parametrize("since", [ROWS_TOGETHER_SINCE, (99,)], ids=["this SQLite", "one before 3.38"])
async def test_a_batch_is_the_same_whether_its_rows_go_together_or_not(
    store: SqlStore, since: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "ROWS_TOGETHER_SINCE", since)
    keys = [TaskKey("", "", f"t-{number}") for number in range(23)]
    for key in keys:
        await create(store, key=key)
    with sending() as sent:
        grown = [append(store, chunk(2, f"of {key.id}", append=False), epoch=1, key=key) for key in keys]
        moved = [append(store, status(3), epoch=1, key=key) for key in keys[:9]]
        ended = [append(store, status(4, COMPLETED), epoch=1, key=key) for key in keys[:5]]
        await asyncio.gather(*grown, *moved, *ended)
    for place, key in enumerate(keys):
        head = await head_of(store, key)
        assert (head.seq, head.state) == ((4, COMPLETED) if place < 5 else (3 if place < 9 else 2, WORKING))
        records = await store.read(key, 0, 9)
        assert records is not None
        assert head.size == sum(record.size for record in records)
    together = [statement for statement in sent.statements if statement.startswith("UPDATE") and " FROM " in statement]
    assert bool(together) == (since == ROWS_TOGETHER_SINCE)


async def test_who_follows_what_this_process_appends_asks_the_database_nothing(store: SqlStore) -> None:
    log = Log(store, LocalBus())
    epoch = await create(store)
    with log.follow(KEY, 1, born().state) as follower:
        with sending() as sent:
            for seq in range(2, 40):
                log.write(Append(KEY, status(seq), epoch))
                assert await anext(follower) == status(seq)
            await log.write(Append(KEY, status(40, COMPLETED), epoch))
            assert [record async for record in follower] == [status(40, COMPLETED)]
    asked = [statement for statement in sent.statements if statement.startswith("SELECT")]
    assert len(asked) <= 39 + 3  # each append reads its row; snapshots are made now and then


class TwinBus(LocalBus):
    """The bus of one of two processes; no wake is lost between them."""

    twin: "TwinBus"

    def wake(self, key: Key) -> None:
        super().wake(key)
        if topic := self.twin._topics.get(key):
            topic.invalidate()


@pytest.mark.parametrize("seed", [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 20))])
async def test_who_follows_sees_what_another_process_appends_in_between_at_its_wake(seed: int, tmp_path: Path) -> None:
    """Two stores of one file as two processes have them, and a bus that loses nothing; nobody makes the round."""
    chance, buses = random.Random(seed), (TwinBus(), TwinBus())
    buses[0].twin, buses[1].twin = buses[1], buses[0]
    logs = [Log(SqlStore(f"sqlite:///{tmp_path}/tasks.db"), bus) for bus in buses]
    for log in logs:
        await log.store.open()
    await create(logs[0].store)
    following, seq = [], 1

    async def follow(log: Log, snapshot: Snapshot) -> list[int]:
        with log.follow(KEY, snapshot.seq, chance.choice([snapshot.state, None])) as records:
            return [record.seq async for record in records]

    for _ in range(12):
        log = chance.choice(logs)
        if chance.random() < 0.5:
            at = chance.choice(logs)
            following.append((seq, asyncio.create_task(follow(at, await at.snapshot(KEY)))))
            await asyncio.sleep(chance.choice([0, 0.002]))
        claimed = await log.store.claim(KEY, str(id(log)), force=True)
        assert claimed is not None
        for _ in range(chance.choice([1, 2, 5, 300])):
            seq += 1
            writing = log.write(Append(KEY, status(seq), claimed.epoch))
            if chance.random() < 0.2:
                await writing
        await writing
    claimed = await logs[0].store.claim(KEY, "last", force=True)
    assert claimed is not None
    await logs[0].write(Append(KEY, status(seq + 1, COMPLETED), claimed.epoch))
    async with asyncio.timeout(30):
        for after, told in following:
            assert await told == list(range(after + 1, seq + 2))
    for log in logs:
        await log.store.close()


async def test_followers_that_keep_up_read_no_record_from_the_database(store: SqlStore) -> None:
    log = Log(store, LocalBus())
    keys = [KEY._replace(id=f"t-{place}") for place in range(20)]
    epochs = await asyncio.gather(*(create(store, key) for key in keys))
    with ExitStack() as stack:
        following = [stack.enter_context(log.follow(key, 1, born().state)) for key in keys for _ in range(5)]
        with sending() as sent:
            for seq in range(2, 10):
                last = status(seq, COMPLETED if seq == 9 else WORKING)
                appended = [log.write(Append(key, last, epoch)) for key, epoch in zip(keys, epochs, strict=True)]
                assert await asyncio.gather(*map(anext, following)) == [last] * 100
                await asyncio.gather(*appended)
            assert [[record async for record in follower] for follower in following] == [[]] * 100
    read = [statement for statement in sent.statements if "a2a_record.event" in statement]
    assert len(read) <= 20, "each task is read once, as the first follower comes"


async def test_a_task_that_settles_gets_a_stored_snapshot_and_is_loaded_from_it(
    store: SqlStore, tmp_path: Path
) -> None:
    epoch = await create(store)
    await append(store, status(2), epoch=epoch)
    await _append_chunks(store, epoch, 3, 100)
    await append(store, status(103, COMPLETED), epoch=epoch)

    def stored() -> list[Any]:
        with sqlite3.connect(tmp_path / "tasks.db") as connection:
            found = connection.execute("SELECT seq, body, history, artifacts FROM a2a_snapshot").fetchall()
        connection.close()
        return [(seq, b"".join(parts)) for seq, *parts in found]

    def is_stored() -> None:
        assert [seq for seq, _ in stored()] == [103]

    await eventually(is_stored)
    other = SqlStore(f"sqlite:///{tmp_path}/tasks.db")
    await other.open()
    with sending() as sent:
        snapshot = await other.load(KEY)
        page = await other.list(KEY.scope, ListFilter(), None, 10)
    await other.close()
    assert snapshot is not None
    assert (snapshot.seq, snapshot.state, snapshot.turn, snapshot.task) == (103, COMPLETED, 1, stored()[0][1])
    assert len(Task.FromString(snapshot.task).artifacts[0].parts) == 100
    assert page.tasks[0].snapshot == snapshot
    assert not any("FROM a2a_record" in statement for statement in sent.statements)


async def test_small_tasks_that_are_read_snapshot_share_two_queries_and_a_large_one_has_its_own(
    store: SqlStore, tmp_path: Path
) -> None:
    keys = [KEY._replace(id=f"t-{place}") for place in range(30)]
    for place, key in enumerate(keys):
        epoch = await create(store, key)
        await append(store, status(2), epoch=epoch, key=key)
        await append(store, chunk(3, "x" * (20_000 if place == 7 else 50 + place)), epoch=epoch, key=key)
    known = [await store.load(key) for key in keys]
    other = SqlStore(f"sqlite:///{tmp_path}/tasks.db")
    await other.open()
    try:
        with sending() as sent:
            small = await asyncio.gather(*(other.load(key) for key in keys if key != keys[7]))
        assert small == [*known[:7], *known[8:]]
        assert len(sent.statements) == 2, sent.statements
        with sending() as sent:
            assert await asyncio.gather(*(other.load(key) for key in keys)) == known
        queries = [statement for statement in sent.statements if statement != "BEGIN"]
        assert len(queries) == 1 + 2, queries  # the rows; the large task and its records
        with sending() as sent:
            assert await asyncio.gather(*(other.load(key) for key in keys)) == known
        assert len(sent.statements) == 1, sent.statements
    finally:
        await other.close()


async def test_a_purged_task_leaves_nothing_behind(store: SqlStore, tmp_path: Path) -> None:
    for place in range(5):
        key = KEY._replace(id=f"t-{place}")
        epoch = await create(store, key)
        for seq in range(2, 40):
            await append(store, status(seq), epoch=epoch, key=key)
        await append(store, status(40, COMPLETED), epoch=epoch, key=key)
    removed = await store.purge(ended_age_s=0.0, keep=100, limit=100)
    assert removed == 5
    assert await store.read(KEY._replace(id="t-3"), 10, 10) is None
    await store.close()
    with sqlite3.connect(tmp_path / "tasks.db") as connection:
        for table in ("a2a_task", "a2a_record", "a2a_snapshot", "a2a_pending"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    connection.close()


@pytest.mark.parametrize("view", [TaskView(artifacts=False), TaskView(artifacts=False, history_length=1)], ids=str)
async def test_a_list_without_artifacts_reads_no_event_of_an_artifact(store: SqlStore, view: TaskView) -> None:
    """Along the primary key SQLite would read each event, to get to the columns behind the event."""
    await filled(store, 4, artifact=50_000, history=20_000)
    with sending() as sent:
        page = await store.list(KEY.scope, ListFilter(), None, 10, view=view, max_bytes=150_000)
    assert 1 <= len(page.tasks) <= 4
    queries = [statement for statement in sent.statements if "a2a_record.at_us >" in statement]
    assert queries
    assert all("INDEXED BY a2a_record_status" in query for query in queries)


@covers("G12")
async def test_where_push_is_offered_a_task_without_configs_costs_one_statement_more_for_each_further_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("a2a_grpc.server.pushing.ROUND_S", 3600.0)  # the queries of a round are for all tasks
    with sending() as sent:

        def about_configs() -> list[str]:
            return [one for one in sent.statements if "a2a_push" in one and one.startswith(("SELECT", "UPDATE"))]

        def the_first_round_is_over() -> None:
            assert len(about_configs()) == 3

        async with serving(scripted_agent(), store=f"sqlite:///{tmp_path}/tasks.db", push=True) as served:
            await eventually(the_first_round_is_over)
            before = len(about_configs())
            for _ in range(10):
                await served.send(scripted({"status": "begun"}, {"chunks": {"count": 5}}))
            waiting = (await served.send(scripted({"input": "Which?"}))).task
            assert len(about_configs()) == before
            answer = scripted({"artifact": "this one"})
            answer.message.task_id = waiting.id
            await served.send(answer)
            assert [statement.split()[0] for statement in about_configs()[before:]] == ["UPDATE"]
