"""Wrong arguments of every public function are refused by name, with the value and what is expected, before anything is
done."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import a2a_grpc
from a2a_grpc import (
    A2AError,
    Agent,
    ClientManager,
    RemoteAgent,
    Server,
    ServerSettings,
    Turn,
    connect,
    data_of,
    serve,
    text_of,
)
from a2a_grpc.arguments import checked, rule_of
from a2a_grpc.auth import AuthSettings
from a2a_grpc.client import BlockingClient, ClientSettings
from a2a_grpc.engine import EngineSettings
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.rpc import TransportSettings
from a2a_grpc.server import RequestLimits
from a2a_grpc.wire import SendMessageRequest, Task, TaskPushNotificationConfig, TaskState
from tests.agent.agents import result
from tests.client.peers import peering

NOWHERE = "127.0.0.1:1"


class Wrong:
    """What no parameter takes."""


VALID: dict[str, Any] = {
    "agent": Agent("A", "a"),
    "callback": print,
    "config": TaskPushNotificationConfig(),
    "event": Task(),
    "fn": print,
    "name": "x",
    "request": SendMessageRequest(),
    "urls": [],
}
"""What required parameters are given, if a text will not do."""

SAID = {
    "content": r"data: Wrong is not a JSON value; possible are None, bool",
    "question": r"data: Wrong is not a JSON value; possible are None, bool",
    "agent": r"Wrong object .* is not an Agent",
    "function": r"Wrong object .* must be `async def`",
}
"""Of parameters with a sentence of their own."""


def parameters(function: Callable[..., Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each parameter that a function names, with keywords of which this one is wrong."""
    named = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self" and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    valid = VALID | {"signaled": asyncio.get_running_loop().create_future()}
    needed = {name: valid.get(name, "x") for name, item in named.items() if item.default is item.empty}
    for name in named:
        yield name, {**needed, name: Wrong()}


def methods(thing: object) -> Iterator[Callable[..., Any]]:
    """Yield the public methods of an object."""
    for name in dir(type(thing)):
        if not name.startswith("_") and inspect.isfunction(getattr(type(thing), name)):
            yield getattr(thing, name)


async def called(function: Callable[..., Any], keywords: dict[str, Any]) -> None:
    """Call a function of any kind."""
    made = function(**keywords)
    if inspect.isawaitable(made):
        await asyncio.wait_for(made, 30)
    elif inspect.isasyncgen(made):
        await anext(made)
    elif hasattr(made, "__aenter__") and not hasattr(made, "close"):
        async with made:
            pass


async def check(function: Callable[..., Any]) -> int:
    """Check that a function refuses a wrong value for each of its parameters. Return how many it has."""
    count = 0
    for name, keywords in parameters(function):
        count += 1
        said = SAID.get(name, rf"\b{name} is .*\bWrong\b.* (must be|not) (an? |'task'|'high'|'auto')")
        with pytest.raises(TypeError, match=said):
            await called(function, keywords)
    return count


FUNCTIONS = [getattr(a2a_grpc, name) for name in a2a_grpc.__all__ if not hasattr(getattr(a2a_grpc, name), "DESCRIPTOR")]
FUNCTIONS += [BlockingClient, ClientSettings, EngineSettings, TransportSettings, RequestLimits, AuthSettings]


@pytest.mark.parametrize("function", [made for made in FUNCTIONS if made is not Turn], ids=lambda made: made.__name__)
async def test_a_public_function_or_class_refuses_a_wrong_value_of_each_parameter(function: Any) -> None:
    assert await check(function) > 0 or function is ClientManager


async def test_a_public_method_refuses_a_wrong_value_of_each_parameter_before_a_call_is_made() -> None:
    count = 0
    async with peering() as peer, connect(peer.address) as client:
        blocking = BlockingClient(peer.address)
        agent = Agent("A", "a")
        for thing in (agent, Server(agent), client, RemoteAgent(peer.address), ClientManager(), blocking):
            for method in methods(thing):
                count += await check(method)
        await asyncio.to_thread(blocking.close)
        assert peer.calls == []
    assert count > 60


async def test_a_turn_refuses_a_wrong_value_of_each_parameter_and_the_task_goes_on() -> None:
    counts: list[int] = []

    async def handler(turn: Turn) -> str:
        counts.extend([await check(method) for method in methods(turn)])
        return "done"

    task = await result(handler)
    assert sum(counts) > 15
    assert (task.status.state, text_of(task), len(task.history)) == (COMPLETED, "done", 1)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "a turn that is a text": (
        lambda: asyncio.run(RemoteAgent(NOWHERE).run("hi", turn="x")),  # type: ignore[arg-type]
        r"RemoteAgent\.run\(\): turn is 'x', of type str; it must be a Turn or None",
    ),
    "an option for the content": (
        lambda: asyncio.run(RemoteAgent(NOWHERE).run(text=3)),  # type: ignore[call-arg]
        r"RemoteAgent\.run\(\) has no option 'text'",
    ),
    "no target": (lambda: connect(None), r"target is None, of type NoneType; it must be a str"),  # type: ignore[arg-type]
    "a number as a name": (lambda: Agent(3, "a"), r"name is 3, of type int; it must be a str"),  # type: ignore[arg-type]
    "a text for a list": (
        lambda: Agent("A", "a", input_modes="text/plain"),
        r"input_modes is 'text/plain', of type str",
    ),
    "a number in a list": (
        lambda: Agent("A", "a").skill(tags=["x", 3]),  # type: ignore[list-item]
        r"tags\[1\] is 3, of type int; it must be a str",
    ),
    "an answer of another kind": (
        lambda: Agent("A", "a").skill(answers="text"),  # type: ignore[arg-type]
        r"answers is 'text', of type str; it must be 'task' or 'message'",
    ),
    "a function that is no agent": (lambda: serve(print), "is not an Agent"),  # type: ignore[arg-type]
    "a text that is no agent": (lambda: Server("x"), "is not an Agent"),  # type: ignore[arg-type]
    "a store that is an address": (
        lambda: Server(Agent("A", "a"), store="memory:"),  # type: ignore[arg-type]
        "store is of type str; it must be a TaskStore",
    ),
    "a setting as a text": (
        lambda: connect(NOWHERE, timeout_s="3"),
        r"timeout_s is '3', of type str; it must be a number",
    ),
    "a truth for a number": (
        lambda: ServerSettings(max_calls=True),
        r"max_calls is True, of type bool; it must be an int",
    ),
    "a misspelt setting": (lambda: ServerSettings(listn="x"), "did you mean 'listen'"),  # type: ignore[call-arg]
    "a misspelt argument of connect": (lambda: connect(NOWHERE, credential=None), "did you mean 'credentials'"),
    "a misspelt argument of serve": (lambda: serve(Agent("A", "a"), interceptor=()), "did you mean 'interceptors'"),
    "a text as text's source": (lambda: text_of("x"), "source is 'x', of type str; it must be a Task"),  # type: ignore[arg-type]
    "numbers as data's source": (lambda: data_of([3]), "source is 3, of type int; it must be a Task"),  # type: ignore[list-item]
    "settings of a manager": (lambda: ClientManager(headers="x"), "headers is of type str; it must be a list of"),
    "an error's words": (lambda: A2AError(3), "message is of type int, not a str"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_argument_is_a_type_error_that_says_what_is_expected(kind: str) -> None:
    call, said = WRONG[kind]
    with pytest.raises(TypeError, match=said):
        call()


def test_no_secret_is_repeated() -> None:
    for wrong in ({"credentials": "canary"}, {"headers": "canary"}, {"headers": [("authorization", "canary", 3)]}):
        keywords: dict[str, Any] = wrong
        with pytest.raises(TypeError) as raised:
            connect(NOWHERE, **keywords)
        assert "canary" not in str(raised.value)


TYPOS: dict[str, tuple[dict[str, Any], str]] = {
    "get": ({"histroy_length": 3}, "did you mean 'history_length'"),
    "cancel": ({"meta": {}}, "did you mean 'metadata'"),
    "wait": ({"poll": 1}, "did you mean 'poll_s'"),
    "list": ({"contxt_id": "x"}, "did you mean 'context_id'"),
    "subscribe": ({"afer": 1}, "did you mean 'after'"),
    "card": ({"fresh": True}, "it has none"),
    "get_push_config": ({"configid": "x"}, "did you mean 'config_id'"),
    "delete_push_config": ({"frobnicate": 1}, "its options are task_id, config_id"),
    "extended_card": ({"timeout": 1}, "did you mean 'timeout_s', a setting of connect"),
}


@pytest.mark.parametrize("method", TYPOS)
async def test_a_misspelt_option_of_any_operation_is_a_type_error_with_the_nearest_name(method: str) -> None:
    option, said = TYPOS[method]
    async with peering() as peer, connect(peer.address) as client:
        blocking = BlockingClient(peer.address)
        for thing in (client, blocking):
            with pytest.raises(TypeError, match=rf"{method}\(\) has no option '{next(iter(option))}'; {said}"):
                await called(getattr(thing, method), option)
        await asyncio.to_thread(blocking.close)
        assert peer.calls == []


async def test_a_text_that_cannot_be_encoded_is_refused_by_the_name_of_its_argument() -> None:
    half = "\ud800"
    said = "which contains half of a surrogate pair, which is no character"
    async with peering() as peer, connect(peer.address) as client:
        calls: dict[str, Callable[[], Any]] = {
            "task_id": lambda: client.get(half),
            "context_id": lambda: client.send("x", context_id=half),
            r"reference_task_ids\[1\]": lambda: client.send("x", reference_task_ids=["a", half]),
        }
        for name, call in calls.items():
            with pytest.raises(ValueError, match=rf"{name} is '\\ud800', {said}"):
                await call()
        assert peer.calls == []


async def test_a_wrong_artifact_changes_nothing() -> None:
    async def handler(turn: Turn) -> AsyncIterator[str]:
        for wrong in ({"name": 3}, {"id": "\ud800"}, {"append": "yes"}, {"nam": "x"}):
            keywords: dict[str, Any] = wrong
            with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
                await turn.artifact("x", **keywords)
        yield "good"

    task = await result(handler)
    assert [text_of(artifact) for artifact in task.artifacts] == ["good"]


def test_files_of_settings_may_have_names_that_are_no_text() -> None:
    assert ClientSettings(ca_cert="\udcff.pem").ca_cert == "\udcff.pem"


def test_rules_follow_the_annotations() -> None:
    fits: dict[Any, tuple[list[Any], list[Any]]] = {
        float: ([1, 1.5], [True, "1"]),
        int | None: ([None, 0], [1.5, False]),
        Sequence[str]: ([["a"], ("a",), []], ["a", None, [3], {"a": 1}]),
        datetime: ([datetime(2026, 1, 1)], ["2026"]),
        Path | str: ([Path("x"), "x"], [3]),
    }
    for hint, (good, bad) in fits.items():
        rule = rule_of(hint)
        assert rule is not None
        assert [rule.fits(value) for value in (*good, *bad)] == [True] * len(good) + [False] * len(bad)
    states = rule_of(TaskState)
    assert states is not None
    assert (states.fits(COMPLETED), states.fits(True), states.fits("COMPLETED")) == (True, False, False)


async def test_a_checked_class_stays_what_it_is_for_tools() -> None:
    @checked()
    class Thing:
        def __init__(self, name: str) -> None:
            self.name = name

        async def work(self, count: int = 1) -> str:
            """Work."""
            return self.name * count

    assert inspect.iscoroutinefunction(Thing.work)
    assert (Thing.work.__doc__, str(inspect.signature(Thing.work))) == ("Work.", "(self, count: int = 1) -> str")
    assert await Thing("x").work(3) == "xxx"
