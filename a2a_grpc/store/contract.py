"""The tests that each task store has to pass. They need pytest, and pytest-asyncio in its automatic mode."""

import asyncio
from typing import Any

import pytest

from a2a_grpc import lifecycle
from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED, SUBMITTED, WORKING
from a2a_grpc.store import (
    CORE,
    WHOLE,
    AlreadyBound,
    Append,
    Binding,
    Create,
    Head,
    ListFilter,
    Pending,
    Position,
    QueueFull,
    Record,
    Scope,
    StaleAppend,
    TaskKey,
    TaskStore,
    TaskView,
    Written,
    over,
    when_over,
)
from a2a_grpc.wire import (
    ROLE_AGENT,
    ROLE_USER,
    Artifact,
    Message,
    Part,
    Role,
    StreamResponse,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)

VIEWS = [
    WHOLE,
    CORE,
    *(TaskView(artifacts, length) for artifacts in (True, False) for length in (None, 0, 1, 2, 3, 99)),
]
KEY = TaskKey("tenant", "owner", "t-1")
NEVER_S = 1e6
"""An age in seconds that nothing in a test reaches."""
ME, OTHER = "replica-1", "replica-2"
LEASE_S = 60.0
WAITING = Pending(0, "skill", b"request", '{"subject": "Zo\u00eb"}')


def born(key: TaskKey = KEY, *, at_us: int = 1_000_000, context_id: str = "c-1") -> Record:
    task = Task(id=key.id, context_id=context_id, status=TaskStatus(state=SUBMITTED))
    return Record(1, StreamResponse(task=task).SerializeToString(), SUBMITTED, 1, at_us)


def status(
    seq: int, state: TaskState = WORKING, *, at_us: int = 2_000_000, message: bytes = b"", turn: int = 1
) -> Record:
    event = TaskStatusUpdateEvent(task_id=KEY.id, context_id="c-1", status=TaskStatus(state=state))
    return Record(seq, StreamResponse(status_update=event).SerializeToString(), state, turn, at_us, message)


def chunk(seq: int, text: str, *, append: bool = True, state: TaskState = WORKING) -> Record:
    artifact = Artifact(artifact_id="a", parts=[Part(text=text)])
    event = TaskArtifactUpdateEvent(task_id=KEY.id, context_id="c-1", artifact=artifact, append=append)
    return Record(seq, StreamResponse(artifact_update=event).SerializeToString(), state, 1)


async def create(
    store: TaskStore, key: TaskKey = KEY, *, at_us: int = 1_000_000, context_id: str = "c-1", **more: Any
) -> int:
    """Create a task that ME holds. Return the epoch of its claim."""
    return await store.write(Create(key, born(key, at_us=at_us, context_id=context_id), context_id, ME, **more))


async def append(store: TaskStore, record: Record, *, epoch: int, key: TaskKey = KEY, **more: Any) -> int:
    return await store.write(Append(key, record, epoch, **more))


async def _outcome(written: Written) -> int:
    return await written


async def head_of(store: TaskStore, key: TaskKey = KEY) -> Head:
    head = await store.head(key)
    assert head is not None
    return head


async def enqueue(store: TaskStore, *, replica: str = ME, limit: int = 16, **more: Any) -> Head:
    head = await store.enqueue(KEY, WAITING, replica=replica, limit=limit, **more)
    assert head is not None
    return head


async def claim(store: TaskStore, replica: str, *, force: bool = False) -> Head:
    head = await store.claim(KEY, replica, force=force)
    assert head is not None
    return head


def said(text: str, *, by: Role = ROLE_USER) -> Message:
    return Message(message_id=text[:16], role=by, parts=[Part(text=text)])


def talk() -> list[Record]:
    """Return the log of a task of three turns.

    It has messages of both sides, two artifacts, and metadata that a later event brings.
    """
    first = Task(id=KEY.id, context_id="c-1", status=TaskStatus(state=SUBMITTED), history=[said("one")])
    first.metadata.update({"a": 1})
    told = TaskStatus(state=WORKING, message=said("half way", by=ROLE_AGENT))
    asked = TaskStatus(state=INPUT_REQUIRED, message=said("and?", by=ROLE_AGENT))
    late = TaskStatusUpdateEvent(task_id=KEY.id, context_id="c-1", status=asked)
    late.metadata.update({"b": 2})
    return [
        Record(1, StreamResponse(task=first).SerializeToString(), SUBMITTED, 1, 1_000_000),
        status(2),
        _updated(3, TaskStatusUpdateEvent(task_id=KEY.id, context_id="c-1", status=told)),
        chunk(4, "x" * 2000, append=False),
        status(5),
        _updated(6, late),
        status(7, message=said("two").SerializeToString(), turn=2),
        chunk(8, "y" * 2000)._replace(turn=2),
        _updated(9, TaskStatusUpdateEvent(task_id=KEY.id, context_id="c-1", status=told))._replace(turn=2),
        status(10, message=said("three").SerializeToString(), turn=3),
        status(11, COMPLETED, turn=3),
    ]


def _updated(seq: int, update: TaskStatusUpdateEvent) -> Record:
    return Record(seq, StreamResponse(status_update=update).SerializeToString(), update.status.state, 1, 2_000_000)


def seen(whole: Task, view: TaskView) -> Task:
    """Return the parts of a task that a view names."""
    task = Task()
    task.CopyFrom(whole)
    if not view.artifacts:
        task.ClearField("artifacts")
    if view.history_length is not None:
        del task.history[: max(0, len(task.history) - view.history_length)]
    return task


async def filled(store: TaskStore, count: int, *, artifact: int = 0, history: int = 0) -> None:
    """Create the tasks `t-00`, `t-01`, …, each with an artifact and with two messages of so many bytes."""
    for place in range(count):
        key = KEY._replace(id=f"t-{place:02}")
        task = Task(id=key.id, context_id="c-1", status=TaskStatus(state=SUBMITTED), history=[said("x" * history)])
        record = Record(1, StreamResponse(task=task).SerializeToString(), SUBMITTED, 1, place + 1)
        epoch = await store.write(Create(key, record, "c-1", ME))
        added = said("x" * history).SerializeToString()
        await append(store, status(2, at_us=place + 1, message=added, turn=2), epoch=epoch, key=key)
        await append(store, chunk(3, "x" * artifact)._replace(turn=2), epoch=epoch, key=key)


class StoreContract:
    """The tests that each task store has to pass. Each test is one guarantee of `TaskStore`.

    Make a subclass with a fixture `store`, which gives each test a store that is open and empty. Run it with pytest.

    Example:
        class TestMyStore(StoreContract):
            @pytest.fixture
            async def store(self):
                store = MyStore()
                await store.open()
                yield store
                await store.close()
    """

    async def test_a_created_task_is_found_with_its_first_record(self, store: TaskStore) -> None:
        epoch = await create(store)
        head = await store.head(KEY)
        assert head is not None
        assert (head.seq, head.state, head.turn, head.epoch, head.context_id) == (1, SUBMITTED, 1, epoch, "c-1")
        assert head.size == len(born().event)
        assert await store.read(KEY, 0, 10) == [born()]

    async def test_an_unknown_task_is_none_everywhere(self, store: TaskStore) -> None:
        assert await store.head(KEY) is None
        assert await store.load(KEY) is None
        assert await store.read(KEY, 0, 10) is None
        assert await store.claim(KEY, ME) is None
        assert await store.enqueue(KEY, WAITING, replica=ME, limit=1) is None
        assert await store.ask_cancel(KEY, b"") is None
        assert await store.pending(KEY) == []
        assert await store.seqs([KEY]) == [0]

    @pytest.mark.parametrize("other", [KEY._replace(tenant="x"), KEY._replace(owner="x"), KEY._replace(id="x")])
    async def test_keys_are_exact(self, store: TaskStore, other: TaskKey) -> None:
        await create(store)
        assert await store.head(other) is None
        assert await store.read(other, 0, 10) is None
        assert (await store.list(other.scope, ListFilter(), None, 10)).total == (1 if other.scope == KEY.scope else 0)

    @pytest.mark.parametrize("odd", ["é" * 256, "a'b\"c;--", "日本語", "\U0001f600", " ", "%_\\"])
    async def test_ids_may_be_any_text(self, store: TaskStore, odd: str) -> None:
        key = TaskKey(odd, odd, odd)
        epoch = await create(store, key, context_id=odd, bind=(odd, Binding(b"f", odd, 1)))
        await append(store, status(2), epoch=epoch, key=key)
        assert (await store.list(key.scope, ListFilter(context_id=odd), None, 10)).total == 1
        assert await store.bound(key.scope, odd) == Binding(b"f", odd, 1)

    async def test_records_are_read_in_order_from_any_place_in_pages_of_any_size(self, store: TaskStore) -> None:
        epoch = await create(store)
        records = [born(), status(2), *(chunk(seq, f"{seq} ") for seq in range(3, 21))]
        for record in records[1:]:
            await append(store, record, epoch=epoch)
        assert await store.read(KEY, 0, 100) == records
        assert await store.read(KEY, 7, 5) == records[7:12]
        assert await store.read(KEY, 20, 5) == []

    async def test_a_snapshot_and_the_records_after_it_are_the_fold_of_the_log(self, store: TaskStore) -> None:
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
    async def test_an_append_anywhere_but_at_the_end_writes_nothing(self, store: TaskStore, seq: int) -> None:
        epoch = await create(store)
        await append(store, status(2), epoch=epoch)
        with pytest.raises(StaleAppend):
            await append(store, status(seq), epoch=epoch)
        assert await store.read(KEY, 0, 10) == [born(), status(2)]

    async def test_a_later_claim_voids_the_earlier_ones(self, store: TaskStore) -> None:
        first = await create(store)
        second = (await claim(store, OTHER, force=True)).epoch
        assert second != first
        with pytest.raises(StaleAppend):
            await append(store, status(2), epoch=first)
        await append(store, status(2), epoch=second)
        head = await head_of(store)
        assert (head.seq, head.epoch, head.replica) == (2, second, OTHER)

    @pytest.mark.parametrize("end", sorted(lifecycle.TERMINAL))
    async def test_nothing_follows_a_terminal_record(self, store: TaskStore, end: TaskState) -> None:
        epoch = await create(store)
        await append(store, status(2, end), epoch=epoch)
        for _ in range(2):
            with pytest.raises(StaleAppend):
                await append(store, status(3), epoch=epoch)
            epoch = (await claim(store, ME)).epoch
        assert await store.read(KEY, 2, 10) == []

    async def test_of_racing_appends_one_wins(self, store: TaskStore) -> None:
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

    async def test_appends_happen_in_the_order_of_their_calls_awaited_in_between_or_not(self, store: TaskStore) -> None:
        epochs = {key: await create(store, key) for key in (KEY, KEY._replace(id="t-2"))}
        appending = [
            append(store, chunk(seq, f"{seq} "), epoch=epoch, key=key)
            for seq in range(2, 66)
            for key, epoch in epochs.items()
        ]
        await asyncio.gather(*appending)
        for key in epochs:
            assert await store.read(key, 1, 100) == [chunk(seq, f"{seq} ") for seq in range(2, 66)]

    async def test_a_canceled_append_has_happened_or_not_and_does_not_later(self, store: TaskStore) -> None:
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

    async def test_a_write_tells_when_it_has_happened(self, store: TaskStore) -> None:
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

    async def test_a_write_that_fails_has_its_error_in_the_future(self, store: TaskStore) -> None:
        epoch = await create(store)
        for append in (Append(KEY, status(3), epoch), Append(KEY, status(2), epoch + 1)):
            written = store.write(append)
            await over(written)
            assert isinstance(written.exception(), StaleAppend)
        assert await store.read(KEY, 0, 10) == [born()]

    @pytest.mark.parametrize("turns", range(6))
    async def test_a_create_whose_caller_is_canceled_happens_and_tells(self, store: TaskStore, turns: int) -> None:
        told: list[int] = []
        written = store.write(Create(KEY, born(), "c-1", ME))
        when_over(written, lambda write: told.append(write.result()))
        waiting = asyncio.create_task(_outcome(written))
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert written.cancel() is False
        assert [await written] == told == [(await head_of(store)).epoch]

    async def test_writes_to_one_task_tell_in_the_order_of_their_calls(self, store: TaskStore) -> None:
        epoch = await create(store)
        order: list[int] = []
        writes = [store.write(Append(KEY, chunk(seq, f"{seq} "), epoch)) for seq in range(2, 20)]
        for seq, written in enumerate(writes, 2):
            when_over(written, lambda _, seq=seq: order.append(seq))  # type: ignore[misc]
        assert await asyncio.gather(*writes) == [1] * 18
        assert order == list(range(2, 20))

    async def test_a_list_runs_from_the_newest_status_to_the_oldest(self, store: TaskStore) -> None:
        for place, at_us in enumerate([5, 9, 7, 9, 1]):
            await create(store, KEY._replace(id=f"t-{place}"), at_us=at_us)
        page = await store.list(KEY.scope, ListFilter(), None, 10)
        assert [listed.position for listed in page.tasks] == [
            Position(9, "t-3"),
            Position(9, "t-1"),
            Position(7, "t-2"),
            Position(5, "t-0"),
            Position(1, "t-4"),
        ]
        assert (page.total, page.more) == (5, False)
        assert [Task.FromString(listed.snapshot.task).id for listed in page.tasks] == [
            "t-3",
            "t-1",
            "t-2",
            "t-0",
            "t-4",
        ]

    async def test_a_new_status_moves_a_task_to_the_front_and_an_artifact_does_not(self, store: TaskStore) -> None:
        epoch = await create(store, at_us=1)
        await create(store, KEY._replace(id="t-2"), at_us=5)
        await append(store, chunk(2, "x", state=SUBMITTED), epoch=epoch)
        assert [t.position.id for t in (await store.list(KEY.scope, ListFilter(), None, 10)).tasks] == ["t-2", "t-1"]
        await append(store, status(3, at_us=6), epoch=epoch)
        assert [t.position.id for t in (await store.list(KEY.scope, ListFilter(), None, 10)).tasks] == ["t-1", "t-2"]

    async def test_pages_join_without_gap_or_repeat(self, store: TaskStore) -> None:
        for place in range(23):
            await create(store, KEY._replace(id=f"t-{place:02}"), at_us=1 + place // 3)
        whole = [t.position for t in (await store.list(KEY.scope, ListFilter(), None, 100)).tasks]
        seen: list[Position] = []
        more, after = True, None
        while more:
            page = await store.list(KEY.scope, ListFilter(), after, 5)
            assert page.total == 23
            seen += [listed.position for listed in page.tasks]
            more, after = page.more, seen[-1]
        assert seen == whole

    async def test_filters_hold_together(self, store: TaskStore) -> None:
        for place, (context_id, at_us, end) in enumerate(
            [("a", 10, COMPLETED), ("a", 20, WORKING), ("b", 30, COMPLETED), ("a", 40, COMPLETED)]
        ):
            key = KEY._replace(id=f"t-{place}")
            epoch = await create(store, key, at_us=1, context_id=context_id)
            await append(store, status(2, end, at_us=at_us), epoch=epoch, key=key)

        async def found(where: ListFilter) -> list[str]:
            page = await store.list(KEY.scope, where, None, 10)
            assert page.total == len(page.tasks)
            return [listed.position.id for listed in page.tasks]

        assert await found(ListFilter(context_id="a")) == ["t-3", "t-1", "t-0"]
        assert await found(ListFilter(state=COMPLETED)) == ["t-3", "t-2", "t-0"]
        assert await found(ListFilter(since_us=20)) == ["t-3", "t-2", "t-1"]
        assert await found(ListFilter("a", COMPLETED, 20)) == ["t-3"]
        assert await found(ListFilter(context_id="c")) == []

    @pytest.mark.parametrize("view", VIEWS, ids=str)
    async def test_a_view_gives_the_parts_that_it_names_after_every_record(
        self, store: TaskStore, view: TaskView
    ) -> None:
        records, whole = talk(), Task()
        epoch = await store.write(Create(KEY, records[0], "c-1", ME))
        for record in records:
            if record.seq > 1:
                await append(store, record, epoch=epoch)
            lifecycle.fold(whole, [record.unpack()])
            loaded = await store.load(KEY, view)
            (listed,) = (await store.list(KEY.scope, ListFilter(), None, 10, view=view)).tasks
            for snapshot in (loaded, listed.snapshot):
                assert snapshot is not None
                assert Task.FromString(snapshot.task) == seen(whole, view)
                assert (snapshot.seq, snapshot.state, snapshot.turn) == (record.seq, record.state, record.turn)

    @pytest.mark.parametrize(
        ("view", "artifact", "history"),
        [
            (WHOLE, 10_000, 0),
            (TaskView(history_length=0), 10_000, 50_000),
            (TaskView(artifacts=False), 0, 5_000),
            (TaskView(artifacts=False, history_length=1), 0, 10_000),
        ],
        ids=str,
    )
    async def test_a_page_ends_before_its_tasks_have_more_bytes_than_fit(
        self, store: TaskStore, view: TaskView, artifact: int, history: int
    ) -> None:
        await filled(store, 8, artifact=artifact, history=history)
        found: list[str] = []
        more, after = True, None
        while more:
            page = await store.list(KEY.scope, ListFilter(), after, 5, view=view, max_bytes=45_000)
            sizes = [len(listed.snapshot.task) for listed in page.tasks]
            assert sum(sizes) <= 45_000
            assert len(sizes) in (1, 2, 3, 4)
            assert page.total == 8
            found += [listed.position.id for listed in page.tasks]
            more, after = page.more, page.tasks[-1].position
        assert found == [f"t-{place:02}" for place in reversed(range(8))]

    async def test_what_a_view_leaves_out_does_not_count(self, store: TaskStore) -> None:
        await filled(store, 6, artifact=10_000, history=10_000)
        page = await store.list(KEY.scope, ListFilter(), None, 6, view=CORE, max_bytes=20_000)
        assert (len(page.tasks), page.more) == (6, False)
        page = await store.list(KEY.scope, ListFilter(), None, 6, view=TaskView(artifacts=False), max_bytes=200_000)
        assert (len(page.tasks), page.more) == (6, False)

    async def test_a_page_has_one_task_however_large(self, store: TaskStore) -> None:
        await filled(store, 2, artifact=10_000)
        page = await store.list(KEY.scope, ListFilter(), None, 5, max_bytes=100)
        assert [listed.position.id for listed in page.tasks] == ["t-01"]
        assert page.more

    async def test_lists_follow_each_status_whatever_was_listed_before(self, store: TaskStore) -> None:
        """Compare lists of every filter with the expected ones while tasks are created, moved, ended and purged."""
        states: dict[str, TaskState] = {}
        contexts: dict[str, str] = {}
        epochs: dict[str, int] = {}
        moments: dict[str, int] = {}
        for step in range(60):
            id = f"t-{step * 7 % 20:02}"
            key = KEY._replace(id=id)
            if id not in states:
                contexts[id] = f"c-{step % 3}"
                epochs[id] = await create(store, key, at_us=1000 - step, context_id=contexts[id])
                states[id], moments[id] = SUBMITTED, 1000 - step
            elif states[id] not in lifecycle.TERMINAL:
                head = await head_of(store, key)
                states[id], moments[id] = (COMPLETED if step % 4 == 0 else WORKING), 1000 + step
                await append(store, status(head.seq + 1, states[id], at_us=1000 + step), epoch=epochs[id], key=key)
            if step == 40:
                await store.purge(ended_age_s=0.0, keep=100, bound_age_s=NEVER_S, limit=100)
                for gone in [id for id in states if states[id] == COMPLETED]:
                    for known in (states, contexts, epochs, moments):
                        known.pop(gone)
            for state in (0, SUBMITTED, WORKING, COMPLETED):
                for context_id in ("", "c-0", "c-2", "unknown"):
                    for since_us in (0, 1010):
                        expected = sorted(
                            (
                                Position(moments[id], id)
                                for id in states
                                if state in (0, states[id])
                                and context_id in ("", contexts[id])
                                and moments[id] >= since_us
                            ),
                            reverse=True,
                        )
                        where = ListFilter(context_id, state, since_us)
                        if step % 10 == 0 or (state, since_us) == (WORKING, 1010):
                            page = await store.list(KEY.scope, where, None, 100)
                            assert [listed.position for listed in page.tasks] == expected
                            assert page.total == len(expected)

    async def test_an_idempotency_key_is_bound_once_per_scope(self, store: TaskStore) -> None:
        first = ("k", Binding(b"one", KEY.id, 1))
        await create(store, bind=first)
        with pytest.raises(AlreadyBound) as bound:
            await create(store, KEY._replace(id="t-2"), bind=("k", Binding(b"two", "t-2", 1)))
        assert bound.value.binding == first[1]
        assert await store.head(KEY._replace(id="t-2")) is None
        with pytest.raises(AlreadyBound):
            await store.bind(KEY.scope, "k", Binding(b"three"))
        assert await store.bound(KEY.scope, "k") == first[1]
        assert await store.bound(Scope("tenant", "somebody else"), "k") is None
        await store.bind(Scope("tenant", "somebody else"), "k", Binding(b"three", reply=b"hi"))

    async def test_an_append_that_binds_a_bound_key_writes_nothing(self, store: TaskStore) -> None:
        epoch = await create(store)
        await store.bind(KEY.scope, "k", Binding(b"one", KEY.id, 1))
        with pytest.raises(AlreadyBound):
            await append(store, status(2), epoch=epoch, bind=("k", Binding(b"two", KEY.id, 2)))
        assert await store.read(KEY, 1, 10) == []
        with pytest.raises(StaleAppend):
            await append(store, status(7), epoch=epoch, bind=("fresh", Binding(b"two", KEY.id, 2)))
        assert await store.bound(KEY.scope, "fresh") is None

    async def test_ages_go_by_the_stores_clock_whatever_time_a_replica_wrote(self, store: TaskStore) -> None:
        for place, at_us in enumerate((1, 1 << 52)):
            key = KEY._replace(id=f"t-{place}")
            epoch = await create(store, key, at_us=at_us)
            await append(store, status(2, COMPLETED, at_us=at_us), epoch=epoch, key=key)
        assert await store.purge(ended_age_s=3600.0, keep=100, bound_age_s=3600.0, limit=100) == 0
        assert await store.purge(ended_age_s=0.0, keep=100, bound_age_s=3600.0, limit=100) == 2

    async def test_a_purge_takes_the_ended_by_age_and_number_and_no_other(self, store: TaskStore) -> None:
        for place in range(6):
            key = KEY._replace(id=f"t-{place}")
            epoch = await create(store, key, at_us=1)
            await append(
                store, status(2, WORKING if place == 0 else COMPLETED, at_us=10 * place + 1), epoch=epoch, key=key
            )

        async def purge(ended_age_s: float, keep: int, limit: int = 100) -> tuple[int, list[str]]:
            removed = await store.purge(ended_age_s=ended_age_s, keep=keep, bound_age_s=NEVER_S, limit=limit)
            left = (await store.list(KEY.scope, ListFilter(), None, 10)).tasks
            return removed, sorted(listed.position.id for listed in left)

        assert await purge(NEVER_S, 100) == (0, ["t-0", "t-1", "t-2", "t-3", "t-4", "t-5"])
        assert await purge(NEVER_S, 4) == (1, ["t-0", "t-2", "t-3", "t-4", "t-5"])
        assert await purge(NEVER_S, 3) == (1, ["t-0", "t-3", "t-4", "t-5"])
        assert await purge(0.0, 100, limit=2) == (2, ["t-0", "t-5"])
        assert await purge(0.0, 0) == (1, ["t-0"])
        assert await store.read(KEY._replace(id="t-5"), 0, 10) is None

    async def test_a_purge_forgets_idempotency_keys_by_age(self, store: TaskStore) -> None:
        await store.bind(KEY.scope, "k", Binding(b"one"))
        await store.purge(ended_age_s=NEVER_S, keep=0, bound_age_s=NEVER_S, limit=10)
        assert await store.bound(KEY.scope, "k") is not None
        await store.purge(ended_age_s=NEVER_S, keep=0, bound_age_s=0.0, limit=10)
        assert await store.bound(KEY.scope, "k") is None

    # -- replicas

    async def test_a_replica_is_alive_until_it_leaves(self, store: TaskStore) -> None:
        await store.join(ME, LEASE_S)
        await create(store)
        assert await store.renew(ME, LEASE_S)
        assert await store.lost(10) == []
        assert await store.held(ME) == [KEY]
        assert await store.held(OTHER) == []
        assert not (await head_of(store)).is_lost
        await store.leave(ME)
        assert not await store.renew(ME, LEASE_S)
        assert await store.lost(10) == [KEY]
        head = await head_of(store)
        assert (head.replica, head.is_lost) == (ME, True)

    async def test_a_replica_whose_lease_has_lapsed_is_declared_dead_by_another(self, store: TaskStore) -> None:
        await store.join(ME, 0.05)
        await store.join(OTHER, LEASE_S)
        await create(store)
        while not await store.lost(10):
            assert await store.renew(OTHER, LEASE_S)
        assert not await store.renew(ME, LEASE_S), "nobody comes back from the dead"

    async def test_a_late_renewal_counts_where_nobody_has_noticed(self, store: TaskStore) -> None:
        await store.join(ME, 0.001)
        await create(store)
        await asyncio.sleep(0.01)
        assert await store.renew(ME, LEASE_S)
        assert await store.lost(10) == []

    async def test_a_replica_that_renews_late_declares_nobody_dead(self, store: TaskStore) -> None:
        """Keep the first replica from taking the tasks of the others when all are late after an outage."""
        await store.join(ME, 0.001)
        await store.join(OTHER, 0.001)
        await create(store)
        await asyncio.sleep(0.01)
        assert await store.renew(OTHER, LEASE_S)
        assert await store.lost(10) == []
        assert await store.renew(ME, LEASE_S)

    async def test_only_tasks_that_somebody_held_are_lost(self, store: TaskStore) -> None:
        await store.join(ME, LEASE_S)
        for place, end in enumerate([WORKING, INPUT_REQUIRED, INPUT_REQUIRED, COMPLETED]):
            key = KEY._replace(id=f"t-{place}")
            epoch = await create(store, key)
            await append(store, status(2, end), epoch=epoch, key=key, release=place == 2)
        await store.leave(ME)
        assert sorted(key.id for key in await store.lost(10)) == ["t-0", "t-1"]
        assert len(await store.lost(1)) == 1

    async def test_a_task_is_claimed_from_nobody_or_from_the_dead(self, store: TaskStore) -> None:
        await store.join(ME, LEASE_S)
        await store.join(OTHER, LEASE_S)
        epoch = await create(store)
        held = await claim(store, OTHER)
        assert (held.replica, held.epoch, held.attempt) == (ME, epoch, 1)
        again = await claim(store, ME)
        assert again.epoch > epoch
        assert (again.replica, again.attempt) == (ME, 2)
        await store.leave(ME)
        taken = await claim(store, OTHER)
        assert taken.epoch > again.epoch
        assert (taken.replica, taken.attempt, taken.is_lost) == (OTHER, 3, False)
        await append(store, status(2, INPUT_REQUIRED), epoch=taken.epoch, release=True)
        assert (await head_of(store)).replica == ""
        assert (await claim(store, OTHER)).replica == OTHER

    async def test_of_racing_claims_one_wins(self, store: TaskStore) -> None:
        await store.join(ME, LEASE_S)
        for replica in (names := [f"other-{place}" for place in range(8)]):
            await store.join(replica, LEASE_S)
        await create(store)
        await store.leave(ME)
        heads = await asyncio.gather(*(claim(store, replica) for replica in names))
        assert len({(head.replica, head.epoch) for head in heads}) == 1
        assert sum(head.replica == replica for head, replica in zip(heads, names, strict=True)) == 1

    async def test_attempts_count_until_a_turn_opens_that_leaves_the_one_before_it_done(self, store: TaskStore) -> None:
        await create(store)
        head = await claim(store, OTHER)
        assert head.attempt == 2
        await append(store, status(2, turn=2), epoch=head.epoch)
        assert (await head_of(store)).attempt == 2
        await append(store, status(3, turn=3), epoch=head.epoch, done=2)
        assert (await head_of(store)).attempt == 1

    async def test_a_task_that_is_lost_while_it_waits_for_its_user_counts_no_attempt(self, store: TaskStore) -> None:
        await store.join(ME, LEASE_S)
        epoch = await create(store)
        await append(store, status(2, INPUT_REQUIRED), epoch=epoch)
        await store.leave(ME)
        taken = await claim(store, OTHER)
        assert (taken.replica, taken.attempt) == (OTHER, 1)

    async def test_a_claimed_task_that_has_ended_stays_as_it_is(self, store: TaskStore) -> None:
        epoch = await create(store)
        await append(store, status(2, COMPLETED), epoch=epoch)
        before = await head_of(store)
        assert before.replica == ""
        assert await claim(store, OTHER, force=True) == before
        assert await store.ask_cancel(KEY, b"why") == before

    # -- messages that wait

    async def test_a_message_waits_for_the_one_who_holds_the_task(self, store: TaskStore) -> None:
        await store.join(ME, LEASE_S)
        epoch = await create(store)
        head = await enqueue(store, replica=OTHER, bind=("k", Binding(b"f", KEY.id, 0)))
        assert (head.replica, head.epoch, head.turn, head.last_turn) == (ME, epoch, 1, 2)
        assert await store.pending(KEY) == [WAITING._replace(turn=2)]
        assert await store.bound(KEY.scope, "k") == Binding(b"f", KEY.id, 2)
        assert [(key, head.last_turn) for key, head in await store.wanted(ME)] == [(KEY, 2)]
        assert await store.wanted(OTHER) == []

    async def test_a_message_to_a_task_that_nobody_holds_claims_it(self, store: TaskStore) -> None:
        epoch = await create(store)
        await append(store, status(2, INPUT_REQUIRED), epoch=epoch, release=True)
        head = await enqueue(store, replica=OTHER)
        assert (head.replica, head.last_turn) == (OTHER, 2)
        assert head.epoch > epoch
        with pytest.raises(StaleAppend):
            await append(store, status(3), epoch=epoch)
        assert await append(store, status(3, turn=2), epoch=head.epoch, done=2) == 2
        assert await store.pending(KEY) == []

    async def test_a_task_is_not_released_while_a_message_waits(self, store: TaskStore) -> None:
        epoch = await create(store)
        await enqueue(store)
        assert await append(store, status(2, INPUT_REQUIRED), epoch=epoch, release=True) == 2
        await store.release(KEY, epoch)
        assert (await head_of(store)).replica == ME
        assert await append(store, status(3, turn=2), epoch=epoch, done=2) == 2
        assert await append(store, status(4, INPUT_REQUIRED, turn=2), epoch=epoch) == 2
        await store.release(KEY, epoch - 1)
        assert (await head_of(store)).replica == ME, "a void claim releases nothing"
        await store.release(KEY, epoch)
        assert (await head_of(store)).replica == ""

    async def test_messages_wait_in_order_up_to_a_limit(self, store: TaskStore) -> None:
        await create(store, pending=WAITING._replace(turn=1))
        for turn in (2, 3):
            assert (await enqueue(store, limit=2)).last_turn == turn
        with pytest.raises(QueueFull):
            await enqueue(store, limit=2, bind=("k", Binding(b"f")))
        assert await store.bound(KEY.scope, "k") is None
        assert [pending.turn for pending in await store.pending(KEY)] == [1, 2, 3]

    async def test_a_question_takes_its_answer_whatever_the_limit(self, store: TaskStore) -> None:
        epoch = await create(store)
        await append(store, status(2, INPUT_REQUIRED), epoch=epoch)
        assert (await enqueue(store, limit=0)).last_turn == 2
        with pytest.raises(QueueFull):
            await enqueue(store, limit=0)

    async def test_the_end_of_a_task_forgets_what_waits(self, store: TaskStore) -> None:
        epoch = await create(store)
        await enqueue(store)
        await store.ask_cancel(KEY, b"why")
        assert await append(store, status(2, COMPLETED), epoch=epoch) == 1
        head = await head_of(store)
        assert (head.last_turn, head.replica, head.cancel) == (1, "", None)
        assert await store.pending(KEY) == []
        assert await store.wanted(ME) == []
        assert await store.held(ME) == []
        with pytest.raises(StaleAppend):
            await enqueue(store)

    async def test_a_bound_key_enqueues_nothing(self, store: TaskStore) -> None:
        epoch = await create(store)
        await store.bind(KEY.scope, "k", Binding(b"one"))
        with pytest.raises(AlreadyBound):
            await enqueue(store, bind=("k", Binding(b"two", KEY.id)))
        head = await head_of(store)
        assert (head.last_turn, head.epoch) == (1, epoch)
        assert await store.pending(KEY) == []

    async def test_a_message_that_an_append_keeps_stands_before_those_that_wait(self, store: TaskStore) -> None:
        epoch = await create(store)
        await enqueue(store)
        kept = WAITING._replace(turn=1, request=b"first")
        await append(store, status(2, INPUT_REQUIRED), epoch=epoch, keep=kept)
        assert await store.pending(KEY) == [kept, WAITING._replace(turn=2)]
        await append(store, status(3, turn=2), epoch=epoch)
        await append(store, status(4, INPUT_REQUIRED, turn=2), epoch=epoch)
        assert await store.pending(KEY) == [kept, WAITING._replace(turn=2)]
        await append(store, status(5, turn=3), epoch=epoch, done=2)
        assert await store.pending(KEY) == []

    async def test_a_message_may_be_kept_twice(self, store: TaskStore) -> None:
        epoch = await create(store)
        kept = WAITING._replace(turn=1)
        for seq in (2, 3):
            await append(store, status(seq, INPUT_REQUIRED), epoch=epoch, keep=kept)
        assert await store.pending(KEY) == [kept]
        assert (await head_of(store)).last_turn == 1, "it does not wait for a turn"

    async def test_the_end_of_a_task_forgets_what_is_kept(self, store: TaskStore) -> None:
        epoch = await create(store)
        await append(store, status(2, INPUT_REQUIRED), epoch=epoch, keep=WAITING._replace(turn=1))
        await append(store, status(3, COMPLETED), epoch=epoch)
        assert await store.pending(KEY) == []

    async def test_the_open_and_the_question_of_a_turn_may_come_in_one_batch(self, store: TaskStore) -> None:
        epoch = await create(store)
        await enqueue(store)
        kept = WAITING._replace(turn=2)
        await asyncio.gather(
            append(store, status(2, turn=2), epoch=epoch, done=2),
            append(store, status(3, INPUT_REQUIRED, turn=2), epoch=epoch, keep=kept),
        )
        assert await store.pending(KEY) == [kept]

    # -- tasks that wait for their users

    @pytest.mark.parametrize("state", sorted(lifecycle.INTERRUPTED))
    async def test_a_task_waits_from_its_question_to_its_answer(self, store: TaskStore, state: TaskState) -> None:
        epoch = await create(store)
        assert (await store.count_waiting(), await store.waiting_longer(0.0, 10)) == (0, [])
        await append(store, status(2, state), epoch=epoch)
        await asyncio.sleep(0.02)
        assert (await store.count_waiting(), await store.waiting_longer(0.01, 10)) == (1, [KEY])
        assert await store.waiting_longer(60.0, 10) == []
        await append(store, status(3, turn=2), epoch=epoch)
        assert (await store.count_waiting(), await store.waiting_longer(0.0, 10)) == (0, [])

    async def test_a_wait_is_measured_from_the_newest_question_by_the_clock_of_the_store(
        self, store: TaskStore
    ) -> None:
        epoch = await create(store)
        await append(store, status(2, INPUT_REQUIRED, at_us=1), epoch=epoch)
        assert await store.waiting_longer(60.0, 10) == [], "what a replica says of the time does not count"
        await asyncio.sleep(0.2)
        await append(store, status(3, INPUT_REQUIRED), epoch=epoch)
        assert await store.waiting_longer(0.2, 10) == []

    async def test_the_longest_waiting_come_first_and_the_ended_not_at_all(self, store: TaskStore) -> None:
        keys = [KEY._replace(id=f"t-{place}") for place in (3, 1, 2, 0)]
        epochs = {key: await create(store, key) for key in keys}
        for key in keys:
            await append(store, status(2, INPUT_REQUIRED), epoch=epochs[key], key=key)
            await asyncio.sleep(0.005)
        await append(store, status(3, COMPLETED), epoch=epochs[keys[1]], key=keys[1])
        assert await store.waiting_longer(0.0, 10) == [keys[0], keys[2], keys[3]]
        assert await store.waiting_longer(0.0, 2) == [keys[0], keys[2]]
        assert await store.count_waiting() == 3

    async def test_a_task_whose_message_has_come_waits_no_longer(self, store: TaskStore) -> None:
        epoch = await create(store)
        await append(store, status(2, INPUT_REQUIRED), epoch=epoch, release=True)
        await asyncio.sleep(0.005)
        assert await store.waiting_longer(0.0, 10) == [KEY]
        await enqueue(store)
        assert await store.waiting_longer(0.0, 10) == []

    async def test_claims_and_updates_that_bring_no_status_do_not_count_as_an_answer(self, store: TaskStore) -> None:
        epoch = await create(store)
        await append(store, status(2, INPUT_REQUIRED), epoch=epoch)
        await append(store, chunk(3, "x", state=INPUT_REQUIRED), epoch=epoch)
        await claim(store, ME)
        await asyncio.sleep(0.005)
        assert (await store.count_waiting(), await store.waiting_longer(0.0, 10)) == (1, [KEY])

    async def test_of_racing_messages_each_gets_a_turn_of_its_own(self, store: TaskStore) -> None:
        await create(store)
        heads = await asyncio.gather(*(enqueue(store) for _ in range(8)))
        assert sorted(head.last_turn for head in heads) == list(range(2, 10))

    async def test_the_first_request_to_cancel_stays(self, store: TaskStore) -> None:
        await store.join(ME, LEASE_S)
        await create(store)
        for metadata in (b"", b"later"):
            asked = await store.ask_cancel(KEY, metadata)
            assert asked is not None
            assert (asked.cancel, asked.replica) == (b"", ME)
        assert [head.cancel for _, head in await store.wanted(ME)] == [b""]

    async def test_seqs_are_those_of_the_tasks_asked_for(self, store: TaskStore) -> None:
        epoch = await create(store)
        await append(store, status(2), epoch=epoch)
        await create(store, KEY._replace(id="t-2"))
        keys = [KEY._replace(id="t-2"), KEY._replace(id="unknown"), KEY, KEY._replace(owner="x")]
        assert await store.seqs(keys) == [1, 0, 2, 0]
        assert await store.seqs([]) == []

    async def test_the_first_agents_name_stays(self, store: TaskStore) -> None:
        names = ["Poet \U0001f40d", "Critic", "Poet \U0001f40d"]
        assert {await store.belong_to(name) for name in names} == {"Poet \U0001f40d"}

    async def test_of_agents_that_come_at_the_same_time_one_gives_its_name(self, store: TaskStore) -> None:
        kept = await asyncio.gather(*(store.belong_to(f"agent {number}") for number in range(8)))
        assert len(set(kept)) == 1
        assert kept[0] in {f"agent {number}" for number in range(8)}

    async def test_a_store_that_is_open_answers(self, store: TaskStore) -> None:
        await store.ping()
