"""Faults from outside: a database that restarts, ends connections, loses answers, is away for a while."""

import asyncio
import gc
import logging
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Connection, Pool, event
from sqlalchemy.exc import OperationalError

from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.store import (
    AlreadyBound,
    Append,
    Binding,
    ListFilter,
    StaleAppend,
    StoreUnavailable,
    TaskKey,
)
from a2a_grpc.store.contract.given import KEY, ME, OTHER, WAITING, append, born, chunk, create, status
from a2a_grpc.store.sql import SqlStore, coordination
from a2a_grpc.store.sql.migrations import upgrade
from tests.databases import Mariadb, Postgres, postgres_connection
from tests.harness import eventually, stop_listening

LEASE_S = 60.0


@asynccontextmanager
async def opened(url: str, *, budget_s: float = 30.0) -> AsyncIterator[SqlStore]:
    store = SqlStore(url, budget_s=budget_s)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class LosesCommits:
    """A TCP proxy in front of PostgreSQL that, when told, lets the next COMMIT through and cuts before its answer."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self._armed = False
        self.lost = 0
        self._server: asyncio.Server
        self._copying: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        port = self._server.sockets[0].getsockname()[1]
        return self._to._replace(netloc=f"tester:secret@127.0.0.1:{port}").geturl()

    def lose_next(self) -> None:
        self._armed = True

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await stop_listening(self._server)
        for copying in self._copying:
            copying.cancel()
        if self._copying:
            await asyncio.wait(self._copying)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._copying.add(task)
        task.add_done_callback(self._copying.discard)
        try:
            server, to_server = await asyncio.open_connection(self._to.hostname, self._to.port)
        except BaseException:
            to_client.transport.abort()
            raise
        answering = asyncio.create_task(self._answer(server, to_client))
        try:
            while asked := await client.read(1 << 16):
                if self._armed and b"COMMIT" in asked:
                    self._armed = False
                    self.lost += 1
                    answering.cancel()
                    await asyncio.wait([answering])
                    to_server.write(asked)
                    await server.read(1)  # it is committed now
                    break
                to_server.write(asked)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            answering.cancel()
            await asyncio.wait([answering])
            for writer in (to_client, to_server):
                writer.transport.abort()

    async def _answer(self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            while answer := await server.read(1 << 16):
                to_client.write(answer)
        except ConnectionError:
            pass
        to_client.transport.abort()


@pytest.fixture
async def losing(postgres_store: str) -> AsyncIterator[tuple[SqlStore, LosesCommits]]:
    async with LosesCommits(postgres_store) as proxy, opened(proxy.url) as store:
        yield store, proxy


Losing = tuple[SqlStore, LosesCommits]


async def test_an_append_whose_commit_was_not_answered_is_written_once_and_not_refused(losing: Losing) -> None:
    store, proxy = losing
    epoch = await create(store)
    proxy.lose_next()
    assert await append(store, status(2), epoch=epoch, bind=("k", Binding(b"f", KEY.id, 1))) == 1
    assert proxy.lost == 1
    assert await store.read(KEY, 0, 10) == [born(), status(2)]
    assert await append(store, chunk(3, "x"), epoch=epoch) == 1


async def test_a_create_whose_commit_was_not_answered_gives_its_epoch(losing: Losing) -> None:
    store, proxy = losing
    await create(store, KEY._replace(id="another"))
    proxy.lose_next()
    epoch = await create(store, bind=("k", Binding(b"f", KEY.id, 1)), pending=WAITING._replace(turn=1))
    assert proxy.lost == 1
    await append(store, status(2), epoch=epoch)
    assert await store.bound(KEY.scope, "k") == Binding(b"f", KEY.id, 1)
    assert [message.turn for message in await store.pending(KEY)] == [1]


async def test_a_batch_whose_commit_was_not_answered_is_written_once(losing: Losing) -> None:
    store, proxy = losing
    keys = [KEY._replace(id=f"t-{place}") for place in range(40)]
    epochs = await asyncio.gather(*(create(store, key) for key in keys))
    for seq in range(2, 12):
        if seq % 3 == 0:
            proxy.lose_next()
        await asyncio.gather(
            *(append(store, status(seq), epoch=epoch, key=key) for key, epoch in zip(keys, epochs, strict=True))
        )
    assert proxy.lost == 3
    for key in keys:
        records = await store.read(key, 0, 100)
        assert records is not None
        assert [record.seq for record in records] == list(range(1, 12))


async def test_a_message_whose_commit_was_not_answered_waits_once(losing: Losing) -> None:
    store, proxy = losing
    await create(store)
    proxy.lose_next()
    head = await store.enqueue(KEY, WAITING, replica=ME, limit=16, bind=("k", Binding(b"f", KEY.id)))
    assert proxy.lost == 1
    assert head is not None
    assert head.last_turn == 2
    assert await store.pending(KEY) == [WAITING._replace(turn=2)]
    assert await store.bound(KEY.scope, "k") == Binding(b"f", KEY.id, 2)


async def test_a_claim_a_binding_and_a_lease_whose_commit_was_not_answered_are_had(losing: Losing) -> None:
    store, proxy = losing
    await store.join(OTHER, LEASE_S)
    epoch = await create(store)
    proxy.lose_next()
    head = await store.claim(KEY, OTHER)
    assert head is not None
    assert head.epoch > epoch
    assert (head.replica, head.attempt) == (OTHER, 2)
    await append(store, status(2), epoch=head.epoch)
    proxy.lose_next()
    await store.bind(KEY.scope, "k", Binding(b"f", reply=b"hi"))
    with pytest.raises(AlreadyBound):
        await store.bind(KEY.scope, "k", Binding(b"f", reply=b"hi"))
    proxy.lose_next()
    await store.join(ME, LEASE_S)
    proxy.lose_next()
    assert await store.renew(ME, LEASE_S)
    assert proxy.lost == 4


# -- a database that is away


class Load:
    """Tasks that append one record after another; what was acknowledged is kept."""

    def __init__(self, store: SqlStore, tasks: int = 20) -> None:
        self._store = store
        self.keys = [KEY._replace(id=f"load-{place}") for place in range(tasks)]
        self.acknowledged = dict.fromkeys(self.keys, 0)
        self._is_stopping = False

    async def _run(self, key: TaskKey) -> None:
        epoch = await create(self._store, key)
        seq = 1
        while not self._is_stopping:
            self.acknowledged[key] = seq
            seq += 1
            await self._store.write(Append(key, status(seq), epoch))
        self.acknowledged[key] = seq

    async def during(self, fault: Callable[[], Awaitable[Any]]) -> None:
        """Appends before, while and after something happens."""
        running = [asyncio.create_task(self._run(key)) for key in self.keys]
        try:
            await eventually(lambda: self._have_reached(3))
            await fault()
            onward = max(self.acknowledged.values()) + 3
            await eventually(lambda: self._have_reached(onward), within_s=60)
        finally:
            self._is_stopping = True
            await asyncio.gather(*running)

    def _have_reached(self, seq: int) -> None:
        assert min(self.acknowledged.values()) >= seq

    async def check(self, store: SqlStore) -> None:
        """Every record that was acknowledged is there, once, in order, and none after it."""
        for key in self.keys:
            records = await store.read(key, 0, 1_000_000)
            assert records is not None
            assert [record.seq for record in records] == list(range(1, self.acknowledged[key] + 1))


@pytest.mark.few
@pytest.mark.parametrize("fault", ["restart", "crash", "terminate"])
async def test_no_record_is_lost_or_doubled_when_postgresql_fails_under_load(
    postgres_server: Postgres, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres_server.url()
    await upgrade(url)

    async def crash() -> None:
        await postgres_server.kill()
        await postgres_server.start()

    async def terminate() -> None:
        for _ in range(5):
            await postgres_server.terminate_connections("a2a-grpc")
            await asyncio.sleep(0.05)

    faults: dict[str, Callable[[], Awaitable[Any]]] = {
        "restart": lambda: postgres_server.restart("fast"),
        "crash": crash,
        "terminate": terminate,
    }
    async with opened(url) as store:
        load = Load(store)
        await load.during(faults[fault])
    async with opened(url) as store:
        await load.check(store)
    assert [record for record in caplog.records if record.exc_info and record.levelno > logging.DEBUG] == []


@pytest.mark.long
@pytest.mark.parametrize("fault", ["restart", "crash", "terminate"])
async def test_no_record_is_lost_or_doubled_when_mariadb_fails_under_load(
    mariadb_server: Mariadb, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = mariadb_server.url()
    await upgrade(url)

    async def crash() -> None:
        await mariadb_server.kill()
        await mariadb_server.start()

    async def terminate() -> None:
        for _ in range(5):
            await mariadb_server.terminate_connections("mysql")
            await asyncio.sleep(0.05)

    faults: dict[str, Callable[[], Awaitable[Any]]] = {
        "restart": lambda: mariadb_server.restart("fast"),
        "crash": crash,
        "terminate": terminate,
    }
    async with opened(url) as store:
        load = Load(store)
        await load.during(faults[fault])
    async with opened(url) as store:
        await load.check(store)
    assert [record for record in caplog.records if record.exc_info and record.levelno > logging.DEBUG] == []


async def test_a_database_that_stays_away_is_reported_within_the_budget_and_found_again(
    postgres_server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres_server.url()
    await upgrade(url)
    async with opened(url, budget_s=0.5) as store:
        epoch = await create(store)
        await postgres_server.stop("immediate")
        with pytest.raises(StoreUnavailable):
            await store.ping()
        calls = [
            append(store, status(2), epoch=epoch),
            create(store, KEY._replace(id="t-2")),
            store.head(KEY),
            store.claim(KEY, OTHER),
            store.renew(ME, 1.0),
        ]
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, StoreUnavailable)
            assert outcome.__cause__ is not None
            assert "secret" not in str(outcome)
        assert store.is_healthy
        await postgres_server.start()
        await eventually(store.ping)
        await append(store, status(2), epoch=epoch)
        assert await store.read(KEY, 0, 10) == [born(), status(2)]
    said = [record for record in caplog.records if record.name == "a2a_grpc.store"]
    assert "database unavailable" in said[0].getMessage()
    assert len(said) <= 4
    assert not any(record.exc_info or "secret" in record.getMessage() for record in caplog.records)


async def test_a_ping_that_fails_when_nobody_waits_for_it_any_more_logs_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a database that says nothing the readiness check waits for half a second; the connection is given up later."""
    has_failed = threading.Event()

    def ping(_: Connection) -> None:
        time.sleep(0.2)
        has_failed.set()
        raise OperationalError("SELECT 1", {}, TimeoutError())

    monkeypatch.setattr(coordination, "ping", ping)
    async with opened(f"sqlite:///{tmp_path}/tasks.db") as store:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await store.ping()
        assert not has_failed.is_set()
        await asyncio.to_thread(has_failed.wait, 10)
    await asyncio.sleep(0.1)
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


async def test_callers_that_are_canceled_leave_no_connection_and_no_transaction(postgres_store: str) -> None:
    async with opened(postgres_store) as store:
        epoch = await create(store)
        for turns in range(60):
            calls: list[Awaitable[Any]] = [
                store.head(KEY),
                store.list(KEY.scope, ListFilter(), None, 10),
                store.claim(KEY, ME),
                store.release(KEY, epoch),
                append(store, chunk(2, "x"), epoch=epoch - 1),
            ]
            calling = [asyncio.ensure_future(call) for call in calls]
            for _ in range(turns % 20):
                await asyncio.sleep(0)
            for call in calling:
                call.cancel()
            await asyncio.wait(calling)
        async with postgres_connection(postgres_store) as connection:

            async def nothing_is_open() -> None:
                states = await connection.fetch(
                    "SELECT state FROM pg_stat_activity WHERE application_name = 'a2a-grpc'"
                    " AND datname = current_database()"
                )
                assert [row[0] for row in states if row[0] != "idle"] == []
                assert len(states) <= 8

            await eventually(nothing_is_open)
        await store.ping()


# -- one batch


async def test_what_the_database_refuses_does_not_sink_what_was_sent_with_it(postgres_store: str) -> None:
    async with opened(postgres_store) as store:
        keys = [KEY._replace(id=f"t-{place}") for place in range(9)]
        keys[4] = KEY._replace(id="nul\0")
        outcomes = await asyncio.gather(*(create(store, key) for key in keys), return_exceptions=True)
        assert [isinstance(outcome, int) for outcome in outcomes] == [place != 4 for place in range(9)]
        assert not isinstance(outcomes[4], StoreUnavailable)
        assert store.is_healthy


async def test_an_append_that_may_not_be_fails_alone(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/tasks.db") as store:
        keys = [KEY._replace(id=f"t-{place}") for place in range(9)]
        epochs = await asyncio.gather(*(create(store, key) for key in keys))
        await store.bind(KEY.scope, "taken", Binding(b"f"))
        calls = [
            append(
                store,
                status(5 if place == 2 else 2),
                epoch=epoch,
                key=key,
                bind=("taken", Binding(b"g")) if place == 5 else None,
            )
            for place, (key, epoch) in enumerate(zip(keys, epochs, strict=True))
        ]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(outcomes.pop(5), AlreadyBound)
        assert isinstance(outcomes.pop(2), StaleAppend)
        assert outcomes == [1] * 7


async def test_appends_of_one_task_that_arrive_together_are_chained_and_the_first_that_ends_it_wins(
    tmp_path: Path,
) -> None:
    async with opened(f"sqlite:///{tmp_path}/tasks.db") as store:
        epoch = await create(store)
        calls = [
            append(store, status(seq, COMPLETED if seq == 5 else status(2).state), epoch=epoch) for seq in range(2, 8)
        ]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert outcomes[:4] == [1] * 4
        assert all(isinstance(outcome, StaleAppend) for outcome in outcomes[4:])


# -- SQLite


async def test_a_writer_in_another_process_is_waited_for(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/tasks.db", budget_s=0.3) as store:
        epoch = await create(store)
        other = sqlite3.connect(tmp_path / "tasks.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            await append(store, status(2), epoch=epoch)
        assert await store.read(KEY, 1, 10) == [], "reading goes on"
        appending = asyncio.create_task(append(store, status(2), epoch=epoch))
        other.execute("COMMIT")
        other.close()
        assert await appending == 1


async def test_the_write_lock_of_another_process_is_looked_at_again_and_again(tmp_path: Path) -> None:
    """SQLite itself would look after 1, 3, 8, 18, 33 ms and so on, and miss the lock when it is free in between."""
    looks: list[str] = []

    def trace(driver: sqlite3.Connection, *_: Any) -> None:
        driver.set_trace_callback(looks.append)

    async with opened(f"sqlite:///{tmp_path}/tasks.db") as store:
        epoch = await create(store)
        other = sqlite3.connect(tmp_path / "tasks.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        event.listen(Pool, "checkout", trace)
        try:
            appending = asyncio.create_task(append(store, status(2), epoch=epoch))
            await eventually(lambda: _assert_looked(looks, 20))
            other.execute("COMMIT")
            other.close()
            assert await appending == 1
        finally:
            event.remove(Pool, "checkout", trace)


def _assert_looked(looks: list[str], times: int) -> None:
    assert looks.count("BEGIN IMMEDIATE") >= times


async def test_two_stores_on_one_file_see_what_the_other_writes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    async with opened(url) as one, opened(url) as two:
        epoch = await create(one)
        for seq in range(2, 30):
            await append(one if seq % 2 else two, status(seq), epoch=epoch)
            for store in (one, two):
                snapshot = await store.load(KEY)
                assert snapshot is not None
                assert snapshot.seq == seq
                records = await store.read(KEY, 0, 100)
                assert records is not None
                assert [record.seq for record in records] == list(range(1, seq + 1))
                assert await store.read(KEY, seq, 100) == []
        await append(two, status(30, COMPLETED), epoch=epoch)
        assert await one.read(KEY, 29, 100) == [status(30, COMPLETED)]
        assert await two.purge(ended_age_s=0.0, keep=0, limit=10) == 1
        assert await one.read(KEY, 29, 100) is None
        assert await one.load(KEY) is None


async def test_a_store_that_is_closed_is_unavailable(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/tasks.db")
    with pytest.raises(StoreUnavailable):
        await create(store)
    await store.open()
    assert store.is_healthy
    epoch = await create(store)
    await store.close()
    assert not store.is_healthy
    calls: list[Awaitable[Any]] = [
        append(store, status(2), epoch=epoch),
        store.head(KEY),
        store.claim(KEY, ME),
        store.ping(),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable):
            await call
    await store.close()
