"""The compose file of servers/attached: its programs run, with the settings that it gives, as docs/sentinel.md says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.composed import Service
from tests.covers import covers
from tests.docs.pages import blocks
from tests.harness import ROOT, run_program
from tests.ports import free_address

FOLDER = ROOT / "servers" / "attached"


def documented() -> str:
    """Return the commands of docs/sentinel.md that start the services, call the agent, and stop them."""
    how = f"played by: tests/sentinel/{Path(__file__).name}"
    [block] = [block for block in blocks(ROOT / "docs" / "sentinel.md") if block.how == how]
    return block.text


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    return found


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
        [up_again, call, down] = documented().splitlines()
        compose = f"docker compose -f {(FOLDER / 'compose.yaml').relative_to(ROOT)} "
        assert [line.startswith(compose) for line in (up_again, down)] == [True, True]
        sentinel_of, _, command = call.partition(" python ")
        assert sentinel_of == "A2A_GRPC_SENTINEL=localhost:8000"
        options = (*command.split(), "--step-seconds=0.25")
        code, out, err = await run_program(*options, env={"A2A_GRPC_SENTINEL": front})
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
