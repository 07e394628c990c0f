"""deploy/Dockerfile and deploy/compose.yaml: what they start runs as in a container, and they name what exists."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from a2a_grpc import connect
from a2a_grpc.client import bearer
from tests.composed import Service
from tests.deploy.dockerfile import command, instructions, texts, variables
from tests.deploy.proxies import DEPLOY
from tests.docs.pages import blocks
from tests.docs.shell import Shell
from tests.harness import ROOT, eventually, run_program
from tests.ports import free_address
from tests.rolling import numbers_of
from tests.tools import find, need, skip_without

ALONE = "unshare", "--mount"
READ_ONLY = """
set -e
mount -o remount,bind,ro /
mount -o remount,bind,ro "$(findmnt --noheadings --output TARGET --target "$CHECKOUT")"
mount -t tmpfs tmpfs "$TMPDIR"
mkdir "$TMPDIR/data"
if touch "$CHECKOUT/written" 2>/dev/null; then echo "the root can be written" >&2; exit 1; fi
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""
"""Runs a command as a container does: it writes to its temporary folder only, and root has no rights."""


def test_hadolint_finds_nothing() -> None:
    need("hadolint")
    found = subprocess.run([find("hadolint", "hadolint"), DEPLOY / "Dockerfile"], capture_output=True, text=True)
    assert (found.stdout, found.returncode) == ("", 0)


def test_the_image_has_what_it_copies_and_no_root() -> None:
    copied = [path for text in texts("COPY") if "--from" not in text for path in text.split()[:-1]]
    (agent,) = (text.partition("=")[2] for text in texts("ARG"))
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    kept = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    for path in [agent, *(path for path in copied if path != "${AGENT}")]:
        assert (ROOT / path).exists(), path
        assert any(path == each or fnmatch(path, f"{each}/*") for each in kept), path
    user = next(text for verb, text in reversed(instructions()) if verb == "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose name is as short as that of /tmp in a container: names of Unix sockets are limited."""
    with TemporaryDirectory(dir="/tmp", prefix="a2a-") as folder:
        yield Path(folder)


@pytest.mark.long
async def test_the_command_of_the_image_serves_from_a_read_only_root_without_rights(short_path: Path) -> None:
    if sys.platform != "linux" or subprocess.run([*ALONE, "true"], capture_output=True).returncode:
        skip_without("a container is not reachable: unshare needs root, on Linux")
    address = free_address()
    (agent,) = (text.partition("=")[2] for text in texts("ARG"))
    placed = {"/data": f"{short_path}/data", "0.0.0.0:50051": address, "0.0.0.0:8080": free_address()}
    own = {key: text for key, text in variables().items() if key != "PATH"}
    for there, here in placed.items():
        own = {key: text.replace(there, here) for key, text in own.items()}
    cli = command("ENTRYPOINT")
    assert cli == ["a2a-grpc"]
    run = [sys.executable, "-m", "a2a_grpc", *command("CMD")]
    run[run.index("agent.py")] = str(ROOT / agent)
    kept = {key: text for key, text in os.environ.items() if key != "XDG_RUNTIME_DIR"}
    env = {**kept, **own, "TMPDIR": str(short_path), "CHECKOUT": str(ROOT), "A2A_GRPC_INSECURE": "true"}
    process = await asyncio.create_subprocess_exec(
        *ALONE, "sh", "-c", READ_ONLY, "sh", *run, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert command("HEALTHCHECK") == ["a2a-grpc", "health"]

        async def is_healthy() -> None:
            assert process.returncode is None
            code, out, err = await run_program("-m", "a2a_grpc", "health", env={"A2A_GRPC_AGENT": address})
            assert code == 0, out + err

        await eventually(is_healthy)
        async with connect(address) as client:
            assert await numbers_of(client.stream({"to": 3, "step_seconds": 0.01})) == [1, 2, 3]
    finally:
        if process.returncode is None:
            process.terminate()
        _, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0, err
    assert not (short_path / "data").exists()  # it was a file system of the container


# -- compose.yaml


def interpolated(text: str, values: dict[str, str]) -> str:
    """Put variables into a text as Docker Compose does: ${NAME:-default}, ${NAME:?what is missing}."""
    return re.sub(
        r"\$\{(\w+)(?::[-?]([^}]*))?\}", lambda found: values.get(found[1], found[2] if ":-" in found[0] else ""), text
    )


def composed(values: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(interpolated((DEPLOY / "compose.yaml").read_text(), values))
    return found


def test_every_service_of_ours_has_a_read_only_root_and_time_to_drain() -> None:
    services = composed({"POSTGRES_PASSWORD": "secret"})["services"]
    assert services.keys() == {"postgres", "migrate", "sentinel", "agent"}
    for name, service in services.items():
        if name == "postgres":
            continue
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        grace = float(service["environment"].get("A2A_GRPC_DRAIN_GRACE_S", 4))
        assert grace + 5 + 4 < float(service["stop_grace_period"].removesuffix("s"))
    assert [name for name, service in services.items() if "ports" in service] == ["sentinel"]


@pytest.mark.long
async def test_the_services_run_and_an_agent_that_is_stopped_loses_no_event(tmp_path: Path, postgres_url: str) -> None:
    address = free_address()
    front = f"localhost:{address.rpartition(':')[2]}"  # a name in the certificate
    shell = Shell(tmp_path)
    try:
        files, call = documented()
        said = shell.run(files)
        assert shell.failed == [], said
        values = dict(line.split("=", 1) for line in (tmp_path / "deploy" / ".env").read_text().splitlines())
        whole = composed(values | {"PUBLIC_ADDRESS": front})
        secrets = tmp_path / "deploy" / "secrets"
        assert {Path(each["file"]).name for each in whole["secrets"].values()} == {it.name for it in secrets.iterdir()}
        shutil.copy(ROOT / texts("ARG")[0].partition("=")[2], tmp_path / "agent.py")

        def service(name: str) -> Service:
            own = free_address()
            found = whole["services"][name]
            places = {"0.0.0.0:8000": address, "127.0.0.1:8000": address, "sentinel:8000": front}
            places |= {"127.0.0.1:50051": own, "0.0.0.0:8500": free_address(), "/run/secrets": str(secrets)}
            places[f"postgresql://tasks:{values['POSTGRES_PASSWORD']}@postgres:5432/tasks"] = postgres_url
            image = {"command": command("CMD"), "environment": {"A2A_GRPC_AGENT": own}}
            settings = image["environment"] | found["environment"]
            run = [*command("ENTRYPOINT"), *found.get("command", image["command"])]
            check = {"test": ["CMD", *command("HEALTHCHECK")]}
            return Service({"command": run, "environment": settings, "healthcheck": check}, places, tmp_path)

        code = await (migrate := await service("migrate").run(["a2a-grpc", "db", "upgrade"])).wait()
        assert code == 0, await migrate.communicate()
        await migrate.communicate()
        running = [
            service("sentinel"),
            *(service("agent") for _ in range(whole["services"]["agent"]["deploy"]["replicas"])),
        ]
        try:
            for each in running:
                await each.up()
            called = await asyncio.to_thread(shell.run, call.replace("localhost:8000", front))
            assert "COMPLETED" in called, called
            name = whole["services"]["agent"]["environment"]["A2A_GRPC_ADDRESS"]
            user = bearer(tmp_path / "ada.key")
            ca_cert = str(secrets / "ca.crt")
            async with connect(name, sentinel=f"grpcs://{front}", ca_cert=ca_cert, credentials=user) as client:
                events = asyncio.create_task(numbers_of(client.stream({"to": 20, "step_seconds": 0.05})))
                await asyncio.sleep(0.3)
                await running[1].down()
                assert await events == list(range(1, 21))
        finally:
            for each in reversed(running):
                if hasattr(each, "process") and each.process.returncode is None:
                    await each.down()
        assert [each.process.returncode for each in running] == [0, 0, 0]
    finally:
        shell.close()


def documented() -> tuple[str, str]:
    """Return the commands of docs/deploy.md that make the files of the services, and the one that calls the agent."""
    how = f"played by: tests/deploy/{Path(__file__).name}"
    [block] = [block for block in blocks(ROOT / "docs" / "deploy.md") if block.how == how]
    files, started, call = re.split(r"(^docker compose -f deploy/compose.yaml up .*\n)", block.text, flags=re.MULTILINE)
    assert started
    if os.geteuid() != 0:
        files = re.sub(r"^chown .*\n", "", files, flags=re.MULTILINE)
    return files, call
