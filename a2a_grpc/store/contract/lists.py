"""The tests of the lists and the retention of a store that keeps tasks."""

import pytest

from a2a_grpc import lifecycle
from a2a_grpc.lifecycle import COMPLETED, SUBMITTED, WORKING
from a2a_grpc.store import (
    CORE,
    WHOLE,
    Create,
    ListFilter,
    Position,
    Records,
    TaskView,
)
from a2a_grpc.store.contract.given import (
    KEY,
    ME,
    NEVER_S,
    VIEWS,
    append,
    chunk,
    create,
    filled,
    head_of,
    seen,
    status,
    talk,
)
from a2a_grpc.wire import (
    Task,
    TaskState,
)


class ListsContract:
    """The tests of `list` and `purge`. Each test is one guarantee of `Records`."""

    async def test_a_list_runs_from_the_newest_status_to_the_oldest(self, store: Records) -> None:
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

    async def test_a_new_status_moves_a_task_to_the_front_and_an_artifact_does_not(self, store: Records) -> None:
        epoch = await create(store, at_us=1)
        await create(store, KEY._replace(id="t-2"), at_us=5)
        await append(store, chunk(2, "x", state=SUBMITTED), epoch=epoch)
        assert [t.position.id for t in (await store.list(KEY.scope, ListFilter(), None, 10)).tasks] == ["t-2", "t-1"]
        await append(store, status(3, at_us=6), epoch=epoch)
        assert [t.position.id for t in (await store.list(KEY.scope, ListFilter(), None, 10)).tasks] == ["t-1", "t-2"]

    async def test_pages_join_without_gap_or_repeat(self, store: Records) -> None:
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

    async def test_filters_hold_together(self, store: Records) -> None:
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
        self, store: Records, view: TaskView
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
        self, store: Records, view: TaskView, artifact: int, history: int
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

    async def test_what_a_view_leaves_out_does_not_count(self, store: Records) -> None:
        await filled(store, 6, artifact=10_000, history=10_000)
        page = await store.list(KEY.scope, ListFilter(), None, 6, view=CORE, max_bytes=20_000)
        assert (len(page.tasks), page.more) == (6, False)
        page = await store.list(KEY.scope, ListFilter(), None, 6, view=TaskView(artifacts=False), max_bytes=200_000)
        assert (len(page.tasks), page.more) == (6, False)

    async def test_a_page_has_one_task_however_large(self, store: Records) -> None:
        await filled(store, 2, artifact=10_000)
        page = await store.list(KEY.scope, ListFilter(), None, 5, max_bytes=100)
        assert [listed.position.id for listed in page.tasks] == ["t-01"]
        assert page.more

    async def test_lists_follow_each_status_whatever_was_listed_before(self, store: Records) -> None:
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
                await store.purge(ended_age_s=0.0, keep=100, limit=100)
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

    async def test_ages_go_by_the_stores_clock_whatever_time_a_replica_wrote(self, store: Records) -> None:
        for place, at_us in enumerate((1, 1 << 52)):
            key = KEY._replace(id=f"t-{place}")
            epoch = await create(store, key, at_us=at_us)
            await append(store, status(2, COMPLETED, at_us=at_us), epoch=epoch, key=key)
        assert await store.purge(ended_age_s=3600.0, keep=100, limit=100) == 0
        assert await store.purge(ended_age_s=0.0, keep=100, limit=100) == 2

    async def test_a_purge_takes_the_ended_by_age_and_number_and_no_other(self, store: Records) -> None:
        for place in range(6):
            key = KEY._replace(id=f"t-{place}")
            epoch = await create(store, key, at_us=1)
            await append(
                store, status(2, WORKING if place == 0 else COMPLETED, at_us=10 * place + 1), epoch=epoch, key=key
            )

        async def purge(ended_age_s: float, keep: int, limit: int = 100) -> tuple[int, list[str]]:
            removed = await store.purge(ended_age_s=ended_age_s, keep=keep, limit=limit)
            left = (await store.list(KEY.scope, ListFilter(), None, 10)).tasks
            return removed, sorted(listed.position.id for listed in left)

        assert await purge(NEVER_S, 100) == (0, ["t-0", "t-1", "t-2", "t-3", "t-4", "t-5"])
        assert await purge(NEVER_S, 4) == (1, ["t-0", "t-2", "t-3", "t-4", "t-5"])
        assert await purge(NEVER_S, 3) == (1, ["t-0", "t-3", "t-4", "t-5"])
        assert await purge(0.0, 100, limit=2) == (2, ["t-0", "t-5"])
        assert await purge(0.0, 0) == (1, ["t-0"])
        assert await store.read(KEY._replace(id="t-5"), 0, 10) is None
