"""What a run makes while its store does not answer, or answers late: nothing is lost in silence."""

import asyncio
import logging

import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.engine.turn_end import STORE_FAILURE
from a2a_grpc.engine.writer import MAX_BEHIND
from a2a_grpc.lifecycle import CANCELED, COMPLETED, FAILED, WORKING
from a2a_grpc.parts import text_of
from a2a_grpc.store import Append, Create, StoreUnavailable, Written
from a2a_grpc.wire import ROLE_USER, CancelTaskRequest, StreamResponse
from tests.covers import covers
from tests.guarantees.rig import YieldingStore, engine_of, records_of, serving_on
from tests.harness import V1, eventually, message, request, texts


class AwayStore(YieldingStore):
    """Refuses writes while it is `away`, after doing them where `does` says so; makes those behind `gate` wait."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.does = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.refused = 0
        self.waiting = 0
        self.most = 0

    def write(self, write: Create | Append) -> Written:
        if isinstance(write, Append):
            self.waiting += 1
            self.most = max(self.most, self.waiting)
        return super().write(write)

    async def perform(self, write: Create | Append) -> int:
        if isinstance(write, Create):
            return await super().perform(write)
        try:
            await self.gate.wait()
            if not self.away:
                return await super().perform(write)
            self.refused += 1
            if self.does:
                await super().perform(write)
            raise StoreUnavailable("away")
        finally:
            self.waiting -= 1


class Yielder:
    """An agent that yields as many pieces as its message says, then waits for `go`."""

    def __init__(self) -> None:
        self.agent = Agent("Yielder", "Yields.")
        self.go = asyncio.Event()
        self.yielded = 0
        self.errors: list[BaseException] = []
        self.agent.skill("count")(self.count)

    async def count(self, turn: Turn):  # type: ignore[no-untyped-def]
        """Count."""
        try:
            for number in range(int(turn.text)):
                yield f"{number} "
                self.yielded += 1
            await self.go.wait()
        except BaseException as error:
            self.errors.append(error)
            raise


def joined(pieces: list[str]) -> str:
    return "".join(pieces)


@covers("G1")
async def test_what_is_yielded_may_be_on_its_way_and_arrives_in_order_and_whole() -> None:
    store, yielder = AwayStore(), Yielder()
    yielder.go.set()
    async with serving_on(store, yielder.agent) as served:
        task = (await served.send(request("500"))).task
        assert task.status.state == COMPLETED
        assert joined(texts(task)) == "".join(f"{number} " for number in range(500))
        records = await records_of(engine_of(served).log, task.id)
        assert [record.seq for record in records] == list(range(1, len(records) + 1))
    assert 1 < store.most <= MAX_BEHIND


async def test_a_generator_is_not_further_ahead_of_a_store_that_is_slow_than_its_bound() -> None:
    store, yielder = AwayStore(), Yielder()
    async with serving_on(store, yielder.agent) as served:
        store.gate.clear()
        sending = asyncio.create_task(served.send(request("500")))
        await eventually(lambda: _at_least(store.waiting, MAX_BEHIND))
        assert store.waiting == MAX_BEHIND
        assert yielder.yielded < 500
        store.gate.set()
        yielder.go.set()
        assert (await sending).task.status.state == COMPLETED


@covers("G1")
@pytest.mark.parametrize("does", [False, True])
async def test_the_run_learns_that_its_events_cannot_be_stored_and_fails_with_the_reason_once_that_can_be(
    does: bool, caplog: pytest.LogCaptureFixture
) -> None:
    store = AwayStore()
    agent, learned = Agent("Teller", "Tells."), list[BaseException]()

    @agent.skill()
    async def tell(turn: Turn) -> None:
        """Tell."""
        await turn.status("before")
        store.away, store.does = True, does
        try:
            await turn.artifact("while away", id="a")
        except StoreUnavailable as error:
            learned.append(error)
            raise

    async with serving_on(store, agent) as served:
        with caplog.at_level(logging.ERROR):
            task = (await served.send(request("go", immediately=True))).task
            await eventually(lambda: _at_least(store.refused, 2))
            assert (await served.get(task.id)).status.state == (FAILED if does else WORKING)
            store.away = False
            await eventually(lambda: _has_failed(served, task.id))
        assert len(learned) == 1
        assert texts(await served.get(task.id)) == (["while away"] if does else [])


async def _has_failed(served: object, task_id: str) -> None:
    task = await served.get(task_id)  # type: ignore[attr-defined]
    assert task.status.state == FAILED
    assert text_of(task.status.message) == STORE_FAILURE


@pytest.mark.parametrize("does", [True, False])
async def test_a_handler_that_goes_on_after_the_store_was_away_writes_on(does: bool) -> None:
    store = AwayStore()
    agent = Agent("Stubborn", "Tries again.")

    @agent.skill()
    async def work(turn: Turn) -> None:
        """Work."""
        store.away, store.does = True, does
        with pytest.raises(StoreUnavailable):
            await turn.artifact("one ", id="a")
        store.away = False
        await turn.artifact("two", id="a", append=True)

    async with serving_on(store, agent) as served:
        task = (await served.send(request("go"))).task
        assert task.status.state == COMPLETED
        assert [part.text for part in task.artifacts[0].parts] == (["one ", "two"] if does else ["two"])
        records = await records_of(engine_of(served).log, task.id)
        events = [StreamResponse.FromString(record.event) for record in records]
        appends = [event.artifact_update.append for event in events if event.HasField("artifact_update")]
        assert appends == ([False, True] if does else [False]), "what was not stored began no artifact"


class ForgetfulStore(YieldingStore):
    """Refuses the next record that brings an answer, once."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = 0

    async def perform(self, write: Create | Append) -> int:
        if isinstance(write, Append) and write.record.message and not self.refused:
            self.refused += 1
            raise StoreUnavailable("nobody knows")
        return await super().perform(write)


async def test_messages_that_waited_answer_in_their_order_though_the_store_takes_the_first_at_the_second_try_only() -> (
    None
):
    store, agent, go = ForgetfulStore(), Agent("Asker", "Asks twice."), asyncio.Event()

    @agent.skill()
    async def work(turn: Turn) -> str:
        """Work."""
        await go.wait()
        return f"{await turn.ask('first?')} {await turn.ask('second?')}"

    async with serving_on(store, agent) as served:
        task = (await served.send(request("go", immediately=True))).task
        for text in ("one", "two"):
            await served.send(request(message(text, task_id=task.id), immediately=True))
        go.set()
        await eventually(lambda: _has_completed(served, task.id))
        assert store.refused == 1
        assert texts(await served.get(task.id)) == ["one two"]
        assert [text_of(said) for said in (await served.get(task.id)).history if said.role == ROLE_USER] == [
            "go",
            "one",
            "two",
        ]


async def _has_completed(served: object, task_id: str) -> None:
    assert (await served.get(task_id)).status.state == COMPLETED  # type: ignore[attr-defined]


async def test_pieces_that_could_not_be_stored_end_the_run_and_leave_no_gap() -> None:
    store, yielder = AwayStore(), Yielder()
    async with serving_on(store, yielder.agent) as served:
        task = (await served.send(request("5", immediately=True))).task
        await eventually(lambda: _equal(yielder.yielded, 5))
        store.away = True
        await eventually(lambda: _equal(store.waiting, 0))
        yielder.go.set()
        await eventually(lambda: _at_least(store.refused, 1))
        store.away = False
        await eventually(lambda: _has_failed(served, task.id))
        records = await records_of(engine_of(served).log, task.id)
        assert [record.seq for record in records] == list(range(1, len(records) + 1))


class OnceAwayStore(AwayStore):
    """Refuses one write."""

    async def perform(self, write: Create | Append) -> int:
        try:
            return await super().perform(write)
        finally:
            self.away = self.away and not self.refused


@covers("G1")
async def test_a_write_that_is_lost_fails_the_task_also_if_the_store_takes_the_pieces_after_it() -> None:
    store, yielder = OnceAwayStore(), Yielder()
    yielder.go.set()
    async with serving_on(store, yielder.agent) as served:
        store.gate.clear()
        task = (await served.send(request("200", immediately=True))).task
        await eventually(lambda: _equal(store.waiting, MAX_BEHIND))
        store.away = True
        store.gate.set()
        await eventually(lambda: _has_failed(served, task.id))
        assert (store.refused, yielder.yielded < 200) == (1, True)


@covers("G8")
async def test_a_cancel_while_pieces_are_on_their_way_comes_after_them() -> None:
    store, yielder = AwayStore(), Yielder()
    async with serving_on(store, yielder.agent) as served:
        task = (await served.send(request("20", immediately=True))).task
        await eventually(lambda: _equal(yielder.yielded, 20))
        store.gate.clear()
        canceling = served.stub.CancelTask(CancelTaskRequest(id=task.id), metadata=V1)
        await eventually(lambda: _at_least(len(yielder.errors), 1))
        store.gate.set()
        canceled = await canceling
        assert canceled.status.state == CANCELED
        assert joined(texts(canceled)) == "".join(f"{number} " for number in range(20))


def _equal(found: int, expected: int) -> None:
    assert found == expected


def _at_least(found: int, least: int) -> None:
    assert found >= least
