"""Declaring an agent: functions, classes, and what is refused."""

import functools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from a2a.server.agent_execution import AgentExecutor

from a2a_grpc import Agent, InputRequired, InvalidRequestError, Message, Server, Turn, serve
from a2a_grpc.cli import serve_command
from a2a_grpc.cli.load import load_agent
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import Violation
from a2a_grpc.lifecycle import INPUT_REQUIRED
from a2a_grpc.parts import text_of
from a2a_grpc.server import ServerSettings
from a2a_grpc.wire import AgentCapabilities, AgentCard
from tests.agent.agents import agent_of, follow_up, result, stored_tasks, told
from tests.covers import covers
from tests.harness import elements, refusal, request, serving, texts


class WordCounter:
    """Counts the words of the message."""

    def __init__(self, unit: str = "words") -> None:
        self.unit = unit

    async def execute(self, turn: Turn) -> str:
        return f"{len(turn.text.split())} {self.unit}"


class Streamer:
    async def execute(self, turn: Turn) -> AsyncIterator[str]:
        """Streams the words."""
        for word in turn.text.split():
            yield word


async def play(agent: Agent, text: str) -> list[str]:
    async with serving(agent) as served:
        return texts((await served.send(request(text))).task)


# -- functions and classes


async def test_a_class_is_made_once_and_its_execute_is_the_handler() -> None:
    agent = Agent("Counter", "Counts.")
    assert agent.skill()(WordCounter) is WordCounter, "the decorator leaves the class as it is"
    assert await play(agent, "one two three") == ["3 words"]


async def test_an_instance_with_its_own_arguments_is_a_handler() -> None:
    agent = Agent("Counter", "Counts.")
    agent.skill("count")(WordCounter("pieces"))
    assert await play(agent, "one two") == ["2 pieces"]


async def test_the_execute_of_a_class_can_be_a_generator() -> None:
    agent = Agent("Streamer", "Streams.")
    agent.skill()(Streamer)
    async with serving(agent) as served:
        assert told(await elements(served.stream(request("a b"))))[2:] == [
            "artifact 'a'", "artifact 'b' append", "artifact '' append last", "COMPLETED",
        ]  # fmt: skip


async def test_a_bound_method_and_a_partial_are_handlers() -> None:
    async def add(turn: Turn, number: int) -> int:
        return int(turn.text) + number

    async with serving(agent_of(WordCounter("x").execute)) as served:
        assert texts((await served.send(request("a b"))).task) == ["2 x"]
    assert [part.data.number_value for part in (await result(functools.partial(add, number=2), request("40")))
            .artifacts[0].parts] == [42]  # fmt: skip


async def test_the_card_says_what_the_declaration_leaves_to_the_function() -> None:
    agent = Agent("Many", "Does many things.")

    @agent.skill()
    async def find_flights(turn: Turn) -> None:
        """Find flights.

        Between two cities.
        """

    agent.skill()(WordCounter)
    agent.skill()(Streamer())

    @agent.skill("book", name="Booking", description="Books.", tags=["travel"], examples=["book it"])
    async def anything(turn: Turn) -> None:
        """Not this."""

    async with serving(agent) as served:
        skills = served.server.card.skills
    assert [(skill.id, skill.name, skill.description, list(skill.tags), list(skill.examples)) for skill in skills] == [
        ("find_flights", "Find flights", "Find flights.\n\nBetween two cities.", ["find_flights"], []),
        ("word_counter", "Word counter", "Counts the words of the message.", ["word_counter"], []),
        ("streamer", "Streamer", "Streams the words.", ["streamer"], []),
        ("book", "Booking", "Books.", ["travel"], ["book it"]),
    ]


# -- what is refused where it is declared


def blocking(turn: Turn) -> str:
    return "sync"


class Blocking:
    def execute(self, turn: Turn) -> str:
        return "sync"


class Nothing:
    """Has no execute."""


@pytest.mark.parametrize(
    ("target", "named"),
    [(blocking, "blocking"), (Blocking, "Blocking.execute"), (Blocking(), "Blocking.execute"), (Nothing, "Nothing"),
     (len, "len")],
)  # fmt: skip
def test_what_is_not_asynchronous_is_refused_by_name(target: Any, named: str) -> None:
    agent = Agent("A", "a")
    with pytest.raises(TypeError, match=rf"{named}.* must be `async def`"):
        agent.skill()(target)
    assert agent.skills == {}


def test_a_skill_id_that_is_taken_is_refused_by_name() -> None:
    agent = Agent("A", "a")

    async def handler(turn: Turn) -> None:
        return None

    agent.skill("count")(handler)
    with pytest.raises(ValueError, match="skill 'count' is declared twice"):
        agent.skill("count")(handler)
    assert list(agent.skills) == ["count"]


async def handler(turn: Turn) -> None:
    return None


def without_a_skill() -> Agent:
    return Agent("Idle", "Does nothing.")


def with_an_unknown_default() -> Agent:
    agent = Agent("Lost", "Is lost.", default_skill="find")
    agent.skill("search")(handler)
    return agent


def empty(field: str) -> Agent:
    agent = Agent(**{"name": "Agent", "description": "Is one.", "version": "1.0.0", field: ""})  # type: ignore[arg-type]
    agent.skill()(handler)
    return agent


def offering_push() -> Agent:
    agent = Agent("Pushy", "Pushes.", card=AgentCard(capabilities=AgentCapabilities(push_notifications=True)))
    agent.skill()(handler)
    return agent


@covers("CARD-11")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (without_a_skill, r"agent 'Idle' has no skill; declare one with @agent\.skill\(\)"),
        (with_an_unknown_default, "agent 'Lost': default_skill 'find' is not one of its skills"),
        (lambda: empty("name"), "agent '': name is empty; the card needs it"),
        (lambda: empty("description"), "agent 'Agent': description is empty; the card needs it"),
        (lambda: empty("version"), "agent 'Agent': version is empty; the card needs it"),
        (
            offering_push,
            r"agent 'Pushy': the card offers push_notifications, which this server does not: give --push, or "
            r"Server\(…, push=PushSettings\(push=True\)\)",
        ),
    ],
    ids=["no skill", "unknown default skill", "no name", "no description", "no version", "push notifications"],
)
async def test_an_agent_that_can_have_no_valid_card_is_refused_before_a_port_is_bound(
    make: Callable[[], Agent], said: str
) -> None:
    server = Server(make(), ServerSettings(listen="127.0.0.1:0", http_listen="off"))
    with pytest.raises(ConfigurationError, match=f"^{said}$"):
        await server.start()
    assert (server.grpc_address, server.is_ready) == ("", False)


# -- validate


def no_numbers(sent: Message) -> None:
    """Refuses texts with a digit."""
    for place, part in enumerate(sent.parts):
        if any(character.isdigit() for character in part.text):
            raise InvalidRequestError.of(Violation(f"message.parts[{place}].text", "has a digit; write it out"))


def validating(validate: Callable[[Message], None], played: list[str], **declaration: Any) -> Agent:
    async def note(turn: Turn) -> str:
        played.append(turn.text)
        if turn.text == "ask":
            raise InputRequired("and?")
        return "hi"

    return agent_of(note, validate=validate, **declaration)


@covers("VAL-8")
@pytest.mark.parametrize("answers", ["task", "message"])
async def test_validate_refuses_a_message_before_anything_is_stored_or_played(answers: str) -> None:
    played: list[str] = []
    async with serving(validating(no_numbers, played, answers=answers)) as served:
        for call in (served.send(request("room 7")), served.stream(request("room 7"))):
            refused = await refusal(call)
            assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMS")
            assert refused.fields == ["message.parts[0].text"]
            assert refused.text == "message.parts[0].text: has a digit; write it out"
        assert await stored_tasks(served) == 0
        assert played == []
        await served.send(request("room seven"))
    assert played == ["room seven"]


@covers("VAL-8")
async def test_validate_sees_follow_ups_and_leaves_the_task_as_it_was() -> None:
    played: list[str] = []
    async with serving(validating(no_numbers, played)) as served:
        waiting = (await served.send(request("ask"))).task
        assert waiting.status.state == INPUT_REQUIRED
        refused = await refusal(served.send(follow_up(waiting, "room 7")))
        assert refused.fields == ["message.parts[0].text"]
        assert await served.get(waiting.id) == waiting
        assert texts((await served.send(follow_up(waiting, "room seven"))).task) == ["hi"]
    assert played == ["ask", "room seven"]


async def test_validate_sees_only_the_messages_of_its_own_skill() -> None:
    agent = Agent("Two", "Has two skills.")

    async def echo(turn: Turn) -> str:
        return turn.text

    agent.skill("strict", validate=no_numbers)(echo)
    agent.skill("lax")(echo)
    agent.router(lambda sent: "lax" if text_of(sent).startswith("lax") else "strict")
    async with serving(agent) as served:
        assert texts((await served.send(request("lax 7"))).task) == ["lax 7"]
        assert (await refusal(served.send(request("strict 7")))).code is grpc.StatusCode.INVALID_ARGUMENT


class Executor(AgentExecutor):  # type: ignore[misc]  # without its extras the SDK has no types
    """An agent of the official SDK."""

    async def execute(self, context: Any, event_queue: Any) -> None:
        """Does it."""

    async def cancel(self, context: Any, event_queue: Any) -> None:
        """Stops it."""


class NeedsModel(Executor):
    def __init__(self, model: str) -> None:
        """Takes what a class that is declared is not given."""


class LooksLikeOne:
    async def execute(self, context: Any, event_queue: Any) -> None:
        """Does it."""


EXECUTORS = {
    "class": Executor,
    "object": Executor(),
    "method of an object": Executor().execute,
    "method of the class": Executor.execute,
    "class that takes something": NeedsModel,
    "object that took something": NeedsModel("x"),
    "class that looks like one": LooksLikeOne,
}


@pytest.mark.parametrize("target", EXECUTORS.values(), ids=EXECUTORS)
def test_an_agent_executor_of_the_official_sdk_is_refused_as_a_skill_with_the_way_out(target: Any) -> None:
    agent = Agent("A", "a")
    with pytest.raises(TypeError, match=r"(Executor|NeedsModel|LooksLikeOne).* is an AgentExecutor .*async def answer"):
        agent.skill()(target)
    assert agent.skills == {}


@pytest.mark.parametrize("take", [Server, serve, serve_command], ids=lambda take: take.__name__)
def test_an_agent_executor_of_the_official_sdk_is_refused_as_an_agent_with_the_way_out(take: Any) -> None:
    for target in (Executor(), Executor, NeedsModel("x")):
        with pytest.raises(TypeError, match=r"is an AgentExecutor of the official SDK.*async def answer"):
            take(target)
    with pytest.raises(TypeError, match="'translator' is not an Agent; make one with Agent"):
        take("translator")


async def two(turn: Turn, other: str) -> None:
    """Takes too much."""


async def none_at_all() -> None:
    """Takes too little."""


async def more(turn: Turn, style: str = "plain", *rest: str, **others: str) -> str:
    """Takes what it needs not be given."""
    return "well"


def test_a_handler_takes_the_turn_and_needs_nothing_else() -> None:
    agent = Agent("A", "a")
    for handler in (two, none_at_all):
        with pytest.raises(TypeError, match=rf"^{handler.__name__}\(.* must take one argument, the turn"):
            agent.skill()(handler)
    agent.skill()(more)
    assert list(agent.skills) == ["more"]


def test_a_file_whose_agent_is_an_agent_executor_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "executor.py"
    path.write_text("from tests.agent.test_declaration import Executor\n\nagent = Executor()\n")
    for target in (f"{path}", f"{path}:agent"):
        with pytest.raises(ConfigurationError, match=r"'agent' in .* is an AgentExecutor of the official SDK"):
            load_agent(target)


def test_a_decorator_without_parentheses_is_refused_with_the_way_to_write_it() -> None:
    agent = Agent("A", "a")
    said = r"Agent\.skill\(\): id is the function 'work'; write the decorator with parentheses: @agent\.skill\(\)"
    with pytest.raises(TypeError, match=said):

        @agent.skill  # type: ignore[arg-type]
        async def work(turn: Turn) -> None: ...

    with pytest.raises(TypeError, match="id is the class 'WordCounter'; write the decorator with parentheses"):
        agent.skill(WordCounter)  # type: ignore[arg-type]
    assert agent.skills == {}
