"""The compose file of servers/attached: its programs run, with the settings that the file gives them."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.covers import covers
from tests.harness import ROOT, eventually, run_program
from tests.ports import free_address

FOLDER = ROOT / "servers" / "attached"
CLI = [sys.executable, "-m", "a2a_grpc"]


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    return found


class Service:
    """A service of the file as a process. Addresses of containers are replaced by addresses of this machine."""

    def __init__(self, service: dict[str, Any], places: dict[str, str], folder: Path) -> None:
        self._service = service
        self._folder = folder
        self.env = {**os.environ, **{key: placed(text, places) for key, text in service["environment"].items()}}
        self.process: asyncio.subprocess.Process

    async def run(self, command: list[str]) -> asyncio.subprocess.Process:
        assert command[0] == "a2a-grpc"
        return await asyncio.create_subprocess_exec(
            *CLI, *command[1:], cwd=self._folder, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    async def up(self) -> None:
        """Start the service, and wait until its health check succeeds."""
        self.process = await self.run(self._service["command"])
        await eventually(self._is_healthy, within_s=60)

    async def _is_healthy(self) -> None:
        form, *command = self._service["healthcheck"]["test"]
        assert form == "CMD"
        check = await self.run(command)
        out, err = await check.communicate()
        assert check.returncode == 0, (out, err)

    async def down(self) -> None:
        """Stop the service as Docker does: SIGTERM, and ten seconds."""
        self.process.terminate()
        await asyncio.wait_for(self.process.communicate(), 10)


def placed(text: str, places: dict[str, str]) -> str:
    for there, here in places.items():
        text = text.replace(there, here)
    return text


@asynccontextmanager
async def up(services: dict[str, Any], folder: Path) -> AsyncIterator[tuple[str, Service, Service]]:
    """Start the services in their order. Give the published address, and the services."""
    front, http, own = free_address(), free_address(), free_address()
    places = dict.fromkeys(("0.0.0.0:8000", "127.0.0.1:8000", "sentinel:8000", "localhost:8000"), front)
    places |= {"127.0.0.1:8500": http, "127.0.0.1:50051": own}
    sentinel = Service(services["sentinel"], places, folder)
    agent = Service(services["agent"], places, folder)
    agent.env |= {"A2A_GRPC_LISTEN": own, "A2A_GRPC_HTTP_LISTEN": "off"}  # there the defaults are free
    try:
        await sentinel.up()
        await agent.up()
        yield front, sentinel, agent
    finally:
        for service in (agent, sentinel):
            if hasattr(service, "process") and service.process.returncode is None:
                service.process.kill()
                await service.process.communicate()


@covers("S0-31", "S0-32")
@pytest.mark.long
async def test_the_services_become_healthy_serve_a_client_and_stop(services: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "cancellable.py").write_bytes((ROOT / "servers/cancellable.py").read_bytes())
    async with up(services, tmp_path) as (front, sentinel, agent):
        options = ("--agent", services["agent"]["environment"]["A2A_GRPC_ADDRESS"], "--step-seconds=0.05")
        code, out, err = await run_program("clients/cancellable.py", *options, env={"A2A_GRPC_SENTINEL": front})
        assert (code, out.splitlines()[-1]) == (0, "[STATUS] CANCELED"), err
        await agent.down()
        await sentinel.down()
    assert (agent.process.returncode, sentinel.process.returncode) == (0, 0)


def test_only_the_port_of_the_sentinel_is_published_and_the_agent_waits_for_its_health(
    services: dict[str, Any],
) -> None:
    assert sorted(services) == ["agent", "sentinel"]
    assert services["sentinel"]["ports"] == ["127.0.0.1:8000:8000"]
    assert "ports" not in services["agent"]
    assert services["agent"]["depends_on"] == {"sentinel": {"condition": "service_healthy"}}


def test_the_image_has_the_files_that_the_services_need(services: dict[str, Any]) -> None:
    build = services["agent"]["build"]
    assert build == services["sentinel"]["build"]
    context = (FOLDER / build["context"]).resolve()
    assert context == ROOT
    lines = (context / build["dockerfile"]).read_text().splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY")]
    assert copied == [".", f"servers/{services['agent']['command'][-1]}"]
    assert all((context / path).exists() for path in copied)
