"""The tests of a store that keeps tasks."""

import asyncio

import pytest

from a2a_grpc import lifecycle
from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED, SUBMITTED
from a2a_grpc.store import (
    Append,
    Create,
    ListFilter,
    Records,
    StaleAppend,
    TaskKey,
    over,
    when_over,
)
from a2a_grpc.store.contract.given import (
    KEY,
    ME,
    ODD,
    append,
    born,
    chunk,
    create,
    head_of,
    outcome,
    status,
)
from a2a_grpc.store.contract.lists import ListsContract
from a2a_grpc.wire import (
    ROLE_USER,
    Message,
    Part,
    StreamResponse,
    Task,
    TaskState,
    TaskStatus,
)


class RecordsContract(ListsContract):
    """The tests of a store of `Records`. Each test is one guarantee.

    Make a subclass with a fixture `store`, which gives each test a store that is open and empty. Run it with pytest.
    """

    async def test_a_store_that_is_open_answers(self, store: Records) -> None:
        await store.ping()

    async def test_a_created_task_is_found_with_its_first_record(self, store: Records) -> None:
        epoch = await create(store)
        head = await store.head(KEY)
        assert head is not None
        assert (head.seq, head.state, head.turn, head.epoch, head.context_id) == (1, SUBMITTED, 1, epoch, "c-1")
        assert head.size == len(born().event)
        assert await store.read(KEY, 0, 10) == [born()]

    async def test_an_unknown_task_is_none_everywhere(self, store: Records) -> None:
        assert await store.head(KEY) is None
        assert await store.load(KEY) is None
        assert await store.read(KEY, 0, 10) is None

    @pytest.mark.parametrize("other", [KEY._replace(tenant="x"), KEY._replace(owner="x"), KEY._replace(id="x")])
    async def test_keys_are_exact(self, store: Records, other: TaskKey) -> None:
        await create(store)
        assert await store.head(other) is None
        assert await store.read(other, 0, 10) is None
        assert (await store.list(other.scope, ListFilter(), None, 10)).total == (1 if other.scope == KEY.scope else 0)

    @pytest.mark.parametrize("odd", ODD)
    async def test_ids_may_be_any_text(self, store: Records, odd: str) -> None:
        key = TaskKey(odd, odd, odd)
        epoch = await create(store, key, context_id=odd)
        await append(store, status(2), epoch=epoch, key=key)
        assert (await store.list(key.scope, ListFilter(context_id=odd), None, 10)).total == 1

    async def test_records_are_read_in_order_from_any_place_in_pages_of_any_size(self, store: Records) -> None:
        epoch = await create(store)
        records = [born(), status(2), *(chunk(seq, f"{seq} ") for seq in range(3, 21))]
        for record in records[1:]:
            await append(store, record, epoch=epoch)
        assert await store.read(KEY, 0, 100) == records
        assert await store.read(KEY, 7, 5) == records[7:12]
        assert await store.read(KEY, 20, 5) == []

    async def test_a_snapshot_and_the_records_after_it_are_the_fold_of_the_log(self, store: Records) -> None:
        epoch = await create(store)
        said = Message(message_id="m", role=ROLE_USER, parts=[Part(text="more")])
        records = [
            status(2),
            chunk(3, "a", append=False),
            chunk(4, "b"),
            status(5, INPUT_REQUIRED),
            status(6, message=said.SerializeToString(), turn=2),
            chunk(7, "c"),
        ]
        whole = Task(id=KEY.id, context_id="c-1", status=TaskStatus(state=SUBMITTED))
        for record in records:
            await append(store, record, epoch=epoch)
            snapshot = await store.load(KEY)
            assert snapshot is not None
            assert (snapshot.seq, snapshot.state, snapshot.turn) == (record.seq, record.state, record.turn)
            message = Message.FromString(record.message) if record.message else None
            lifecycle.fold(whole, [(StreamResponse.FromString(record.event), message)])
            assert Task.FromString(snapshot.task) == whole
        assert [part.text for part in whole.artifacts[0].parts] == ["a", "b", "c"]
        assert list(whole.history) == [said]

    @pytest.mark.parametrize("seq", [1, 2, 4, 0, -1])
    async def test_an_append_anywhere_but_at_the_end_writes_nothing(self, store: Records, seq: int) -> None:
        epoch = await create(store)
        await append(store, status(2), epoch=epoch)
        with pytest.raises(StaleAppend):
            await append(store, status(seq), epoch=epoch)
        assert await store.read(KEY, 0, 10) == [born(), status(2)]

    @pytest.mark.parametrize("end", sorted(lifecycle.TERMINAL))
    async def test_an_append_to_a_task_that_has_ended_writes_nothing(self, store: Records, end: TaskState) -> None:
        epoch = await create(store)
        await append(store, status(2, end), epoch=epoch)
        with pytest.raises(StaleAppend):
            await append(store, status(3), epoch=epoch)
        assert await store.read(KEY, 2, 10) == []

    async def test_of_racing_appends_one_wins(self, store: Records) -> None:
        epoch = await create(store)
        ends = [COMPLETED, lifecycle.FAILED, lifecycle.CANCELED, lifecycle.REJECTED]
        results = await asyncio.gather(
            *(append(store, status(2, end), epoch=epoch) for end in ends), return_exceptions=True
        )
        assert sorted(type(result).__name__ for result in results) == ["StaleAppend"] * 3 + ["int"]
        winner = next(end for end, result in zip(ends, results, strict=True) if result == 1)
        head = await store.head(KEY)
        assert head is not None
        assert (head.seq, head.state) == (2, winner)

    async def test_appends_happen_in_the_order_of_their_calls_awaited_in_between_or_not(self, store: Records) -> None:
        epochs = {key: await create(store, key) for key in (KEY, KEY._replace(id="t-2"))}
        appending = [
            append(store, chunk(seq, f"{seq} "), epoch=epoch, key=key)
            for seq in range(2, 66)
            for key, epoch in epochs.items()
        ]
        await asyncio.gather(*appending)
        for key in epochs:
            assert await store.read(key, 1, 100) == [chunk(seq, f"{seq} ") for seq in range(2, 66)]

    async def test_a_canceled_append_has_happened_or_not_and_does_not_later(self, store: Records) -> None:
        epoch = await create(store)
        seq = 1
        for turns in range(40):
            appending = asyncio.create_task(append(store, chunk(seq + 1, "x"), epoch=epoch))
            for _ in range(turns % 8):
                await asyncio.sleep(0)
            appending.cancel()
            await asyncio.wait([appending])
            seq = (await head_of(store)).seq
            await append(store, chunk(seq + 1, "y"), epoch=epoch)
            seq += 1
        records = await store.read(KEY, 0, 100)
        assert records is not None
        assert [record.seq for record in records] == list(range(1, seq + 1))

    async def test_a_write_tells_when_it_has_happened(self, store: Records) -> None:
        told: list[int] = []
        written = store.write(Create(KEY, born(), "c-1", ME))
        when_over(written, lambda write: told.append(write.result()))
        assert await written == (await head_of(store)).epoch
        assert told == [written.result()]
        written = store.write(Append(KEY, status(2), told[0]))
        when_over(written, lambda write: told.append(write.result()))
        assert await written == 1
        assert told == [told[0], 1]
        assert await store.read(KEY, 0, 10) == [born(), status(2)]

    async def test_a_write_that_fails_has_its_error_in_the_future(self, store: Records) -> None:
        epoch = await create(store)
        written = store.write(Append(KEY, status(3), epoch))
        await over(written)
        assert isinstance(written.exception(), StaleAppend)
        assert await store.read(KEY, 0, 10) == [born()]

    @pytest.mark.parametrize("turns", range(6))
    async def test_a_create_whose_caller_is_canceled_happens_and_tells(self, store: Records, turns: int) -> None:
        told: list[int] = []
        written = store.write(Create(KEY, born(), "c-1", ME))
        when_over(written, lambda write: told.append(write.result()))
        waiting = asyncio.create_task(outcome(written))
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert written.cancel() is False
        assert [await written] == told == [(await head_of(store)).epoch]

    async def test_writes_to_one_task_tell_in_the_order_of_their_calls(self, store: Records) -> None:
        epoch = await create(store)
        order: list[int] = []
        writes = [store.write(Append(KEY, chunk(seq, f"{seq} "), epoch)) for seq in range(2, 20)]
        for seq, written in enumerate(writes, 2):
            when_over(written, lambda _, seq=seq: order.append(seq))  # type: ignore[misc]
        assert await asyncio.gather(*writes) == [1] * 18
        assert order == list(range(2, 20))
