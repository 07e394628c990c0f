"""Bursts of honest calls: each call is served, or refused with a status that says when to try again."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import grpc.aio
import pytest

from a2a_grpc.wire import A2AServiceStub, GetTaskRequest
from tests.attacks.rig import MiB, Target
from tests.harness import V1, decoded, request, scripted

TIMEOUT_S = 100.0


async def burst(
    address: str, connections: int, calls: int, one: Callable[[A2AServiceStub], Awaitable[Any]]
) -> list[grpc.aio.AioRpcError | None]:
    """Begin all calls at once; return how each ended, None for OK."""

    async def ended(stub: A2AServiceStub) -> grpc.aio.AioRpcError | None:
        try:
            await one(stub)
        except grpc.aio.AioRpcError as error:
            return error
        return None

    async with AsyncExitStack() as stack:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address, options=options))
            for _ in range(connections)
        ]
        await asyncio.gather(*(channel.channel_ready() for channel in channels))
        stubs = [A2AServiceStub(channel) for channel in channels]
        return await asyncio.gather(*(ended(stubs[number % connections]) for number in range(calls)))


@pytest.mark.long
async def test_a_burst_of_reads_is_served() -> None:
    """gRPC's core cancels calls beyond 1,000 that wait to be accepted, unless it is told not to."""
    connections, calls = 40, 8000
    async with Target.ours() as target:
        async with grpc.aio.insecure_channel(target.address) as channel:
            sent = await A2AServiceStub(channel).SendMessage(request("hello"), metadata=V1)
        wanted = GetTaskRequest(id=sent.task.id)
        ended = await burst(
            target.address, connections, calls, lambda stub: stub.GetTask(wanted, metadata=V1, timeout=TIMEOUT_S)
        )
    assert Counter(str(error) for error in ended) == {"None": calls}


@pytest.mark.long
async def test_of_a_burst_over_the_limit_each_call_is_served_or_told_when_to_try_again() -> None:
    served, calls = 50, 4000
    async with Target.ours("--max-calls", str(served)) as target:
        before = target.rss_bytes()
        slow = scripted({"sleep": 5})
        ended = await burst(
            target.address, 40, calls, lambda stub: stub.SendMessage(slow, metadata=V1, timeout=TIMEOUT_S)
        )
        grown = target.rss_bytes() - before
    refused = [decoded(error) for error in ended if error is not None]
    assert {(error.code, error.reason) for error in refused} == {
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED")
    }
    assert all(error.retry_after_s for error in refused)
    assert len(ended) - len(refused) >= served
    assert grown < 128 * MiB
