"""Floods and bombs of HTTP/2 frames at full size, two seconds each: for `make test-all`.

ATTACKS_P99_MS=100 ATTACKS_MIB=128 are the figures for a quiet machine, on which the few exceptions are in
docs/security.md. The limits here are such that a busy machine keeps to them.
"""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from tests.attacks.floods import ATTACKS
from tests.attacks.fronts import haproxy
from tests.attacks.rig import Target, attack, attacked
from tests.harness import eventually

pytestmark = [pytest.mark.long, pytest.mark.alone]

P99_MS = float(os.environ.get("ATTACKS_P99_MS", "1000"))
FORTY_P99_MS = float(os.environ.get("ATTACKS_P99_MS", "5000"))
"""Some floods of forty connections look like honest bursts for the first second: see docs/security.md."""
MIB = float(os.environ.get("ATTACKS_MIB", "300"))
SECONDS = float(os.environ.get("ATTACKS_SECONDS", "2"))
ONE_SECONDS = float(os.environ.get("ATTACKS_SECONDS", "1.5"))


@pytest.fixture(scope="module")
async def one_target() -> AsyncIterator[Target]:
    """A server that one attack after another meets: each must leave it fit for the next one's good client."""
    async with Target.ours() as running:
        yield running


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_flood_of_one_connection_ends_no_call(one_target: Target, name: str) -> None:
    harm = await attacked(one_target, attack(name, one_target, connections=1, seconds=ONE_SECONDS))
    harm.check(p99_ms=P99_MS, grown_mib=MIB)


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_flood_of_forty_connections_ends_no_call_and_the_server_recovers(name: str) -> None:
    async with Target.ours() as target:
        harm = await attacked(target, attack(name, target, connections=40, seconds=SECONDS))
        harm.check(p99_ms=FORTY_P99_MS, grown_mib=MIB)

        async def recovered() -> None:
            after = await attacked(target, asyncio.sleep(0.3))
            after.check(p99_ms=P99_MS, grown_mib=MIB)

        await eventually(recovered, within_s=30.0)


@pytest.mark.parametrize("name", ["hpack_bomb", "hpack_small", "continuation_flood", "ping_flood", "settings_flood"])
async def test_behind_haproxy_forty_connections_cost_the_server_no_memory(name: str) -> None:
    async with Target.ours() as target, haproxy(target) as address:
        harm = await attacked(target, attack(name, address, connections=40, seconds=SECONDS), client_of=address)
        harm.check(p99_ms=FORTY_P99_MS, grown_mib=64, may_be_refused=True)
