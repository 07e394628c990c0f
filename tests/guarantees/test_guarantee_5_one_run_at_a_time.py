"""Guarantee 5: one run at a time per task, across replicas; one that lost its claim can write nothing more."""

import asyncio
from collections.abc import Callable

import pytest

from a2a_grpc import Agent, InputRequired, Turn
from a2a_grpc.bus import LocalBus
from a2a_grpc.engine import AcceptedTurn, EngineSettings
from a2a_grpc.engine.writer import Writer
from a2a_grpc.lifecycle import CANCELED, COMPLETED, INPUT_REQUIRED, WORKING
from a2a_grpc.log import Log
from a2a_grpc.parts import text_of
from a2a_grpc.store import Append, Create, MemoryStore, StaleAppend, StoreUnavailable, Writing, Written, refused
from a2a_grpc.wire import Artifact, Part, Task
from tests.covers import covers
from tests.guarantees.rig import (
    Asker,
    YieldingStore,
    engine_on,
    records_of,
    send_call,
    serving_on,
    stored_task,
    user_texts,
)
from tests.harness import message, request

STORES = pytest.mark.parametrize("make_store", [MemoryStore, YieldingStore])


class Clerk:
    """An agent that asks for more until it is told to end; counts how many of its turns run at a time."""

    def __init__(self) -> None:
        self.agent = Agent("Clerk", "Takes down what it is told.")
        self.at_work = 0
        self.peak = 0
        self.played: list[str] = []
        self.agent.skill("note")(self._note)

    async def _note(self, turn: Turn) -> str:
        """Notes."""
        self.at_work += 1
        self.peak = max(self.peak, self.at_work)
        self.played.append(turn.text)
        try:
            for step in range(3):
                await asyncio.sleep(0)
                await turn.status(f"{turn.text}/{step}")
        finally:
            self.at_work -= 1
        if turn.text == "end":
            return "ended"
        raise InputRequired("more?")


@covers("G5", "OPEN-15")
@STORES
async def test_messages_that_come_together_are_played_one_after_the_other(
    make_store: Callable[[], MemoryStore],
) -> None:
    clerk = Clerk()
    async with serving_on(make_store(), clerk.agent) as served, asyncio.timeout(60):
        task = (await served.send(request("first"))).task
        said = [f"m{i}" for i in range(10)]
        await asyncio.gather(*(served.send(request(message(text, task_id=task.id))) for text in said))
        assert clerk.peak == 1
        assert sorted(clerk.played) == sorted(["first", *said])
        ended = (await served.send(request(message("end", task_id=task.id)))).task
        assert ended.status.state == COMPLETED
        assert user_texts(ended) == [*clerk.played]


@covers("G5")
@STORES
async def test_messages_with_keys_to_a_working_task_are_played_once_each(
    make_store: Callable[[], MemoryStore],
) -> None:
    clerk = Clerk()
    async with serving_on(make_store(), clerk.agent) as served, asyncio.timeout(60):
        task = (await served.send(request("first", immediately=True))).task
        said = [f"m{i}" for i in range(10)]
        await asyncio.gather(
            *(
                served.send(request(message(text, task_id=task.id)), ("idempotency-key", f"key-of-{text}"))
                for text in said
            )
        )
        assert clerk.peak == 1
        assert sorted(clerk.played) == sorted(["first", *said])
        assert user_texts(await served.get(task.id)) == clerk.played


@covers("G5", "OPEN-15")
@STORES
async def test_every_message_is_a_turn_of_its_own(make_store: Callable[[], MemoryStore]) -> None:
    clerk = Clerk()
    async with engine_on(make_store(), clerk.agent) as engine, asyncio.timeout(60):
        first = await engine.accept(send_call(request("first")))
        assert isinstance(first, AcceptedTurn)
        sends = [
            engine.accept(send_call(request(message(f"m{i}", task_id=first.key.id)), key=f"k{i}")) for i in range(8)
        ]
        accepted = [one for one in await asyncio.gather(*sends) if isinstance(one, AcceptedTurn)]
        assert sorted(one.turn for one in accepted) == list(range(2, 10))
        for one in accepted:
            await engine.settled(one)
        turns = [record.turn for record in await records_of(engine.log, first.key.id)]
        assert turns == sorted(turns)
        assert set(turns) == set(range(1, 10))


@covers("G5")
@STORES
async def test_a_lost_claim_writes_nothing(make_store: Callable[[], MemoryStore]) -> None:
    log = Log(make_store(), LocalBus())
    key = await stored_task(log.store, "t-1")
    stale = Writer(log, EngineSettings(), key, await log.head(key))
    await stale.status(WORKING)
    taken = await log.store.claim(key, "another")
    assert taken is not None
    assert taken.epoch == 2
    before = await records_of(log, "t-1")
    for attempt in (
        stale.status(WORKING),
        stale.status(COMPLETED),
        stale.artifact(Artifact(artifact_id="a", parts=[Part(text="x")]), append=False, last_chunk=True),
    ):
        with pytest.raises(StaleAppend):
            await attempt
    assert await records_of(log, "t-1") == before
    fresh = Writer(log, EngineSettings(), key, await log.head(key))
    await fresh.status(COMPLETED)
    assert [record.state for record in await records_of(log, "t-1")][1:] == [WORKING, COMPLETED]


class AwayStore(MemoryStore):
    """Refuses writes while it is away."""

    is_away = False

    def write(self, write: Create | Append) -> Written:
        return refused(StoreUnavailable("away")) if self.is_away else super().write(write)


@covers("G5")
async def test_a_writer_that_looks_what_became_of_a_write_finds_that_its_claim_is_lost() -> None:
    store = AwayStore()
    log = Log(store, LocalBus())
    key = await stored_task(store, "t-1")
    writer = Writer(log, EngineSettings(), key, await log.head(key))
    await writer.status(WORKING)
    store.is_away = True
    with pytest.raises(StoreUnavailable):
        await writer.status(WORKING)
    store.is_away = False
    assert await store.claim(key, "another") is not None
    with pytest.raises(StaleAppend):
        await writer.ready(0)


class SlowStore(MemoryStore):
    """Holds appends until a test lets each of them happen, or fail."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[tuple[Append, Writing]] = []

    def write(self, write: Create | Append) -> Written:
        if isinstance(write, Create):
            return super().write(write)
        self.held.append((write, Writing()))
        return self.held[-1][1]

    def happen(self, number: int) -> int:
        """Make a write that is held. Return its result, which its caller is not told yet."""
        return super().write(self.held[number][0]).result()


@covers("G5")
async def test_a_writer_looks_what_became_of_a_write_when_no_other_one_is_on_its_way() -> None:
    store = SlowStore()
    log = Log(store, LocalBus())
    key = await stored_task(store, "t-1")
    writer = Writer(log, EngineSettings(), key, await log.head(key))
    writing = asyncio.create_task(writer.status(WORKING))
    await asyncio.sleep(0)
    await writer.status(WORKING, behind=True)
    store.happen(0)
    store.held[0][1].set_exception(StoreUnavailable("the answer was lost"))
    with pytest.raises(StoreUnavailable):
        await writing
    looking = asyncio.create_task(writer.ready())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not looking.done(), "the second write may still happen"
    store.held[1][1].set_result(store.happen(1))
    await looking
    assert writer.seq == (await log.head(key)).seq == 3


@covers("G5")
async def test_a_caller_is_told_the_first_write_that_failed_which_is_why_its_own_failed() -> None:
    store = SlowStore()
    log = Log(store, LocalBus())
    key = await stored_task(store, "t-1")
    writer = Writer(log, EngineSettings(), key, await log.head(key))
    await writer.status(WORKING, behind=True)
    writing = asyncio.create_task(writer.status(WORKING))
    await asyncio.sleep(0)
    for (_, held), error in zip(store.held, (StoreUnavailable("away"), StaleAppend()), strict=True):
        held.set_exception(error)
    with pytest.raises(StoreUnavailable, match="away"):
        await writing


@covers("G5")
async def test_a_replica_that_lost_its_task_stops_the_agent_at_its_next_write() -> None:
    began, go, over = asyncio.Event(), asyncio.Event(), asyncio.Event()
    seen: list[BaseException] = []
    agent = Agent("Writer", "Writes when told.")

    @agent.skill()
    async def write(turn: Turn) -> str:
        """Writes."""
        began.set()
        await go.wait()
        try:
            await turn.artifact("late")
        except BaseException as error:
            seen.append(error)
            raise
        finally:
            over.set()
        return "done"

    store = MemoryStore()
    async with engine_on(store, agent) as one, engine_on(store, agent) as other, asyncio.timeout(60):
        accepted = await one.accept(send_call(request()))
        assert isinstance(accepted, AcceptedTurn)
        await began.wait()
        await other.cancel(accepted.key)
        records = await records_of(other.log, accepted.key.id)
        go.set()
        await over.wait()
        assert [type(error) for error in seen] == [asyncio.CancelledError]
        assert await records_of(other.log, accepted.key.id) == records
        assert [record.state for record in records][-1] == CANCELED


@covers("G5")
async def test_a_follow_up_to_a_parked_task_starts_one_run_whoever_else_sends() -> None:
    clerk = Clerk()
    async with serving_on(YieldingStore(), clerk.agent) as served, asyncio.timeout(60):
        task = (await served.send(request("first"))).task
        sent = [served.stream(request(message(text, task_id=task.id))) for text in ("a", "b", "c")]
        ends = [[element async for element in call][-1] for call in sent]
        assert [end.status_update.status.state for end in ends] == [INPUT_REQUIRED] * 3
        assert {text_of(end.status_update.status.message) for end in ends} == {"more?"}
        assert clerk.peak == 1
        assert sorted(clerk.played) == ["a", "b", "c", "first"]


@covers("SEND-2")
async def test_a_blocking_send_gives_the_task_as_its_own_turn_left_it() -> None:
    asker = Asker()
    async with engine_on(MemoryStore(), asker.agent) as engine, asyncio.timeout(60):
        first = await engine.accept(send_call(request("first")))
        assert isinstance(first, AcceptedTurn)
        waiting = asyncio.create_task(engine.settled(first))
        await asyncio.sleep(0)
        second = await engine.accept(send_call(request(message("second", task_id=first.key.id))))
        assert isinstance(second, AcceptedTurn)
        asker.go["first"].set()
        settled = Task.FromString((await waiting).task)
        assert settled.status.state == INPUT_REQUIRED
        assert text_of(settled.status.message) == "what after first?"
        asker.go["second"].set()
        assert Task.FromString((await engine.settled(second)).task).status.state == INPUT_REQUIRED
