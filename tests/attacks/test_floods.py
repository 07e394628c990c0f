"""Floods and bombs of HTTP/2 frames from one connection, for a second and a half each: a good client goes on.

The limits are such that a busy machine keeps to them. With TESTS_ALONE they are smaller: the Makefile sets it where
nothing else runs at the same time.
ATTACKS_P99_MS=100 ATTACKS_MIB=128 are the figures for a quiet machine, on which the few exceptions are in
docs/security.md. `test_floods_long.py` has forty connections.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from a2a_grpc.rpc import TransportSettings
from tests.attacks.floods import ATTACKS
from tests.attacks.fronts import example
from tests.attacks.rig import Target, attack, attacked
from tests.tools import find, need

P99_MS = float(os.environ.get("ATTACKS_P99_MS", "1000" if "TESTS_ALONE" in os.environ else "3000"))
"""Without a limit of streams rapid resets take a good client to six seconds, and the server to 1.2 GiB."""
MIB = float(os.environ.get("ATTACKS_MIB", "200"))
SECONDS = float(os.environ.get("ATTACKS_SECONDS", "1.5"))


@pytest.fixture(scope="module")
async def target() -> AsyncIterator[Target]:
    """A server that one attack after another meets: each must leave it fit for the next one's good client."""
    async with Target.ours() as running:
        yield running


@pytest.mark.alone
@pytest.mark.few(2)
@pytest.mark.parametrize("name", ATTACKS)
async def test_one_connection_harms_nobody(target: Target, name: str) -> None:
    harm = await attacked(target, attack(name, target, connections=1, seconds=SECONDS))
    harm.check(p99_ms=P99_MS, grown_mib=MIB)


async def test_the_examples_of_the_operations_guide_are_valid(tmp_path: Path) -> None:
    need("haproxy", "nginx")
    haproxy_file, nginx_file = tmp_path / "haproxy.cfg", tmp_path / "nginx.conf"
    haproxy_file.write_text(example("haproxy"))
    nginx_file.write_text(f"pid {tmp_path}/nginx.pid;\nerror_log {tmp_path}/error.log;\n{example('nginx')}")
    for command in (
        ["haproxy", "-c", "-f", str(haproxy_file)],
        ["nginx", "-t", "-p", str(tmp_path), "-c", str(nginx_file)],
    ):
        process = await asyncio.create_subprocess_exec(
            find(command[0], command[0]), *command[1:], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()


def test_a_connection_may_have_a_hundred_calls_and_each_16_kib_of_metadata() -> None:
    settings = TransportSettings()
    assert settings.max_streams_per_connection == 100
    assert settings.max_call_metadata_bytes == 16 * 1024
