"""The probes of the sentinel, and HTTP over TLS."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from a2a_grpc import Agent, Turn, connect
from tests.attacks.test_accept_loop import main_loops
from tests.auth.pki import Authority
from tests.harness import eventually, request, scripted_agent
from tests.sentinel.test_http import CARD, HTTP, got
from tests.sentinel.tunnels import ADDRESS, attached, sentinel

READY, DEAF, DRAINING = (200, 200), (503, 503), (200, 503)
"""The statuses of `/livez` and `/readyz`."""


async def probed(url: str | None) -> tuple[int, int]:
    return (await got(f"{url}/livez"))[0], (await got(f"{url}/readyz"))[0]


async def test_the_probes_say_that_no_calls_are_accepted_any_more() -> None:
    async with sentinel(http_listen=HTTP) as running:
        assert await probed(running.http_url) == READY
        assert running._front is not None
        running._front._ports[0]._host = "192.0.2.1"  # is no address of this machine, so it cannot be bound again
        for loop in main_loops():
            loop.cancel()

        async def assert_deaf() -> None:
            assert await probed(running.http_url) == DEAF

        await eventually(assert_deaf)
        assert "192.0.2.1" in await running.wait_failed()


async def test_a_port_that_is_bound_again_is_ready_again() -> None:
    async with sentinel(http_listen=HTTP) as running:
        ours = main_loops()
        async with attached(scripted_agent(), running.address), connect(ADDRESS, sentinel=running.address) as client:
            for loop in ours:
                loop.cancel()

            async def assert_ready() -> None:
                assert await probed(running.http_url) == READY

            await eventually(assert_ready)
            await client.send("hello")


async def test_a_sentinel_that_drains_is_alive_and_not_ready() -> None:
    @(agent := Agent("Slow", "Waits.")).skill("wait")
    async def wait(turn: Turn) -> str:
        """Wait until the probes were asked."""
        begun.set()
        await go.wait()
        return "done"

    begun, go = asyncio.Event(), asyncio.Event()
    async with sentinel(http_listen=HTTP, drain_grace_s=60.0) as running:
        async with attached(agent, running.address) as served:
            call = asyncio.create_task(served.send(request("wait", tenant=ADDRESS)))
            await begun.wait()
            stopping = asyncio.create_task(running.stop())

            async def assert_draining() -> None:
                assert await probed(running.http_url) == DRAINING

            await eventually(assert_draining)
            go.set()
            await call
            await stopping
            with pytest.raises(aiohttp.ClientError):
                await probed(running.http_url)


async def test_http_uses_the_certificate_of_the_sentinel(tmp_path: Path) -> None:
    authority = Authority("Sentinels")
    authority.issue("server", dns=("localhost",)).write(tmp_path)
    (tmp_path / "roots.pem").write_bytes(authority.pem)
    files: dict[str, Any] = {"tls_cert": str(tmp_path / "tls.crt"), "tls_key": str(tmp_path / "tls.key")}
    roots = str(tmp_path / "roots.pem")
    async with sentinel(listen="localhost:0", http_listen="localhost:0", **files) as running:
        async with attached(scripted_agent(), running.address, attach={"attach_ca_cert": roots}):
            url = f"{running.http_url}/agents/{ADDRESS}"
            assert url.startswith("https://localhost:")
            trust = ssl.create_default_context(cafile=roots)

            async def assert_served() -> None:
                async with aiohttp.ClientSession() as session, session.get(f"{url}{CARD}", ssl=trust) as response:
                    assert response.status == 200

            await eventually(assert_served)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"{running.http_url}/registry/agents", ssl=trust) as response:
                    assert (await response.json())[0]["url"] == url
            async with connect(url, ca_cert=roots) as client:
                await client.send("hello")
