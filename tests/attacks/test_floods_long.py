"""Floods and bombs of HTTP/2 frames from forty connections, for `make test-all`.

ATTACKS_P99_MS=100 ATTACKS_MIB=128 are the figures for a quiet machine, on which the few exceptions are in
docs/security.md. The limits here are such that a busy machine keeps to them. ATTACKS_SECONDS is how long each lasts.
"""

import asyncio
import os
from pathlib import Path

import pytest
import trustme

from tests.attacks.floods import ATTACKS
from tests.attacks.fronts import haproxy
from tests.attacks.rig import Target, attack, attacked
from tests.harness import eventually

pytestmark = [pytest.mark.long, pytest.mark.alone]

P99_MS = float(os.environ.get("ATTACKS_P99_MS", "1000"))
FORTY_P99_MS = float(os.environ.get("ATTACKS_P99_MS", "5000"))
"""Some floods of forty connections look like honest bursts for the first second: see docs/security.md."""
MIB = float(os.environ.get("ATTACKS_MIB", "300"))
BOMBS_MIB = {"hpack_bomb": 128.0}
"""Bombs whose headers are never decoded take little memory."""
SECONDS = float(os.environ.get("ATTACKS_SECONDS", "1.5"))


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_flood_of_forty_connections_ends_no_call_and_the_server_recovers(name: str) -> None:
    async with Target.ours() as target:
        harm = await attacked(target, attack(name, target, connections=40, seconds=SECONDS))
        harm.check(p99_ms=FORTY_P99_MS, grown_mib=min(MIB, BOMBS_MIB.get(name, MIB)))

        async def recovered() -> None:
            after = await attacked(target, asyncio.sleep(0.3), settle_s=0.0)
            after.check(p99_ms=P99_MS, grown_mib=MIB)

        await eventually(recovered, within_s=30.0)


@pytest.mark.parametrize("name", ["hpack_bomb", "hpack_small", "continuation_flood", "ping_flood", "settings_flood"])
async def test_behind_haproxy_forty_connections_cost_the_server_no_memory(name: str) -> None:
    async with (
        Target.ours() as target,
        haproxy(target) as address,
    ):  # HAProxy goes on to refuse an address that attacked
        harm = await attacked(target, attack(name, address, connections=40, seconds=SECONDS), client_of=address)
        harm.check(p99_ms=FORTY_P99_MS, grown_mib=64, may_be_refused=True)


async def test_rapid_resets_of_forty_connections_over_tls_end_no_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    ca, certificate, key = tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem"
    authority.cert_pem.write_to_path(ca)
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    monkeypatch.setenv("ATTACKS_CA", str(ca))
    async with Target.ours("--tls-cert", str(certificate), "--tls-key", str(key)) as target:
        harm = await attacked(target, attack("rapid_reset", target, connections=40, seconds=SECONDS))
        harm.check(p99_ms=FORTY_P99_MS, grown_mib=MIB)
