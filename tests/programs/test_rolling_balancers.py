"""Replicas that are restarted in turn behind nginx, HAProxy and Envoy: no send fails, no stream misses a number.

tests/deploy does the same at full size, with the files of deploy/.
"""

import asyncio

import pytest

from a2a_grpc import Task, connect
from tests.balancers import CONFIGURATIONS, balancer
from tests.replicas.rig import SharedStore
from tests.rolling import InThisProcess, check
from tests.tools import need


@pytest.mark.parametrize("kind", CONFIGURATIONS)
async def test_sends_while_no_replica_is_up_wait_for_one(kind: str) -> None:
    need(kind)
    replica = InThisProcess(SharedStore())
    async with balancer(kind, {replica.listen: replica.http_listen}) as address, connect(address) as client:
        sends = [asyncio.create_task(client.send({"to": 1, "step_seconds": 0})) for _ in range(12)]
        await asyncio.wait(sends, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
        await replica.start()
        try:
            tasks = await asyncio.gather(*sends)
        finally:
            await replica.stop()
    assert len({task.id for task in tasks if isinstance(task, Task)}) == len(sends)


@pytest.mark.parametrize("kind", CONFIGURATIONS)
@pytest.mark.long
async def test_a_rolling_restart_fails_no_send_and_loses_no_number_of_a_stream(kind: str) -> None:
    need(kind)
    store = SharedStore()
    replicas = [InThisProcess(store) for _ in range(2)]
    async with balancer(kind, {replica.listen: replica.http_listen for replica in replicas}) as address:
        await check(lambda: connect(address), replicas, sends=20, count_to=20)
