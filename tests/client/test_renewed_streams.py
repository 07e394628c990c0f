"""Streams that outlive their token: the server ends them, the client goes on after the last event with a new one."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from a2a_grpc import Client, Server, ServerSettings, connect, text_of
from a2a_grpc.auth import CallCredentials, Refused
from a2a_grpc.client import CredentialsUnavailableError, bearer, oauth2
from a2a_grpc.errors import UnauthenticatedError
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.principal import Principal
from a2a_grpc.wire import Task, TaskArtifactUpdateEvent
from tests.client.authority import CLIENT_ID, CLIENT_SECRET, Authority
from tests.client.peers import OPERATIONS, RPCS, Failure, Peer, collected, peering
from tests.covers import covers
from tests.harness import scripted, scripted_agent


class Brief:
    """An authenticator that accepts each token for a short time after it has seen the token first."""

    def __init__(self, life_s: float) -> None:
        self.life_s = life_s
        self.ends: dict[str, float] = {}

    async def __call__(self, credentials: CallCredentials) -> Principal | None:
        (value,) = credentials.metadata.get("authorization", ("",))
        token = str(value)
        if not token.startswith("Bearer "):
            return None
        end = self.ends.setdefault(token, time.time() + self.life_s)
        if time.time() > end:
            raise Refused("expired", "expired")
        return Principal("worker", method="test", expires_at=end)


@asynccontextmanager
async def serving(authenticator: Brief) -> AsyncIterator[Server]:
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off", drain_grace_s=0.0)
    async with Server(scripted_agent(), settings, auth=[authenticator]) as server:
        yield server


@asynccontextmanager
async def client_of(server: Server, authority: Authority, **settings: Any) -> AsyncIterator[Client]:
    authority.lifetime_s = 0.3
    credentials = oauth2(CLIENT_ID, CLIENT_SECRET, token_url=authority.token_url)
    async with connect(server.grpc_address, credentials=credentials, **settings) as client:
        yield client


CHUNKS = 16
WORK = scripted({"chunks": {"count": CHUNKS, "interval_s": 0.1}}).message
WHOLE = [f"chunk {number} " for number in range(CHUNKS)]


def chunks_of(events: list[Any]) -> list[str]:
    return [text_of(event.artifact) for event in events if isinstance(event, TaskArtifactUpdateEvent)]


@covers("SEC-5")
async def test_a_stream_goes_on_with_a_new_token_and_loses_no_event() -> None:
    brief = Brief(0.6)
    async with Authority() as authority, serving(brief) as server, client_of(server, authority) as client:
        async with client.stream(WORK) as stream:
            events = [event async for event in stream]
        assert chunks_of(events) == WHOLE
        assert stream.state == COMPLETED
        assert stream.seq == len(events)
    assert len(brief.ends) >= 2  # the test is about streams that were ended


async def test_a_subscription_goes_on_with_a_new_token_and_loses_no_event() -> None:
    brief = Brief(0.6)
    async with Authority() as authority, serving(brief) as server, client_of(server, authority) as client:
        task = await client.start(WORK)
        assert isinstance(task, Task)
        async with client.subscribe(task.id, after=0) as stream:
            events = [event async for event in stream]
        assert chunks_of(events) == WHOLE
    assert len(brief.ends) >= 2


async def test_a_blocking_send_goes_on_with_a_new_token() -> None:
    brief = Brief(0.6)
    async with Authority() as authority, serving(brief) as server, client_of(server, authority) as client:
        task = await client.send(WORK)
        assert isinstance(task, Task)
        assert text_of(task) == "".join(WHOLE)
    assert len(brief.ends) >= 2


async def test_polling_goes_on_with_a_new_token() -> None:
    brief = Brief(0.5)
    async with Authority() as authority, serving(brief) as server, client_of(server, authority) as client:
        task = await client.start(WORK)
        assert isinstance(task, Task)
        assert (await client.wait(task.id, poll_s=0.05)).status.state == COMPLETED
    assert len(brief.ends) >= 2


async def test_a_stream_waits_for_an_authorization_server_that_is_away() -> None:
    brief = Brief(0.6)
    async with Authority() as authority, serving(brief) as server, client_of(server, authority) as client:
        async with client.stream(WORK) as stream:
            first = await anext(stream)
            authority.answers = [(503, {})] * 3
            events = [first, *[event async for event in stream]]
        assert chunks_of(events) == WHOLE
    assert len(authority.requests) > 4


async def test_a_stream_gives_up_if_the_authorization_server_stays_away() -> None:
    async with Authority() as authority, serving(Brief(0.5)) as server:
        async with client_of(server, authority, give_up_after_s=0.5) as client, client.stream(WORK) as stream:
            await anext(stream)
            authority.answers = [(503, {})] * 1000
            with pytest.raises(Exception, match=r"gave up following task .* HTTP 503"):
                [event async for event in stream]


async def test_a_stream_that_the_authorization_server_refuses_ends_with_the_reason() -> None:
    async with Authority() as authority, serving(Brief(0.5)) as server:
        async with client_of(server, authority) as client, client.stream(WORK) as stream:
            await anext(stream)
            authority.answers = [(401, {"error": "invalid_client"})] * 100
            with pytest.raises(UnauthenticatedError, match="invalid_client"):
                [event async for event in stream]


async def test_a_token_that_stays_the_same_ends_the_stream() -> None:
    async with serving(Brief(0.5)) as server:
        async with connect(server.grpc_address, credentials=bearer("one")) as client, client.stream(WORK) as stream:
            with pytest.raises(UnauthenticatedError):
                [event async for event in stream]
            assert stream.seq


async def test_the_first_event_is_not_waited_for_if_there_is_no_token() -> None:
    async with Authority() as authority, serving(Brief(9)) as server, client_of(server, authority) as client:
        authority.answers = [(503, {})] * 1000
        with pytest.raises(CredentialsUnavailableError):
            await collected(client.stream(WORK))
    assert len(authority.requests) == 1


@pytest.mark.parametrize("rpc", RPCS)
async def test_a_call_that_is_refused_twice_is_not_sent_again(rpc: str) -> None:
    """Although there is another token for each call."""
    given = 0

    async def another() -> str:
        nonlocal given
        given += 1
        return f"token-{given}"

    peer = Peer(always=Failure.of(UnauthenticatedError()))
    async with peering(peer), connect(peer.address, credentials=bearer(another)) as client:
        with pytest.raises(UnauthenticatedError):
            await OPERATIONS[rpc](client)
    assert [call.rpc for call in peer.calls] == [rpc, rpc]
