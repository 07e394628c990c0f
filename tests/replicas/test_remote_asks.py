"""A remote agent that asks while a handler here has it work: the question is passed to this task's user, the answer
back, also if this agent's server ends in between."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from a2a_grpc import Agent, AuthRequired, RemoteAgent, Task, Turn
from a2a_grpc.lifecycle import AUTH_REQUIRED, CANCELED, COMPLETED, FAILED, INPUT_REQUIRED
from a2a_grpc.wire import CancelTaskRequest, ListTasksRequest
from tests.agent.agents import agent_of
from tests.agent.test_let_go import let_go as let_go_alone
from tests.harness import V1, Served, eventually, request, serving, texts
from tests.replicas.rig import Replica, Site, reason_of
from tests.replicas.test_ask_replayed import drain, kill, let_go


class Guide:
    """A remote agent. It asks a question for each word of its message, and notes what began and what it was told."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.told: list[str] = []
        self.agent = Agent("Guide", "Asks its way.", resumable=True)
        self.agent.skill("guide")(self.guide)

    async def guide(self, turn: Turn) -> None:
        self.begun.append(turn.text)
        answers: list[str] = []
        for word in turn.text.split():
            await turn.artifact(f"{word}? ", id="way", append=bool(answers))
            await turn.status(f"at {word}")
            answers.append(await turn.ask(f"which {word}?"))
            self.told.append(answers[-1])
            await turn.artifact(f"{answers[-1]}. ", id="way", append=True)
        await turn.artifact("There.", id="way", append=True, last_chunk=True)


def run(address: str) -> Callable[..., Any]:
    async def step(turn: Turn, verb: str, rest: str) -> None:
        await turn.artifact(await RemoteAgent(address).run(turn.text, turn=turn), id="answer")

    return step


def stream(address: str) -> Callable[..., Any]:
    async def step(turn: Turn, verb: str, rest: str) -> None:
        pieces = [piece async for piece in RemoteAgent(address).stream(turn.text, turn=turn)]
        await turn.artifact("".join(pieces), id="answer")

    return step


async def join(site: Site, step: Callable[..., Any], **settings: Any) -> Replica:
    replica = await site.join(**settings)
    replica.hand._step = step  # type: ignore[method-assign]
    return replica


async def tasks_at(there: Served) -> list[Task]:
    response = await there.stub.ListTasks(ListTasksRequest(), metadata=V1)
    return list(response.tasks)


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("way", "places"),
    [(drain, {0}), (drain, {1}), (drain, {0, 1}), (kill, {0, 1}), (let_go, {0, 1})],
    ids=lambda shown: getattr(shown, "__name__", str(shown)),
)
@pytest.mark.parametrize("does", [run, stream])
async def test_questions_are_passed_on_and_the_answers_go_back_whatever_server_ends(
    site: Site, way: Any, places: set[int], does: Any
) -> None:
    guide = Guide()
    async with serving(guide.agent) as there:
        step = does(there.server.grpc_address)
        holder = await join(site, step, resumable=False)
        task = await holder.say("gate road")
        for place, (word, answer) in enumerate([("gate", "north"), ("road", "long")]):
            assert (task.status.state, reason_of(task)) == (INPUT_REQUIRED, f"which {word}?")
            if place in places:
                other = await join(site, step, resumable=False)
                await way(site, holder, task.id)
                holder = other
            task = await holder.say(answer, task.id)
        assert task.status.state == COMPLETED
        assert texts(task) == ["gate? north. road? long. There."]
        assert guide.begun == ["gate road"], "the remote work is done once"
        assert guide.told == ["north", "long"], "each answer is sent once"
        assert [one.status.state for one in await tasks_at(there)] == [COMPLETED]
        asked = [state for state in await site.states(task.id) if state in (INPUT_REQUIRED, COMPLETED)]
        assert asked == [INPUT_REQUIRED, INPUT_REQUIRED, COMPLETED], "no question is asked twice"


async def test_a_resumable_agent_that_is_lost_while_the_other_works_goes_on_with_the_same_task(site: Site) -> None:
    go, seen = asyncio.Event(), asyncio.Event()
    slow = Agent("Slow", "Takes its time.")

    @slow.skill()
    async def work(turn: Turn) -> str:
        seen.set()
        await go.wait()
        return f"{turn.text}: {await turn.ask('sure?')}"

    async with serving(slow) as there:
        a = await join(site, run(there.server.grpc_address))
        b = await join(site, run(there.server.grpc_address))
        task_id = await a.begin("dig")
        await seen.wait()
        await a.die()
        go.set()
        asked = await b.reaches(task_id, INPUT_REQUIRED)
        assert reason_of(asked) == "sure?"
        assert texts(await b.say("yes", task_id)) == ["dig: yes"]
        assert len(await tasks_at(there)) == 1


async def test_a_task_that_is_canceled_while_the_user_is_asked_cancels_the_remote_one(site: Site) -> None:
    async with serving(Guide().agent) as there:
        here = await join(site, run(there.server.grpc_address))
        task = await here.say("gate")
        assert (await here.cancel(task.id)).status.state == CANCELED
        assert [one.status.state for one in await tasks_at(there)] == [CANCELED]


async def test_an_authorization_is_asked_for_as_one_and_goes_on_with_the_answer(site: Site) -> None:
    lock = Agent("Lock", "Wants a key.")

    @lock.skill()
    async def turn_key(turn: Turn) -> str:
        if turn.text == "open":
            raise AuthRequired("sign in at https://lock.example")
        return f"opened with {turn.text}"

    async with serving(lock) as there:
        here = await join(site, run(there.server.grpc_address))
        task = await here.say("open")
        assert (task.status.state, reason_of(task)) == (AUTH_REQUIRED, "sign in at https://lock.example")
        other = await join(site, run(there.server.grpc_address))
        await here.server.stop()
        ended = await other.say("a ticket", task.id)
        assert (ended.status.state, texts(ended)) == (COMPLETED, ["opened with a ticket"])
        assert len(await tasks_at(there)) == 1


@pytest.mark.parametrize("answers", [0, 1])
@pytest.mark.parametrize("does", [run, stream])
async def test_a_task_that_is_canceled_while_no_handler_is_in_memory_cancels_the_remote_one(
    site: Site, does: Any, answers: int
) -> None:
    guide = Guide()
    called: list[str] = []
    async with serving(guide.agent) as there:
        go = does(there.server.grpc_address)

        async def step(turn: Turn, verb: str, rest: str) -> None:
            await turn.step("before", called.append, "once")
            await go(turn, verb, rest)

        here, other = await join(site, step, resumable=False), await join(site, step, resumable=False)
        task = await here.say("gate road")
        for _ in range(answers):
            task = await here.say("north", task.id)
        await here.server.stop()
        assert (await other.cancel(task.id)).status.state == CANCELED

        async def is_canceled() -> None:
            assert [one.status.state for one in await tasks_at(there)] == [CANCELED]

        await eventually(is_canceled, within_s=20)
        assert guide.begun == ["gate road"]
        assert guide.told == ["north"] * answers
        assert called == ["once"], "the handler comes to its question again without doing its steps again"
        assert (await site.states(task.id))[-2:] == [INPUT_REQUIRED, CANCELED]


async def test_in_memory_too_the_remote_task_is_canceled_after_what_the_handler_did_and_kept() -> None:
    called: list[str] = []
    branches: list[asyncio.Task[Any]] = []
    async with serving(Guide().agent) as there:

        async def ask(turn: Turn) -> str:
            beside = asyncio.create_task(turn.step("beside", asyncio.Event().wait))
            await turn.step("before", called.append, "once")
            await turn.remember("where", there.server.grpc_address)
            try:
                return await RemoteAgent(str(await turn.recall("where"))).run(turn.text, turn=turn)
            finally:
                branches.append(beside)

        async with serving(agent_of(ask), store="memory:", ask_hold_s=0.0) as here:
            task = (await here.send(request("gate"))).task
            await let_go_alone(here)
            await here.stub.CancelTask(CancelTaskRequest(id=task.id), metadata=V1)

            async def is_canceled() -> None:
                assert [one.status.state for one in await tasks_at(there)] == [CANCELED]

            await eventually(is_canceled, within_s=20)
            branches[0].cancel()
    await asyncio.wait(branches)
    assert called == ["once"]
    assert len(branches) == 2, "the branch beside does not keep the handler from its question"


async def test_a_task_that_expires_while_no_handler_is_in_memory_cancels_the_remote_one(site: Site) -> None:
    async with serving(Guide().agent) as there:
        settings = {"ask_hold_s": 0.0, "waiting_retention_s": 1.0, "sweep_interval_s": 0.1}
        here = await join(site, run(there.server.grpc_address), **settings)
        task_id = await here.begin("gate")
        ended = await here.reaches(task_id, FAILED)
        assert "expired" in reason_of(ended)

        async def is_canceled() -> None:
            assert [one.status.state for one in await tasks_at(there)] == [CANCELED]

        await eventually(is_canceled, within_s=20)
