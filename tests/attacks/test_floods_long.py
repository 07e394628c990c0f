"""Floods and bombs of HTTP/2 frames at full size, three seconds each: for `make test-all` (ATTACKS=1).

ATTACKS_P99_MS=100 ATTACKS_MIB=128 are the figures to measure on a quiet machine. docs/security.md says which attacks
keep to those figures, and what has to stand before the server for the others.
"""

import asyncio
import os

import pytest

from tests.attacks.floods import ATTACKS, UNACKNOWLEDGED
from tests.attacks.fronts import haproxy
from tests.attacks.rig import Target, attack, attacked
from tests.harness import eventually

P99_MS = float(os.environ.get("ATTACKS_P99_MS", "3000"))
MIB = float(os.environ.get("ATTACKS_MIB", "300"))
SECONDS = float(os.environ.get("ATTACKS_SECONDS", "3"))
BOMB_P99_MS, BOMB_MIB = 30_000.0, 600.0
"""For HPACK bombs of a client that never acknowledges SETTINGS: gRPC's limits begin with that."""
FORTY_P99_MS, FORTY_MIB = 30_000.0, 1024.0
"""For forty connections: gRPC's core reads their frames before it reads the good client's."""


@pytest.mark.parametrize("name", ATTACKS)
async def test_one_connection_harms_nobody(name: str) -> None:
    async with Target.ours() as target:
        harm = await attacked(target, attack(name, target, connections=1, seconds=SECONDS))
        is_bomb = name in UNACKNOWLEDGED and name.startswith("hpack")
        harm.check(p99_ms=BOMB_P99_MS if is_bomb else P99_MS, grown_mib=BOMB_MIB if is_bomb else MIB)


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in UNACKNOWLEDGED])
async def test_forty_connections_end_no_call_and_the_server_recovers(name: str) -> None:
    async with Target.ours() as target:
        harm = await attacked(target, attack(name, target, connections=40, seconds=SECONDS))
        harm.check(p99_ms=FORTY_P99_MS, grown_mib=FORTY_MIB)

        async def recovered() -> None:
            after = await attacked(target, asyncio.sleep(1.0))
            after.check(p99_ms=P99_MS, grown_mib=MIB)

        await eventually(recovered, within_s=30.0)


@pytest.mark.parametrize("name", ["hpack_bomb", "hpack_small", "continuation_flood", "ping_flood", "settings_flood"])
async def test_behind_haproxy_forty_connections_cost_the_server_no_memory(name: str) -> None:
    async with Target.ours() as target, haproxy(target) as address:
        harm = await attacked(target, attack(name, address, connections=40, seconds=SECONDS), client_of=address)
        harm.check(p99_ms=P99_MS, grown_mib=64, may_be_refused=True)
