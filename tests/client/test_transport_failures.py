"""Every failure that no agent has answered, at every operation: tried again if that is safe, else a lost connection.

The table of docs/client.md, row by row.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf.message import Message as ProtobufMessage

from a2a_grpc import Client, connect
from a2a_grpc.client import ConnectionLostError
from a2a_grpc.errors import (
    A2AError,
    InvalidRequestError,
    PermissionDeniedError,
    ResourceExhaustedError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnauthenticatedError,
    UnimplementedError,
)
from a2a_grpc.lifecycle import CANCELED, COMPLETED, WORKING
from a2a_grpc.protocol import IDEMPOTENT_SEND_EXTENSION
from a2a_grpc.wire import SendMessageResponse, StreamResponse, TaskPushNotificationConfig
from tests.client.failing import LOST, UNSENT, FailingServer, Failure, bare, page
from tests.client.foreign import status, task
from tests.client.peers import DONE, Peer, card_json, collected, peering
from tests.client.peers import Failure as PeerFailure
from tests.covers import covers
from tests.harness import eventually
from tests.proxy import Proxy

QUICK: dict[str, Any] = {"retry_initial_s": 0.001, "retry_maximum_s": 0.002}
AT_WORK = task(WORKING)


class Operation(NamedTuple):
    """What a client does, and what a server answers to it."""

    run: Callable[[Client], Awaitable[Any]]
    answer: ProtobufMessage
    is_send: bool = False


async def streamed(client: Client) -> Any:
    return (await collected(client.stream("hello")))[-1]


STREAMED = StreamResponse(task=DONE)
OPERATIONS = {
    "get": Operation(lambda client: client.get("t-1"), DONE),
    "cancel": Operation(lambda client: client.cancel("t-1"), DONE),
    "poll": Operation(lambda client: client.wait("t-1", poll_s=0.001), DONE),
    "wait": Operation(lambda client: client.wait("t-1"), STREAMED),
    "start": Operation(lambda client: client.start("hello"), SendMessageResponse(task=DONE), is_send=True),
    "send": Operation(lambda client: client.send("hello"), STREAMED, is_send=True),
    "stream": Operation(streamed, STREAMED, is_send=True),
}
SENDS = [name for name, operation in OPERATIONS.items() if operation.is_send]


def card_of(folder: Path, address: str, *, honours: bool) -> str:
    """Write the card of an agent that takes repeated sends for one, or does not say so; return its path."""
    extensions = [{"uri": IDEMPOTENT_SEND_EXTENSION}] if honours else []
    path = folder / "card.json"
    path.write_text(json.dumps(card_json(address, capabilities={"streaming": True, "extensions": extensions})))
    return str(path)


async def fail_all(
    failures: dict[str, Failure], operation: Operation, check: Callable[[Client, FailingServer], Awaitable[str]],
    folder: Path, *, honours: bool, count: int = 2, before: ProtobufMessage | None = None, **settings: Any,
) -> dict[str, str]:  # fmt: skip
    """Return what is wrong for each failure; nothing for those that end as they should."""
    wrong: dict[str, str] = {}
    for name, failure in failures.items():
        with FailingServer(failure, operation.answer, before=before, failures=count) as server:
            card = card_of(folder, server.address, honours=honours)
            async with connect(card, **QUICK, **settings) as client:
                try:
                    problem = await check(client, server)
                except Exception as error:
                    problem = repr(error)
        if problem:
            wrong[name] = problem
    return wrong


@covers("S1-14")
@pytest.mark.few(3)
@pytest.mark.parametrize("name", OPERATIONS)
async def test_what_no_agent_has_answered_is_tried_again_where_that_is_safe(name: str, tmp_path: Path) -> None:
    operation = OPERATIONS[name]

    async def check(client: Client, server: FailingServer) -> str:
        answer = await operation.run(client)
        return "" if (answer, server.calls) == (DONE, 3) else f"{server.calls} calls: {answer}"

    assert await fail_all({**UNSENT, **LOST}, operation, check, tmp_path, honours=True) == {}


@pytest.mark.parametrize("name", SENDS)
async def test_a_send_that_no_server_has_begun_with_is_sent_again_to_any_agent(name: str, tmp_path: Path) -> None:
    async def check(client: Client, server: FailingServer) -> str:
        answer = await OPERATIONS[name].run(client)
        return "" if (answer, server.calls) == (DONE, 3) else f"{server.calls} calls: {answer}"

    assert await fail_all(UNSENT, OPERATIONS[name], check, tmp_path, honours=False) == {}


@pytest.mark.parametrize("name", SENDS)
async def test_a_send_that_may_have_arrived_is_a_lost_connection_unless_the_agent_honours_its_key(
    name: str, tmp_path: Path
) -> None:
    async def check(client: Client, server: FailingServer) -> str:
        with pytest.raises(ConnectionLostError, match="whether the call has had its effect is not known"):
            await OPERATIONS[name].run(client)
        return "" if server.calls == 1 else f"{server.calls} calls"

    assert await fail_all(LOST, OPERATIONS[name], check, tmp_path, honours=False) == {}


@pytest.mark.few(3)
@pytest.mark.parametrize("name", OPERATIONS)
async def test_what_stays_away_is_a_lost_connection_in_the_end(name: str, tmp_path: Path) -> None:
    async def check(client: Client, server: FailingServer) -> str:
        with pytest.raises(ConnectionLostError):
            await OPERATIONS[name].run(client)
        return ""

    failures = {**UNSENT, **LOST}
    wrong = await fail_all(
        failures, OPERATIONS[name], check, tmp_path, honours=True, count=10**6, give_up_after_s=0.005
    )
    assert wrong == {}


# -- a stream whose first element was read: the task is known, and followed at any agent


async def test_a_stream_that_fails_after_its_first_element_goes_on_at_any_agent(tmp_path: Path) -> None:
    async def check(client: Client, server: FailingServer) -> str:
        async with client.stream("hello") as events:
            assert await anext(events) == AT_WORK
            server.go.set()
            told = [event async for event in events]
        return "" if told == [status(COMPLETED)] and events.task == DONE else f"{server.calls} calls: {told}"

    failures, before = {**UNSENT, **LOST}, StreamResponse(task=AT_WORK)
    assert await fail_all(failures, OPERATIONS["stream"], check, tmp_path, honours=False, before=before) == {}


async def test_a_stream_that_stays_cut_after_its_first_element_is_a_lost_connection_with_its_task(
    tmp_path: Path,
) -> None:
    async def check(client: Client, server: FailingServer) -> str:
        async with client.stream("hello") as events:
            assert await anext(events) == AT_WORK
            server.go.set()
            with pytest.raises(ConnectionLostError, match="gave up following task 't-1'") as lost:
                await anext(events)
        return "" if lost.value.task == AT_WORK else f"{lost.value.task}"

    wrong = await fail_all(
        {**UNSENT, **LOST}, OPERATIONS["stream"], check, tmp_path,
        honours=False, count=10**6, before=StreamResponse(task=AT_WORK), give_up_after_s=0.005,
    )  # fmt: skip
    assert wrong == {}


# -- what is an answer


ANSWERS: dict[str, tuple[Failure, type[A2AError], str]] = {
    "HTTP 401": (page(401), UnauthenticatedError, "HTTP 401"),
    "HTTP 403": (page(403), PermissionDeniedError, "HTTP 403"),
    "HTTP 404": (page(404), UnimplementedError, "HTTP 404"),
    "HTTP 413": (page(413), ResourceExhaustedError, "HTTP 413; the request is too large"),
    "HTTP 302": (page(302), A2AError, "HTTP 302"),
    "HTTP 501": (page(501), A2AError, "HTTP 501"),
    "NOT_FOUND": (bare(5), TaskNotFoundError, "upstream"),
    "INVALID_ARGUMENT": (bare(3), InvalidRequestError, "upstream"),
    "PERMISSION_DENIED": (bare(7), PermissionDeniedError, "upstream"),
    "UNAUTHENTICATED": (bare(16), UnauthenticatedError, "upstream"),
    "a bug of a Python agent": (bare(2, "Unexpected <class 'KeyError'>: 'x'"), A2AError, "KeyError"),
    "a bug of a Java agent": (bare(2, "Application error processing RPC"), A2AError, "Application error"),
    "too large for the agent": (
        bare(8, "SERVER: Received message larger than max (9 vs. 8)"),
        ResourceExhaustedError,
        "the request has 9 bytes",
    ),
}  # fmt: skip
"""A failure, what the client raises, and what that says. The same call would get the same answer."""


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("name", ["get", "poll", "start"])
async def test_an_answer_that_stays_is_raised_at_once(name: str, answer: str, tmp_path: Path) -> None:
    failure, kind, said = ANSWERS[answer]

    async def check(client: Client, server: FailingServer) -> str:
        with pytest.raises(kind, match=said) as failed:
            await OPERATIONS[name].run(client)
        assert not isinstance(failed.value, ConnectionLostError)
        return "" if server.calls == 1 else f"{server.calls} calls"

    assert await fail_all({answer: failure}, OPERATIONS[name], check, tmp_path, honours=True) == {}


# -- what is safe to repeat


async def test_a_cancel_whose_answer_was_lost_returns_the_task_that_it_canceled() -> None:
    refused = PeerFailure.of(TaskNotCancelableError("task 't-1' is CANCELED"))
    peer = Peer(failures=[PeerFailure(grpc.StatusCode.UNAVAILABLE, "Socket closed"), refused])
    peer.answers["GetTask"] = task(CANCELED)
    async with peering(peer), connect(peer.address, **QUICK) as client:
        assert await client.cancel("t-1") == task(CANCELED)
        peer.failures = [refused]
        with pytest.raises(TaskNotCancelableError):
            await client.cancel("t-1")


@pytest.mark.parametrize(("config_id", "calls"), [("", 1), ("p-1", 2)])
async def test_a_push_config_is_created_again_only_if_that_replaces_the_first_one(config_id: str, calls: int) -> None:
    peer = Peer(failures=[PeerFailure(grpc.StatusCode.UNAVAILABLE, "Socket closed")])
    config = TaskPushNotificationConfig(id=config_id, task_id="t-1", url="https://hooks.example/a")
    async with peering(peer), connect(peer.address, **QUICK) as client:
        if config_id:
            await client.create_push_config(config)
        else:
            with pytest.raises(ConnectionLostError, match="whether the call has had its effect is not known"):
                await client.create_push_config(config)
    assert (len(peer.calls), peer.questions) == (calls, 0)


async def test_the_time_without_contact_does_not_run_while_an_agent_thinks() -> None:
    give_up_after_s = 0.3
    peer = Peer(held=asyncio.Event())
    async with peering(peer), Proxy(peer.address) as proxy:
        async with connect(proxy.address, **QUICK, give_up_after_s=give_up_after_s) as client:
            sending = asyncio.create_task(client.send("hello"))

            def thinks_for_long() -> None:
                assert peer.calls
                assert time.monotonic() > peer.calls[0].at_s + 2 * give_up_after_s

            await eventually(thinks_for_long)
            peer.held_from = 2**31
            proxy.cut()
            assert await sending == DONE
