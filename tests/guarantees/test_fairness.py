"""Runs that wait for a place: callers take turns, priorities take turns, each caller has its limits."""

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_grpc import Agent, Turn
from a2a_grpc.bus import LocalBus
from a2a_grpc.engine import AcceptedTurn, Engine, EngineSettings, SendCall
from a2a_grpc.engine.line import Place
from a2a_grpc.engine.priority import Priority
from a2a_grpc.engine.slots import Slots
from a2a_grpc.errors import PermissionDeniedError, ResourceExhaustedError
from a2a_grpc.lifecycle import CANCELED, COMPLETED, INPUT_REQUIRED, SUBMITTED
from a2a_grpc.log import Log
from a2a_grpc.parts import struct
from a2a_grpc.principal import Principal
from a2a_grpc.store import Scope, open_store
from a2a_grpc.wire import CancelTaskRequest, SendMessageRequest
from tests.auth.callers import as_caller, site
from tests.covers import covers
from tests.guarantees.rig import Workers, total_tasks
from tests.harness import V1, Served, eventually, message, refusal, request, scripted, scripted_agent, serving, texts
from tests.replicas.rig import Site

HIGH, NORMAL, LOW = Priority
WITHIN = 14
"""Of so many places that are given while runs of all priorities wait, each priority gets one."""


def scope(name: str) -> Scope:
    return Scope(name, "")


def enter(slots: Slots, caller: Scope, priority: Priority = NORMAL) -> Place:
    """A run that enters: its place, or its wait for one."""
    return slots.try_acquire(caller) or slots.line_up(caller, priority)


def order_of(slots: Slots, holder: Place, waiting: dict[str, Place]) -> list[str]:
    """The names of waiting runs in the order in which they get the one place, each leaving it at once."""
    order = []
    holder.release()
    while given := [name for name, place in waiting.items() if place.is_held]:
        (name,) = given
        order.append(name)
        waiting.pop(name).release()
    assert not waiting
    assert slots.taken == 0
    return order


def entered(slots: Slots, *names: str, priority: Priority = NORMAL) -> dict[str, Place]:
    """Runs that enter in this order; the first letter of a name is its caller."""
    return {name: enter(slots, scope(name[0]), priority) for name in names}


# -- the order


def test_runs_of_one_caller_get_places_in_the_order_in_which_they_came() -> None:
    slots = Slots(1, 100)
    holder = enter(slots, scope("a"))
    assert order_of(slots, holder, entered(slots, "a1", "a2", "a3")) == ["a1", "a2", "a3"]


def test_callers_take_turns() -> None:
    slots = Slots(1, 100)
    holder = enter(slots, scope("a"))
    waiting = entered(slots, "a1", "a2", "a3", "b1", "b2", "c1")
    assert order_of(slots, holder, waiting) == ["b1", "c1", "a1", "b2", "a2", "a3"]


def test_a_caller_that_comes_between_two_turns_is_before_the_one_that_was_served_last() -> None:
    slots = Slots(1, 100)
    holder = enter(slots, scope("a"))
    waiting = entered(slots, "a1", "a2", "a3")
    holder.release()
    assert waiting["a1"].is_held
    waiting |= entered(slots, "b1", "b2")
    assert order_of(slots, waiting.pop("a1"), waiting) == ["b1", "a2", "b2", "a3"]


def test_a_caller_that_comes_again_and_again_passes_no_one_twice() -> None:
    slots = Slots(1, 100)
    now = enter(slots, scope("a"))
    waiting = entered(slots, "a1", "a2", "a3")
    order = []
    for number in range(6):
        waiting |= entered(slots, f"b{number}")
        now.release()
        name = next(name for name, place in waiting.items() if place.is_held)
        order.append(name)
        now = waiting.pop(name)
    assert order == ["b0", "a1", "b1", "a2", "b2", "a3"]


def test_of_thirteen_places_eight_four_and_one_go_to_the_three_priorities() -> None:
    slots = Slots(1, 1000)
    holder = enter(slots, scope("a"))
    waiting = {
        f"{priority.name}{number}": enter(slots, scope(str(number % 3)), priority)
        for priority in (LOW, NORMAL, HIGH)
        for number in range(50)
    }
    order = [name.rstrip("0123456789") for name in order_of(slots, holder, waiting)]
    assert order[:6] == ["HIGH", "HIGH", "NORMAL", "HIGH", "HIGH", "NORMAL"]
    for start in (0, 13, 26):
        part = order[start : start + 13]
        assert [part.count(priority.name) for priority in Priority] == [8, 4, 1]


def test_one_waiting_run_of_each_priority_gets_its_place_in_that_order() -> None:
    slots = Slots(1, 1000)
    holder = enter(slots, scope("a"))
    waiting = entered(slots, "low", priority=LOW) | entered(slots, "normal") | entered(slots, "high", priority=HIGH)
    assert order_of(slots, holder, waiting) == ["high", "normal", "low"]


def test_a_low_run_gets_a_place_however_many_high_ones_keep_coming() -> None:
    slots = Slots(1, 1000)
    now = enter(slots, scope("a"), HIGH)
    low = enter(slots, scope("b"), LOW)
    turns = 0
    while not low.is_held:
        following = enter(slots, scope("a"), HIGH)
        now.release()
        now = following
        turns += 1
        assert turns <= WITHIN


def test_a_low_run_of_a_caller_at_its_limit_gets_a_place_although_its_own_high_ones_keep_coming() -> None:
    slots = Slots(2, 1000, per_caller=1)
    low: Place | None = None
    mine, other = enter(slots, scope("a"), HIGH), enter(slots, scope("b"))
    for turns in count():
        waiting = enter(slots, scope("a"), HIGH)
        low = low or enter(slots, scope("a"), LOW)
        following = enter(slots, scope("b"))
        other.release()
        assert following.is_held
        other = following
        mine.release()
        if low.is_held:
            break
        mine = waiting
        assert mine.is_held
        assert turns <= WITHIN


def test_a_caller_at_its_limit_is_passed_over_and_keeps_its_turn() -> None:
    slots = Slots(3, 100, per_caller=2)
    held = entered(slots, "a1", "a2", "b1")
    waiting = entered(slots, "a3", "c1", "c2", "d1")
    held["b1"].release()  # it is the turn of a, which has two places
    assert [name for name, place in waiting.items() if place.is_held] == ["c1"]
    held["a1"].release()
    assert [name for name, place in waiting.items() if place.is_held] == ["a3", "c1"]
    held["a2"].release()
    assert [name for name, place in waiting.items() if place.is_held] == ["a3", "c1", "d1"]


def test_a_place_stays_free_for_others_while_runs_of_a_caller_at_its_limit_wait() -> None:
    slots = Slots(2, 3, per_caller=1)
    waiting = entered(slots, "a1", "a2", "a3", "a4")
    assert [place.is_held for place in waiting.values()] == [True, False, False, False]
    with pytest.raises(ResourceExhaustedError, match="--max-queued-runs"):
        slots.check(scope("a"))
    slots.check(scope("b"))
    assert enter(slots, scope("b")).is_held
    with pytest.raises(ResourceExhaustedError, match="--max-queued-runs"):
        slots.check(scope("b"))


def calls_in(work: Any) -> int:
    """How many functions are called while something is done."""
    calls = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("each", [2, 1000])
def test_no_step_costs_more_because_more_runs_wait(each: int) -> None:
    costs = []
    for waiting in (4000, 40_000):
        slots = Slots(1, 100_000)
        holder = enter(slots, scope("a"))
        runs = [enter(slots, scope(f"c{number // each}")) for number in range(waiting)]
        steps = lambda: enter(slots, scope("c1")), runs[waiting // 2].release, holder.release  # noqa: B023
        costs.append([calls_in(step) for step in steps])
    assert costs[0] == costs[1]


# -- any order of steps


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["enter", "enter", "leave", "cancel"]), st.integers(0, 5), st.sampled_from(list(Priority))
    ),
    max_size=150,
)


class Ledger:
    """Applies steps to slots, and checks after each of them what must hold."""

    def __init__(self, limit: int, per_caller: int) -> None:
        self.slots = Slots(limit, 10_000, per_caller=per_caller)
        self.limit = limit
        self.per_caller = per_caller or limit
        self.held: list[Place] = []
        self.waiting: list[Place] = []
        self.passed: defaultdict[Place, int] = defaultdict(int)
        """How often another run got a place while this one waited and its caller was below its limit."""
        self.allowed: dict[Place, int] = {}
        self.kind: dict[Place, tuple[int, Priority]] = {}

    def waiting_like(self, like: Place) -> list[Place]:
        return [place for place in self.waiting if self.kind[place] == self.kind[like]]

    def holds(self, place: Place) -> int:
        return sum(one.caller is place.caller for one in self.held)

    def enter(self, caller: int, priority: Priority) -> None:
        place = enter(self.slots, scope(str(caller)), priority)
        self.kind[place] = caller, priority
        if place.is_held:
            self.held.append(place)
        else:
            self.waiting.append(place)
            ahead = len(self.waiting_like(place))
            self.allowed[place] = WITHIN * ahead * 7  # each of at most six callers once before each run, and one more

    def leave(self, number: int) -> None:
        if not self.held:
            return
        self.held.pop(number % len(self.held)).release()
        eligible = [place for place in self.waiting if self.holds(place) < self.per_caller]
        for place in self.waiting:
            if place.is_held:
                self.held.append(place)
                assert self.waiting_like(place)[0] is place  # in the order in which they came
        for place in eligible:
            self.passed[place] += not place.is_held
            assert self.passed[place] <= self.allowed[place]
        self.waiting = [place for place in self.waiting if not place.is_held]

    def cancel(self, number: int) -> None:
        if self.waiting:
            self.waiting.pop(number % len(self.waiting)).release()

    def check(self) -> None:
        assert len(self.held) <= self.limit
        assert all(self.holds(place) <= self.per_caller for place in self.held)
        if len(self.held) < self.limit:
            assert all(self.holds(place) >= self.per_caller for place in self.waiting)
        assert self.slots.taken == len(self.held) + len(self.waiting)
        assert self.slots.room == self.limit + 10_000 - self.slots.taken


@pytest.mark.hypothesis
@given(STEPS, st.integers(1, 4), st.integers(0, 3))
def test_whatever_happens_places_are_used_limits_hold_and_no_run_starves(
    steps: list[tuple[str, int, Priority]], limit: int, per_caller: int
) -> None:
    ledger = Ledger(limit, per_caller)
    for step, number, priority in steps:
        match step:
            case "enter":
                ledger.enter(number, priority)
            case "leave":
                ledger.leave(number)
            case _:
                ledger.cancel(number)
        ledger.check()
    while ledger.held:
        ledger.leave(0)
        ledger.check()
    assert not ledger.waiting
    assert not ledger.slots._callers
    assert not any(line._round for line in ledger.slots._lines)


# -- the engine


class Steps:
    """An agent whose runs note that they begin, as `caller text`, then wait until `allow` lets one of them end."""

    def __init__(self, *, resumable: bool = False) -> None:
        self.agent = Agent("Steps", "Waits to be allowed.", resumable=resumable)
        self.begun: list[str] = []
        self._allowed = asyncio.Semaphore(0)
        self.agent.skill("work")(self._work)

    async def _work(self, turn: Turn) -> str:
        """Works."""
        self.begun.append(f"{turn.principal.tenant} {turn.text}")
        await self._allowed.acquire()
        return turn.text

    def allow(self, runs: int = 1) -> None:
        for _ in range(runs):
            self._allowed.release()


def sent(caller: str, text: str, *, priority: str = "", scopes: frozenset[str] = frozenset()) -> SendCall:
    """A send of one of several callers, which are tenants here."""
    asked = request(text, tenant=caller)
    if priority:
        asked.message.metadata["priority"] = priority
    return SendCall(Principal(tenant=caller, scopes=scopes), asked)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store without tasks."""
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/tasks.db"


@asynccontextmanager
async def engine_with(agent: Agent, store: str, **settings: Any) -> AsyncIterator[Engine]:
    """An engine on a store, closed with it."""
    opened = open_store(store)
    await opened.open()
    try:
        async with Engine(agent, Log(opened, LocalBus()), EngineSettings(**settings)) as engine:
            yield engine
    finally:
        await opened.close()


def _assert_begun(steps: Steps, count: int) -> None:
    assert len(steps.begun) >= count


def _assert_begun_exactly(steps: Steps, *begun: str) -> None:
    assert steps.begun == list(begun)


@pytest.mark.parametrize("runs", [1, 5])
async def test_the_first_run_of_a_caller_begins_within_one_run_however_many_another_caller_has_queued(
    store: str, runs: int, full: bool
) -> None:
    steps, queued = Steps(), 10_000 if full else 500
    async with engine_with(steps.agent, store, max_runs=runs, max_queued_runs=queued) as engine:
        for start in range(0, runs + queued, 500):
            numbers = range(start, min(start + 500, runs + queued))
            await asyncio.gather(*(engine.accept(sent("a", str(number))) for number in numbers))
        await eventually(lambda: _assert_begun(steps, runs))
        steps.allow(1)
        await eventually(lambda: _assert_begun(steps, runs + 1))
        await engine.accept(sent("b", "first"))
        before = len(steps.begun)
        steps.allow(1)
        await eventually(lambda: _assert_begun(steps, before + 1))
        assert steps.begun[before] == "b first"


async def test_no_caller_of_fifty_with_random_load_starves(store: str, full: bool) -> None:
    random, runs = Random(17), 4
    agent, begun = Agent("Random", "Takes some time."), list[str]()
    waiting: defaultdict[str, list[str]] = defaultdict(list)

    @agent.skill()
    async def work(turn: Turn) -> str:
        """Works."""
        begun.append(turn.text)
        waiting[turn.principal.tenant].remove(turn.text)
        for _ in range(random.randrange(5)):
            await asyncio.sleep(0)
        return turn.text

    late: dict[str, tuple[int, int]] = {}
    """Of each run: how many had begun when it was accepted, and how many may begin before it."""

    async with engine_with(agent, store, max_runs=runs) as engine:

        async def load(caller: str) -> None:
            for number in range(random.choice((1, 2, 10 if full else 5, 40 if full else 10))):
                text = f"{caller}-{number}"
                waiting[caller].append(text)
                ahead = len(waiting[caller])
                accepted = await engine.accept(sent(caller, text))
                assert isinstance(accepted, AcceptedTurn)
                late[text] = len(begun), ahead * 50 + runs
                for _ in range(random.randrange(3)):
                    await asyncio.sleep(0)

        async with asyncio.timeout(60):
            await asyncio.gather(*(load(f"c{number}") for number in range(50)))
            await eventually(lambda: _assert_idle(engine))
    assert sorted(begun) == sorted(late)
    for place, text in enumerate(begun):
        accepted, allowed = late[text]
        assert place - accepted <= allowed, text


async def test_messages_of_a_higher_priority_begin_first_and_low_ones_do_not_starve(store: str) -> None:
    steps = Steps()
    async with engine_with(steps.agent, store, max_runs=1) as engine:
        await engine.accept(sent("a", "now"))
        for name in ("low", "normal", "high"):
            for number in range(20):
                await engine.accept(sent("ab"[number % 2], f"{name}", priority=name))
        steps.allow(61)
        await eventually(lambda: _assert_begun(steps, 61))
        names = [text.split()[1] for text in steps.begun[1:]]
        assert names[:3] == ["high", "high", "normal"]
        assert [names[:13].count(name) for name in ("high", "normal", "low")] == [8, 4, 1]


@pytest.mark.parametrize("place", ["message", "request", "both"])
async def test_the_metadata_of_the_message_or_of_the_request_names_the_priority(place: str) -> None:
    steps = Steps()
    async with serving(steps.agent, max_runs=1) as served, asyncio.timeout(60):
        await served.send(request("now", immediately=True))
        await served.send(request("normal", immediately=True))
        urgent = request("urgent", immediately=True)
        if place != "request":
            urgent.message.metadata["priority"] = "high"
        if place != "message":
            urgent.metadata["priority"] = "high" if place == "request" else "low"
        await served.send(urgent)
        steps.allow(3)
        await eventually(lambda: _assert_begun_exactly(steps, " now", " urgent", " normal"))


@pytest.mark.parametrize(
    ("value", "shown"), [("urgent", "'urgent'"), ("HIGH", "'HIGH'"), ("", "''"), (5, "5"), (None, "None")]
)
@pytest.mark.parametrize("field", ["message.metadata.priority", "metadata.priority"])
async def test_a_priority_that_is_none_is_refused_by_field_and_value(
    served: Served, value: Any, shown: str, field: str
) -> None:
    asked = request("hello")
    (asked.message if field.startswith("message") else asked).metadata.CopyFrom(struct({"priority": value}))
    refused = await refusal(served.send(asked))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])
    assert f"{field}: is {shown}" in refused.text
    assert "'high', 'normal' or 'low'" in refused.text
    assert await total_tasks(served) == 0


async def test_high_needs_the_scope_that_the_server_demands() -> None:
    async with engine_with(scripted_agent(), "memory:", high_priority_scope="tasks:urgent") as engine:
        with pytest.raises(PermissionDeniedError, match=r"message\.metadata\.priority.*'tasks:urgent'"):
            await engine.accept(sent("a", "no", priority="high", scopes=frozenset(["tasks"])))
        for priority in ("normal", "low"):
            await engine.accept(sent("a", "yes", priority=priority))
        await engine.accept(sent("a", "yes", priority="high", scopes=frozenset(["tasks:urgent"])))


async def test_callers_with_credentials_take_turns_by_owner_and_need_the_scope_for_high() -> None:
    steps = Steps()
    engine = EngineSettings(max_runs=1, max_queued_per_caller=2, high_priority_scope="tasks:urgent")
    async with site(steps.agent, engine=engine) as served, asyncio.timeout(60):

        async def send(text: str, caller: tuple[tuple[str, str], ...], priority: str = "normal") -> None:
            asked = request(text, immediately=True)
            asked.message.metadata["priority"] = priority
            await served.stub.SendMessage(asked, metadata=caller)

        ann, same_subject = as_caller("jwt", "ann"), as_caller("key", "ann")
        urgent = as_caller("jwt", "bob", scopes="tasks:urgent")
        for text in ("ann 0", "ann 1", "ann 2"):
            await send(text, ann)
        refused = await refusal(send("over", ann))
        assert "--max-queued-per-caller" in refused.text
        await send("key 0", same_subject)
        refused = await refusal(send("over", same_subject, "high"))
        assert refused.code is grpc.StatusCode.PERMISSION_DENIED
        assert refused.metadata["missing_scopes"] == "tasks:urgent"
        await send("bob 0", urgent, "high")
        steps.allow(5)
        await eventually(lambda: _assert_begun_exactly(steps, " ann 0", " bob 0", " key 0", " ann 1", " ann 2"))


async def test_nothing_is_stored_of_a_message_whose_caller_may_not_send_it_with_high() -> None:
    async with serving(scripted_agent(), high_priority_scope="tasks:urgent") as served:
        asked = request("hello")
        asked.message.metadata["priority"] = "high"
        refused = await refusal(served.send(asked))
        assert refused.code is grpc.StatusCode.PERMISSION_DENIED
        assert "tasks:urgent" in refused.text
        assert await total_tasks(served) == 0


# -- the limits of a caller


async def test_no_more_runs_of_a_caller_are_at_work_than_its_limit_while_others_pass() -> None:
    steps = Steps()
    async with serving(steps.agent, max_runs=4, max_runs_per_caller=2) as served, asyncio.timeout(60):
        for number in range(5):
            await served.send(request(str(number), immediately=True, tenant="a"))
        for caller in "bc":
            await served.send(request("0", immediately=True, tenant=caller))
        await eventually(lambda: _assert_begun_exactly(steps, "a 0", "a 1", "b 0", "c 0"))
        steps.allow(1)  # the first of those that wait: a's
        await eventually(lambda: _assert_begun_exactly(steps, "a 0", "a 1", "b 0", "c 0", "a 2"))
        steps.allow(6)
        await eventually(lambda: _assert_begun(steps, 7))
        assert steps.begun[5:] == ["a 3", "a 4"]


async def test_a_caller_at_its_limit_that_fills_the_queue_takes_no_free_place_from_others() -> None:
    steps = Steps()
    async with serving(steps.agent, max_runs=2, max_queued_runs=2, max_runs_per_caller=1) as served:
        for number in range(3):
            await served.send(request(str(number), immediately=True, tenant="a"))
        refused = await refusal(served.send(request("over", tenant="a")))
        assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "--max-queued-runs" in refused.text
        await served.send(request("0", immediately=True, tenant="b"))
        await eventually(lambda: _assert_begun_exactly(steps, "a 0", "b 0"))


@covers("G11")
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_send_over_the_number_of_waiting_runs_of_a_caller_is_refused_and_stores_nothing(
    streaming: bool,
) -> None:
    workers = Workers()
    settings = {"max_runs": 1, "max_queued_per_caller": 2}
    async with serving(workers.agent, **settings) as served, asyncio.timeout(60):
        for number in range(3):
            await served.send(request(str(number), immediately=True, tenant="a"))
        over = request("over", tenant="a")
        refused = await refusal(served.stream(over) if streaming else served.send(over))
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED")
        assert refused.retry_after_s
        assert "2 runs of this caller are waiting" in refused.text
        assert "--max-queued-per-caller" in refused.text
        assert await total_tasks(served, "a") == 3
        assert (await served.send(request("0", immediately=True, tenant="b"))).task.status.state == SUBMITTED
        workers.go.set()
        await eventually(lambda: _assert_taken(served, 0))
        assert (await served.send(request("again", tenant="a"))).task.status.state == COMPLETED


def _assert_taken(served: Served, count: int) -> None:
    assert served.server.stats().runs == count


def _assert_idle(engine: Engine) -> None:
    assert engine.stats().runs == 0


async def test_sends_at_the_same_moment_do_not_exceed_the_limits(store: str) -> None:
    steps = Steps()
    settings = {"max_runs": 4, "max_runs_per_caller": 2, "max_queued_per_caller": 3, "max_queued_runs": 5}
    async with engine_with(steps.agent, store, **settings) as engine:

        async def send(caller: str) -> bool:
            try:
                await engine.accept(sent(caller, "x"))
            except ResourceExhaustedError:
                return False
            return True

        taken = await asyncio.gather(*(send("a") for _ in range(20)))
        assert sum(taken) == 2 + 3
        taken = await asyncio.gather(*(send("b") for _ in range(20)))
        assert sum(taken) == 2 + 2
        steps.allow(9)
        await eventually(lambda: _assert_idle(engine))
        assert engine.stats().callers == 0


async def test_replies_without_a_task_wait_and_are_refused_like_tasks() -> None:
    agent, begun, go = Agent("Replier", "Answers with a message."), list[str](), asyncio.Semaphore(0)

    @agent.skill(answers="message")
    async def reply(turn: Turn) -> str:
        """Replies."""
        begun.append(f"{turn.principal.tenant} {turn.text}")
        await go.acquire()
        return turn.text

    async with serving(agent, max_runs=1, max_queued_per_caller=3) as served, asyncio.timeout(60):
        calls = []
        for place, (caller, text) in enumerate([("a", "0"), ("a", "1"), ("a", "2"), ("a", "3"), ("b", "0")]):
            calls.append(asyncio.create_task(served.send(request(text, tenant=caller))))
            await eventually(lambda: _assert_taken(served, place + 1))  # noqa: B023
        refused = await refusal(served.send(request("over", tenant="a")))
        assert "--max-queued-per-caller" in refused.text
        calls.pop(1).cancel()
        await eventually(lambda: _assert_taken(served, 4))
        for _ in range(4):
            go.release()
        assert [(await call).message.parts[0].text for call in calls] == ["0", "2", "3", "0"]
        assert begun == ["a 0", "b 0", "a 2", "a 3"]


async def test_a_question_gives_the_place_of_its_caller_back_and_the_answer_waits_for_one() -> None:
    async with serving(scripted_agent(), max_runs=3, max_runs_per_caller=1) as served, asyncio.timeout(60):
        asking = (await served.send(scripted({"input": "?"}, {"artifact": {"text": "done"}}, tenant="a"))).task
        assert asking.status.state == INPUT_REQUIRED
        blocker = await served.start({"sleep": 60}, tenant="a")
        answer = request(message("go on", task_id=asking.id), immediately=True, tenant="a")
        await served.send(answer)
        await eventually(lambda: _assert_taken(served, 2))
        assert not (await served.get(asking.id, tenant="a")).artifacts
        assert (await served.send(request("pass", tenant="b"))).task.status.state == COMPLETED
        await served.stub.CancelTask(CancelTaskRequest(id=blocker.id, tenant="a"), metadata=V1)
        await eventually(lambda: _assert_texts(served, asking.id, ["done"]))


async def _assert_texts(served: Served, task_id: str, expected: list[str]) -> None:
    assert texts(await served.get(task_id, tenant="a")) == expected


async def test_the_next_turn_of_a_task_takes_its_turn_among_the_callers() -> None:
    steps = Steps()
    async with serving(steps.agent, max_runs=1) as served, asyncio.timeout(60):
        task = (await served.send(request("first", immediately=True, tenant="a"))).task
        await eventually(lambda: _assert_begun(steps, 1))
        for text in ("0", "1"):
            await served.send(request(text, immediately=True, tenant="b"))
        await served.send(request("other", immediately=True, tenant="a"))
        assert task.id
        steps.allow(4)
        await eventually(lambda: _assert_begun_exactly(steps, "a first", "b 0", "a other", "b 1"))


async def test_waiting_tasks_that_are_canceled_leave_the_turns_of_the_others_as_they_are() -> None:
    steps = Steps()
    async with serving(steps.agent, max_runs=1) as served, asyncio.timeout(60):
        tasks = {}
        for name in ("a now", "a 1", "a 2", "b 1", "b 2", "c 1"):
            caller, text = name.split()
            tasks[name] = (await served.send(request(text, immediately=True, tenant=caller))).task.id
        for name in ("a 1", "b 1", "c 1"):
            canceled = await served.stub.CancelTask(CancelTaskRequest(id=tasks[name], tenant=name[0]), metadata=V1)
            assert canceled.status.state == CANCELED
        _assert_taken(served, 3)
        steps.allow(3)
        await eventually(lambda: _assert_begun_exactly(steps, "a now", "b 2", "a 2"))
        await eventually(lambda: _assert_taken(served, 0))


async def test_a_replica_that_takes_tasks_over_keeps_their_owners_and_priorities(store: str) -> None:
    def saying(caller: str, text: str, priority: str = "normal") -> SendMessageRequest:
        asked = request(text, immediately=True, tenant=caller)
        asked.message.metadata["priority"] = priority
        return asked

    async with Site(store) as site, asyncio.timeout(60):
        a, b = await site.join(max_runs=1), await site.join(max_runs=1, max_runs_per_caller=1)
        await a.send(saying("y", "hold"))
        await b.send(saying("z", "hold"))
        for number in range(3):
            await a.send(saying("a", f"low{number}", "low"))
            await a.send(saying("a", f"normal{number}"))
        await a.send(saying("b", "other"))
        await a.send(saying("a", "high", "high"))
        await a.die()
        await eventually(lambda: _assert_taken(b, 10), within_s=20)
        b.hand.go.set()
        await eventually(lambda: _assert_taken(b, 0), within_s=20)
        order = [text.rstrip("012") for text, _ in b.hand.begun]
        assert order[:2] == ["hold", "high"]
        assert order[2:].index("other") <= 2  # a, b and y take turns
        assert order[2:].index("low") == 4
        assert sorted(order) == sorted(["hold", "hold", *["low"] * 3, *["normal"] * 3, "other", "high"])
