"""Connections wait in the kernel during a lasting crowd, for `make test-all`: honest clients get through nevertheless.

No time is asserted. Each crowd lasts longer than the calls beside it, and is ended with its test.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from a2a_grpc import Task, connect
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.parts import value
from a2a_grpc.wire import Part
from tests.attacks.rig import MiB, Target, attack
from tests.harness import eventually
from tests.proxy import Proxy

pytestmark = [pytest.mark.long, pytest.mark.alone, pytest.mark.timeout(180)]

LASTS_S = 170.0
PATIENCE_S = 150.0
PATIENT = ("--handshake-timeout-s", "120")
"""A connection that waits for long on a slow machine is not to fail for this."""
FILE = b"\x01" * MiB
PIECE_S = 0.001
"""The link passes a piece of at most 64 KiB after so many seconds."""
OWN = [("grpc.use_local_subchannel_pool", 1)]
"""Options of a channel that shares no connection with another channel."""


@asynccontextmanager
async def crowd(target: Target, name: str, connections: int, program: str) -> AsyncIterator[None]:
    """Attack from so many connections, from when connections wait until the block is left."""

    def waits() -> None:
        assert "connections wait" in target.log()

    going = asyncio.ensure_future(attack(name, target, connections=connections, seconds=LASTS_S, program=program))
    try:
        await eventually(waits, within_s=60.0)
        yield
        assert not going.done(), "the attack ended before the calls beside it"
    finally:
        going.cancel()
        await asyncio.wait([going])


async def probed(address: str) -> None:
    """Ask for the health of the server on a new connection, until it answers."""

    async def answers() -> None:
        async with grpc.aio.insecure_channel(address, options=OWN) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            try:
                found = await check(health_pb2.HealthCheckRequest(), timeout=30.0)
            except grpc.aio.AioRpcError as error:
                raise AssertionError(f"the probe failed: {error.code().name} {error.details()}") from None
        assert found.status == health_pb2.HealthCheckResponse.SERVING

    await eventually(answers, within_s=PATIENCE_S)


async def uploaded(address: str) -> None:
    """Send a file of 1 MiB."""
    async with connect(address, timeout_s=PATIENCE_S, connect_timeout_s=PATIENCE_S) as client:
        task = await client.send([Part(data=value({"script": [{"sleep": 0}]})), Part(raw=FILE, filename="large.bin")])
    assert isinstance(task, Task)
    assert task.status.state == COMPLETED


async def test_uploads_and_probes_get_through_while_attackers_open_new_connections_for_ever() -> None:
    async with (
        Target.ours(*PATIENT) as target,
        Proxy(target.address, delay_s=PIECE_S) as link,
        crowd(target, "without_request", 12, "calls"),
    ):
        async with asyncio.TaskGroup() as group:
            group.create_task(uploaded(link.address))
            for _ in range(2):
                await probed(target.address)
