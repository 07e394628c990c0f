"""Errors and tenants through a sentinel: the details of each error byte for byte, and addresses as tenants."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.wire import A2AServiceStub, ListTasksRequest
from tests.covers import covers
from tests.harness import V1, Served, message, refusal, request, scripted, scripted_agent
from tests.sentinel.everywhere import Streaming, Unary
from tests.sentinel.tunnels import ADDRESS, attached, sentinel
from tests.spec import test_error_details as errors
from tests.spec.rpcs import RPCS, TASK_RPCS, call_of

pytestmark = pytest.mark.long

ONE, OTHER = "one@fame.fabric", "other@fame.fabric"


@asynccontextmanager
async def addressed(served: Served, address: str) -> AsyncIterator[Served]:
    """The same agent, called at an address by requests that name it as their tenant."""
    own = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=own, interceptors=[Unary(), Streaming()]) as channel:
        yield Served(served.server, channel, A2AServiceStub(channel))


@asynccontextmanager
async def both_ways(agent: Agent, **settings: Any) -> AsyncIterator[tuple[Served, Served]]:
    """An agent that is called directly, and through a sentinel."""
    async with sentinel() as front, attached(agent, front.address, **settings) as served:
        async with addressed(served, served.server.grpc_address) as direct, addressed(served, front.address) as through:
            yield direct, through


# -- errors


@pytest.mark.parametrize("provoke", [provoke for provoke, *_ in errors.CATALOGUE], ids=lambda provoke: provoke.__name__)
async def test_the_details_of_every_error_are_those_of_a_direct_call_byte_for_byte(
    provoke: Callable[[Served], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with both_ways(errors.agent_of_errors()) as (direct, through):
        task_id = await errors.ended(direct)

        async def ended(_: Served) -> str:
            return task_id  # both calls are about one task, whose id is in the details

        monkeypatch.setattr(errors, "ended", ended)
        said = [await told(provoke(way)) for way in (direct, through)]
    assert said[0] == said[1]


@pytest.mark.parametrize("rpc", RPCS)
async def test_the_details_of_an_error_are_the_same_on_every_rpc(rpc: str) -> None:
    async with both_ways(errors.agent_of_errors()) as (direct, through):
        refused = [await told(call_of(way, rpc, ("a2a-version", "7.0"))) for way in (direct, through)]
    assert refused[0] == refused[1]
    assert len(refused[0][2]) == 1


async def test_an_error_of_several_kibibytes_passes_whole() -> None:
    async with both_ways(errors.refusing_at_length()) as (direct, through):
        said = [await told(way.send(request("a", tenant=ADDRESS))) for way in (direct, through)]
    assert said[0] == said[1]


async def told(call: Any) -> tuple[grpc.StatusCode, str, list[Any]]:
    """The code, the text and the serialised details of an error."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ended_call(call)
    details = [raw for key, raw in caught.value.trailing_metadata() if key == "grpc-status-details-bin"]
    return caught.value.code(), caught.value.details() or "", details


async def ended_call(call: Any) -> None:
    """Read a stream to its end, or wait for a response."""
    if hasattr(call, "__aiter__"):
        async for _ in call:
            pass
    else:
        await call


# -- tenants


@asynccontextmanager
async def two_addresses(folder: Path) -> AsyncIterator[Served]:
    """A sentinel in front of two agents that share a store and have an address each, which is the tenant."""
    store = f"sqlite:///{folder}/tasks.db"
    async with AsyncExitStack() as stack:
        front = await stack.enter_async_context(sentinel())
        one = attached(scripted_agent(), front.address, ONE, store=store)
        served = await stack.enter_async_context(one)
        await stack.enter_async_context(attached(scripted_agent(), front.address, OTHER, store=store))
        yield served


@covers("TEN-5")
@pytest.mark.parametrize("rpc", TASK_RPCS)
async def test_a_task_of_one_address_is_unknown_at_another(rpc: str, tmp_path: Path) -> None:
    async with two_addresses(tmp_path) as served:
        waiting = (await served.send(scripted({"input": "Which?"}, tenant=ONE))).task
        refused = await refusal(call_of(served, rpc, *V1, tenant=OTHER, task_id=waiting.id))
        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
        assert await served.get(waiting.id, tenant=ONE) == waiting


@covers("TEN-5")
async def test_a_message_to_another_address_does_not_reach_the_task(tmp_path: Path) -> None:
    async with two_addresses(tmp_path) as served:
        waiting = (await served.send(scripted({"input": "Which?"}, tenant=ONE))).task
        sent = request(message("red", task_id=waiting.id), tenant=OTHER)
        for call in (served.send(sent), served.stream(sent)):
            refused = await refusal(call)
            assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
        assert await served.get(waiting.id, tenant=ONE) == waiting


@covers("TEN-5", "LIST-1")
async def test_each_address_lists_its_own_tasks_and_has_its_own_idempotency_keys(tmp_path: Path) -> None:
    key = ("idempotency-key", "k-1")
    async with two_addresses(tmp_path) as served:
        made = [(await served.send(request(tenant=tenant), key)).task.id for tenant in (ONE, OTHER, ONE)]
        assert made[0] == made[2] != made[1]
        for tenant, task_id in zip((ONE, OTHER), made, strict=False):
            page = await served.stub.ListTasks(ListTasksRequest(tenant=tenant), metadata=V1)
            assert ([task.id for task in page.tasks], page.total_size) == ([task_id], 1)


@covers("TEN-3")
async def test_the_address_reaches_the_agent_as_the_tenant() -> None:
    agent = Agent("Teller", "Tells the tenant.", default_skill="task")

    @agent.skill()
    async def task(turn: Turn) -> str:
        return f"{turn.tenant}|{turn.principal.tenant}"

    async with sentinel() as front, attached(agent, front.address) as served:
        made = (await served.send(request(tenant=ADDRESS))).task
        assert made.artifacts[0].parts[0].text == f"{ADDRESS}|{ADDRESS}"
        assert [one.tenant for one in served.server.card.supported_interfaces] == [ADDRESS]


@covers("TEN-1")
@pytest.mark.parametrize("tenant", ["", "acme", "Some/Team é #1", "t" * 256, "t" * 257, "a\0b"])
async def test_a_tenant_that_is_no_address_is_refused_on_every_rpc(tenant: str) -> None:
    async with sentinel() as front, attached(scripted_agent(), front.address) as served:
        refused = await asyncio.gather(*(refusal(call_of(served, rpc, *V1, tenant=tenant)) for rpc in RPCS))
    assert {(one.code, tuple(one.fields)) for one in refused} == {(grpc.StatusCode.INVALID_ARGUMENT, ("tenant",))}
