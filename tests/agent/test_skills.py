"""Which skill a message is for."""

import asyncio
from collections.abc import Callable

import grpc
import pytest

from a2a_grpc import Agent, InputRequired, Message, Turn
from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED
from a2a_grpc.parts import Json, text_of
from a2a_grpc.wire import SendMessageRequest
from tests.agent.agents import agent_of, follow_up, stored_tasks, with_metadata
from tests.covers import covers
from tests.harness import refusal, request, serving, texts

Route = Callable[[Message], str | None]


def agent_of_two(route: Route | None = None, *, default_skill: str | None = None) -> Agent:
    """An agent whose skills `add` and `mul` say their name; both ask once where the text is "ask"."""
    agent = Agent("Two", "Has two skills.", default_skill=default_skill)

    async def play(turn: Turn) -> str:
        if turn.text == "ask":
            raise InputRequired(f"{turn.skill}?")
        return turn.skill

    agent.skill("add")(play)
    agent.skill("mul")(play)
    if route is not None:
        agent.router(route)
    return agent


async def skill_played(agent: Agent, sent: SendMessageRequest) -> str:
    async with serving(agent) as served:
        [skill] = texts((await served.send(sent)).task)
        return skill


def naming(skill: str, text: str = "hello") -> SendMessageRequest:
    return with_metadata(request(text), {"skill": skill}, {})


async def test_the_only_skill_gets_every_message() -> None:
    async def handler(turn: Turn) -> str:
        return turn.skill

    assert await skill_played(agent_of(handler), request()) == "work"
    assert await skill_played(agent_of(handler), naming("work")) == "work"


@pytest.mark.parametrize("skill", ["add", "mul"])
async def test_a_message_names_its_skill_in_its_metadata(skill: str) -> None:
    assert await skill_played(agent_of_two(), naming(skill)) == skill


@pytest.mark.parametrize("wrong", [7, True, None, ["add"], {"id": "add"}], ids=str)
async def test_a_skill_that_is_no_text_is_refused_by_its_field_also_beside_one_that_is(wrong: Json) -> None:
    async def only(turn: Turn) -> str:
        return turn.skill

    for agent in (agent_of_two(default_skill="mul"), agent_of(only)):
        async with serving(agent) as served:
            bad: dict[str, Json] = {"skill": wrong}
            good: dict[str, Json] = {"skill": "work"}
            for message_metadata, request_metadata, field in (
                (bad, {}, "message.metadata.skill"),
                ({}, bad, "metadata.skill"),
                (good, bad, "metadata.skill"),
            ):
                sent = with_metadata(request(), message_metadata, request_metadata)
                refused = await refusal(served.send(sent))
                assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])
                assert "must be a text" in refused.text
            assert await stored_tasks(served) == 0


async def test_an_answer_that_names_a_skill_by_a_number_is_refused_and_the_task_waits_on() -> None:
    async with serving(agent_of_two()) as served:
        task = (await served.send(naming("add", "ask"))).task
        refused = await refusal(served.send(with_metadata(follow_up(task, "more"), {"skill": 1}, {})))
        assert refused.fields == ["message.metadata.skill"]
        assert (await served.get(task.id)).status.state == INPUT_REQUIRED


@pytest.mark.parametrize("skill", ["add", "mul"])
async def test_a_request_names_the_skill_in_its_metadata(skill: str) -> None:
    assert await skill_played(agent_of_two(), with_metadata(request(), {}, {"skill": skill})) == skill


async def test_the_messages_own_metadata_counts_before_the_requests() -> None:
    assert await skill_played(agent_of_two(), with_metadata(request(), {"skill": "add"}, {"skill": "mul"})) == "add"


async def test_the_router_chooses_for_a_message_that_names_none() -> None:
    agent = agent_of_two(text_of)
    assert await skill_played(agent, request("mul")) == "mul"
    assert await skill_played(agent, request("add")) == "add"


async def test_the_router_may_be_asynchronous() -> None:
    agent = agent_of_two()

    @agent.router
    async def route(sent: Message) -> str:
        await asyncio.sleep(0)
        return text_of(sent)

    assert await skill_played(agent, request("mul")) == "mul"


async def test_the_router_is_not_asked_where_the_message_names_its_skill() -> None:
    asked: list[str] = []
    agent = agent_of_two(lambda sent: asked.append("router") or "add")  # type: ignore[func-returns-value]
    assert await skill_played(agent, naming("mul")) == "mul"
    assert asked == []


async def test_the_default_skill_gets_what_the_router_does_not_place() -> None:
    agent = agent_of_two(lambda sent: "add" if text_of(sent) == "add" else None, default_skill="mul")
    assert await skill_played(agent, request("add")) == "add"
    assert await skill_played(agent, request("other")) == "mul"


async def test_the_default_skill_gets_every_message_that_names_none_without_a_router() -> None:
    assert await skill_played(agent_of_two(default_skill="mul"), request()) == "mul"
    assert await skill_played(agent_of_two(default_skill="mul"), naming("add")) == "add"


@covers("VAL-2")
@pytest.mark.parametrize(
    ("sent", "field", "said"),
    [
        (naming("sub"), "message.metadata.skill", "'sub' is not a skill of this agent; its skills are 'add', 'mul'"),
        (
            with_metadata(request(), {}, {"skill": "sub"}),
            "metadata.skill",
            "'sub' is not a skill of this agent; its skills are 'add', 'mul'",
        ),
        (
            request(),
            "message.metadata.skill",
            "this agent has several skills; name one of 'add', 'mul' in the metadata, for example "
            'metadata={"skill": "add"} in Python, -m skill=add on the command line',
        ),
    ],
    ids=["unknown in the message", "unknown in the request", "none"],
)
async def test_an_unknown_or_missing_skill_is_refused_with_field_and_choices_and_nothing_is_stored(
    sent: SendMessageRequest, field: str, said: str
) -> None:
    async with serving(agent_of_two()) as served:
        for call in (served.send(sent), served.stream(sent)):
            refused = await refusal(call)
            assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMS")
            assert refused.fields == [field]
            assert refused.text == f"{field}: {said}"
        assert await stored_tasks(served) == 0


async def test_an_agent_with_one_skill_refuses_an_unknown_one_too() -> None:
    async def handler(turn: Turn) -> None:
        return None

    async with serving(agent_of(handler)) as served:
        refused = await refusal(served.send(naming("play")))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["message.metadata.skill"])
    assert "its skills are 'work'" in refused.text


async def test_a_follow_up_keeps_the_skill_of_its_task_without_the_router() -> None:
    asked: list[str] = []

    def route(sent: Message) -> str:
        asked.append(text_of(sent))
        return "mul" if text_of(sent) == "ask" else "add"

    async with serving(agent_of_two(route)) as served:
        waiting = (await served.send(request("ask"))).task
        assert (waiting.status.state, text_of(waiting.status.message)) == (INPUT_REQUIRED, "mul?")
        ended = (await served.send(follow_up(waiting, "more"))).task
    assert (ended.status.state, texts(ended)) == (COMPLETED, ["mul"])
    assert asked == ["ask"]


async def test_a_follow_up_may_name_another_skill() -> None:
    async with serving(agent_of_two(default_skill="mul")) as served:
        waiting = (await served.send(request("ask"))).task
        ended = (await served.send(with_metadata(follow_up(waiting, "more"), {"skill": "add"}, {}))).task
    assert texts(ended) == ["add"]


async def test_a_follow_up_that_names_an_unknown_skill_is_refused_and_the_task_waits_on() -> None:
    async with serving(agent_of_two(default_skill="mul")) as served:
        waiting = (await served.send(request("ask"))).task
        refused = await refusal(served.send(with_metadata(follow_up(waiting, "more"), {"skill": "sub"}, {})))
        assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["message.metadata.skill"])
        assert await served.get(waiting.id) == waiting


async def test_a_follow_up_cannot_go_to_a_skill_that_answers_with_a_message() -> None:
    agent = agent_of_two(default_skill="mul")

    @agent.skill("chat", answers="message")
    async def chat(turn: Turn) -> str:
        return "hi"

    async with serving(agent) as served:
        waiting = (await served.send(request("ask"))).task
        refused = await refusal(served.send(with_metadata(follow_up(waiting, "more"), {"skill": "chat"}, {})))
        assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["message.metadata.skill"])
        assert await served.get(waiting.id) == waiting
