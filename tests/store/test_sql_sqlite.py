"""SQLite: the contract of every store, then what every SQL store does beyond it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED
from a2a_grpc.store import AlreadyBound, Binding, ListFilter, Note, Record, StaleAppend, TaskStore, open_store
from a2a_grpc.store.contract import OutboxContract, StoreContract
from a2a_grpc.store.contract.given import KEY, ME, OTHER, append, create, head_of, status
from a2a_grpc.store.sql import SqlStore


class SqlContract(StoreContract, OutboxContract):
    """The contract, and more of the same on a SQL database."""

    async def test_text_is_exact_to_case_accent_and_trailing_space_and_ordered_by_code_point(
        self, store: TaskStore
    ) -> None:
        ids = ["a", "A", "a ", "á", "b", "ß", "ss", "Z", "\U0001f600", "\uffee"]
        for name in ids:
            key = KEY._replace(id=name)
            await create(store, key, at_us=5, context_id=name, bind=(name, Binding(name.encode())))
        page = await store.list(KEY.scope, ListFilter(), None, 100)
        assert [listed.position.id for listed in page.tasks] == sorted(ids, reverse=True)
        for name in ids:
            page = await store.list(KEY.scope, ListFilter(context_id=name), None, 100)
            assert [listed.position.id for listed in page.tasks] == [name]
            assert await store.bound(KEY.scope, name) == Binding(name.encode())

    async def test_tenant_and_owner_do_not_run_into_one_another(self, store: TaskStore) -> None:
        await create(store, KEY._replace(tenant="ab", owner="c"))
        assert await store.head(KEY._replace(tenant="a", owner="bc")) is None

    async def test_large_events_and_messages_are_kept_whole(self, store: TaskStore) -> None:
        epoch = await create(store)
        record = Record(2, b"\x00\xff'\\%" * 700_000, status(2).state, 1, message=b"\x00" * 200_000)
        await append(store, record, epoch=epoch)
        await asyncio.gather(*(append(store, status(seq), epoch=epoch) for seq in range(3, 6)))
        assert await store.read(KEY, 1, 1) == [record]
        assert (await head_of(store)).size > 3_700_000

    async def test_a_task_that_is_there_is_not_created_again(self, store: TaskStore) -> None:
        epoch = await create(store)
        with pytest.raises(StaleAppend):
            await create(store, bind=("k", Binding(b"f")))
        assert await store.bound(KEY.scope, "k") is None
        await append(store, status(2), epoch=epoch)

    async def test_of_racing_creates_with_one_key_one_wins(self, store: TaskStore) -> None:
        calls = [
            create(store, KEY._replace(id=f"t-{place}"), bind=("k", Binding(b"f", f"t-{place}", 1)))
            for place in range(20)
        ]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(outcome, int) for outcome in outcomes) == 1
        won = next(place for place, outcome in enumerate(outcomes) if isinstance(outcome, int))
        for outcome in outcomes:
            if isinstance(outcome, AlreadyBound):
                assert outcome.binding.task_id == f"t-{won}"
        assert (await store.list(KEY.scope, ListFilter(), None, 100)).total == 1

    async def test_many_who_purge_at_the_same_time_keep_as_many_as_are_to_be_kept(self, store: TaskStore) -> None:
        keys = [KEY._replace(id=f"t-{place:03}") for place in range(60)]
        epochs = await asyncio.gather(*(create(store, key) for key in keys))
        await asyncio.gather(
            *(
                append(store, status(2, COMPLETED, at_us=10 + place // 2), epoch=epochs[place], key=key)
                for place, key in enumerate(keys)
            )
        )

        async def sweep() -> int:
            removed = 0
            while page := await store.purge(ended_age_s=1e6, keep=13, limit=5):
                removed += page
            return removed

        removed = await asyncio.gather(*(sweep() for _ in range(4)))
        assert sum(removed) == 60 - 13
        assert await sweep() == 0
        left = await store.list(KEY.scope, ListFilter(), None, 100)
        assert len(left.tasks) == left.total == 13
        assert min(listed.position.at_us for listed in left.tasks) >= 10 + 46 // 2

    async def test_those_who_renew_at_the_same_time_declare_the_same_dead(self, store: TaskStore) -> None:
        for place in range(6):
            await store.join(f"dead-{place}", 0.0)
        names = [f"living-{place}" for place in range(6)]
        for name in names:
            await store.join(name, 60.0)
        assert await asyncio.gather(*(store.renew(name, 60.0) for name in names)) == [True] * 6
        assert await asyncio.gather(*(store.renew(f"dead-{place}", 60.0) for place in range(6))) == [False] * 6

    async def test_appends_race_with_claims_and_messages_without_harm(self, store: TaskStore) -> None:
        await store.join(ME, 60.0)
        epoch = await create(store)
        await asyncio.gather(
            *(append(store, status(seq), epoch=epoch) for seq in range(2, 30)),
            *(store.claim(KEY, OTHER) for _ in range(5)),
            *(store.request_cancel(KEY, b"") for _ in range(5)),
            *(store.renew(ME, 60.0) for _ in range(5)),
            *(store.list(KEY.scope, ListFilter(), None, 10) for _ in range(5)),
        )
        head = await head_of(store)
        assert (head.seq, head.epoch, head.replica, head.cancel) == (29, epoch, ME, b"")

    async def test_notes_that_are_put_at_once_are_written_in_the_order_of_the_calls(self, store: TaskStore) -> None:
        keys = [KEY._replace(id=f"t-{place}") for place in range(3)]
        epochs = {key: await create(store, key) for key in keys}
        puts = [(key, Note(0, "a", value)) for value in (b"1", b"2", b"1") for key in keys]
        await asyncio.gather(*(store.put_note(key, note, epoch=epochs[key]) for key, note in puts))
        assert [await store.get_note(key, 0, "a") for key in keys] == [b"1"] * 3

    async def test_the_notes_of_a_turn_are_deleted_when_it_is_done(self, store: TaskStore) -> None:
        epoch = await create(store)
        for turn in (0, 1):
            await store.put_note(KEY, Note(turn, "a", b"x"), epoch=epoch)
        await append(store, status(2, INPUT_REQUIRED), epoch=epoch, done=1)
        await append(store, status(3, turn=2), epoch=epoch)
        await store.put_note(KEY, Note(2, "a", b"x"), epoch=epoch)
        assert [await store.get_note(KEY, turn, "a") for turn in (0, 1, 2)] == [b"x", None, b"x"]


class TestSqliteStore(SqlContract):
    @pytest.fixture
    async def store(self, sqlite_store: str) -> AsyncIterator[TaskStore]:
        store = open_store(sqlite_store)
        await store.open()
        yield store
        await store.close()


async def test_tasks_outlive_the_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    store = SqlStore(url)
    await store.open()
    epoch = await create(store)
    await store.close()
    store = SqlStore(url)
    await store.open()
    await append(store, status(2), epoch=epoch)
    assert (await head_of(store)).seq == 2
    await store.close()
