"""Wrong tokens are refused on all eleven RPCs, in the same words, and nothing happens."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from a2a_grpc import Agent, Server, ServerSettings, Turn
from a2a_grpc.auth import AuthSettings
from a2a_grpc.auth.jwt import Jwt
from a2a_grpc.wire import A2AServiceStub, ListTasksRequest
from tests.auth.issuer import AUDIENCE, LEFT, REFUSED, Issuer
from tests.covers import covers
from tests.harness import V1, decoded
from tests.regressions.faults import every_rpc

WRONG = {**{name: entries for name, (_, entries) in REFUSED.items()}, **LEFT}


@pytest.fixture(scope="module")
async def site() -> AsyncIterator[tuple[Issuer, A2AServiceStub, list[str]]]:
    """An issuer, a server that knows it, and the messages that its agent has seen."""
    seen: list[str] = []
    agent = Agent("Wary", "Notes its messages.")

    @agent.skill()
    async def note(turn: Turn) -> str:
        seen.append(turn.text)
        return "noted"

    async with Issuer() as issuer:
        settings = ServerSettings(listen="127.0.0.1:0", http_listen="off")
        jwt = Jwt(issuer.url, [AUDIENCE])
        async with Server(agent, settings, auth=[jwt], callers=AuthSettings(auth_failures_per_minute=0)) as server:
            async with grpc.aio.insecure_channel(server.grpc_address) as channel:
                yield issuer, A2AServiceStub(channel), seen


async def ended(call: Any) -> tuple[grpc.StatusCode, str, str]:
    """The status of a call, its text, and its reason."""
    try:
        if hasattr(call, "__aiter__"):
            [element async for element in call]
        else:
            await call
    except grpc.aio.AioRpcError as error:
        found = decoded(error)
        return found.code, found.text, found.reason
    return grpc.StatusCode.OK, "", ""


@covers("SEC-3", "ERR-10")
@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_token_is_refused_on_every_rpc(site: tuple[Issuer, A2AServiceStub, list[str]], name: str) -> None:
    issuer, stub, seen = site
    entries = [("authorization", entry) for entry in WRONG[name](issuer)]
    words = set()
    for rpc, asked in every_rpc().items():
        code, text, reason = await ended(getattr(stub, rpc)(asked, metadata=(*V1, *entries)))
        assert (rpc, code, reason) == (rpc, grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
        words.add(text)
    assert words == {"The call carries no valid credentials."}
    assert seen == []
    good = (*V1, ("authorization", f"bearer {issuer.token()}"))
    assert (await stub.ListTasks(ListTasksRequest(), metadata=good)).total_size == 0
