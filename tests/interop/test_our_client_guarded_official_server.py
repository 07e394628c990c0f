"""This client with OAuth 2.0, at an agent on the official SDK's server with a check of bearer tokens before it."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from a2a_grpc import Task, connect, text_of
from a2a_grpc.client import bearer, oauth2
from a2a_grpc.errors import UnauthenticatedError
from a2a_grpc.lifecycle import COMPLETED
from tests.client.authority import CLIENT_ID, CLIENT_SECRET, Authority
from tests.client.test_credentials import told
from tests.harness import Program, scripted

WORK = scripted({"chunks": {"count": 3}}).message

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
async def official() -> AsyncIterator[Program]:
    async with Program("tests/interop/sdk_server.py") as program:
        yield program


@pytest.fixture
async def authority() -> AsyncIterator[Authority]:
    async with Authority() as running:
        yield running


def card_of(official: Program, authority: Authority) -> str:
    return f"{official.http}/guarded/.well-known/agent-card.json?token_url={authority.token_url}"


async def revoke(official: Program, token: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{official.http}/revoke/{token}") as answer:
        assert answer.status == 200


async def test_a_token_from_the_endpoint_that_the_card_names(official: Program, authority: Authority) -> None:
    authority.given = 100
    async with connect(card_of(official, authority), credentials=oauth2(CLIENT_ID, CLIENT_SECRET)) as client:
        task = await client.send(WORK)
        assert isinstance(task, Task)
        assert task.status.state == COMPLETED
        assert text_of(task) == "0 1 2 "
        assert (await client.get(task.id)).id == task.id
        assert (await client.card()).name == "Official, guarded, extended"
    assert [asked.form["scope"] for asked in authority.requests] == ["play"]


async def test_a_revoked_token_is_replaced(official: Program, authority: Authority) -> None:
    authority.given = 200
    async with connect(card_of(official, authority), credentials=oauth2(CLIENT_ID, CLIENT_SECRET)) as client:
        task = await client.send(WORK)
        assert isinstance(task, Task)
        await revoke(official, "token-201")
        assert (await client.get(task.id)).id == task.id
        await revoke(official, "token-202")
    async with connect(card_of(official, authority), credentials=oauth2(CLIENT_ID, CLIENT_SECRET)) as client:
        authority.given = 201
        async with client.stream(WORK) as events:  # its first token is refused
            assert [event async for event in events]
        assert events.state == COMPLETED


@pytest.mark.parametrize("token", ["wrong-canary", None])
async def test_a_refusal_is_an_error_of_its_class(official: Program, authority: Authority, token: str | None) -> None:
    credentials = None if token is None else bearer(token)
    async with connect(card_of(official, authority), credentials=credentials) as client:
        with pytest.raises(UnauthenticatedError, match="no valid token") as refused:
            await client.send(WORK)
    assert "canary" not in told(refused.value)
