"""Connections until no file descriptor is left: probes answer, tasks are served, the log is quiet."""

import asyncio
import resource
import socket
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import grpc.aio
import pytest

from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.listening.descriptors import OWN, Reserve, shares
from a2a_grpc.wire import A2AServiceStub
from tests.attacks.rig import LOOPS, Target
from tests.harness import V1, eventually, request

FILES = 256

LIMITED = f"""
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, {FILES}))
sys.path.insert(0, "servers")
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def limited(*options: str) -> Target:
    command = ("servers/scripted.py", "-o", "json", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", *options)
    return Target("-c", LIMITED, *command)


def files_of(target: Target) -> int:
    return len(list(Path(f"/proc/{target.pid}/fd").iterdir()))


def connections(address: str, count: int, stack: ExitStack) -> None:
    """Open connections, and say nothing on them."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    for _ in range(count):
        with_timeout = socket.create_connection((host, int(port)), timeout=10)
        stack.enter_context(with_timeout)


def probe(url: str) -> int:
    with urllib.request.urlopen(url, timeout=10) as response:
        return int(response.status)


async def is_served(target: Target) -> None:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(target.address, options=options) as channel:
        sent = await A2AServiceStub(channel).SendMessage(request(), metadata=V1, timeout=10)
        assert sent.task.status.state == COMPLETED


@pytest.mark.long
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("port", ["grpc", "http"])
async def test_probes_and_the_store_go_on_while_connections_take_all_they_can(
    port: str, loop: tuple[str, ...], tmp_path: Path
) -> None:
    async with limited("--store", f"sqlite:///{tmp_path}/tasks.db", *loop) as target:
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(target.address, options=options) as channel:
            stub = A2AServiceStub(channel)
            await stub.SendMessage(request(), metadata=V1, timeout=10)
            with ExitStack() as stack:
                address = target.address if port == "grpc" else target.http
                await asyncio.to_thread(connections, address, 2 * FILES, stack)
                for _ in range(3):
                    for path in ("livez", "readyz"):
                        assert await asyncio.to_thread(probe, f"{target.http}/{path}") == 200
                    sent = await stub.SendMessage(request(), metadata=V1, timeout=10)
                    assert sent.task.status.state == COMPLETED
                    await asyncio.sleep(0.2)
                assert files_of(target) < FILES
            await eventually(lambda: _assert_few(target))
            await is_served(target)
        assert len(target.log().splitlines()) < 20


EATER = f"""
import asyncio, json, os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, {FILES}))
from a2a_grpc import Agent, Turn, serve

agent = Agent("Eater", "Opens files until none can be opened.")

@agent.skill("eat")
async def eat(turn: Turn) -> str:
    \"\"\"Opens files, and closes them after a while.\"\"\"
    opened = []
    try:
        while True:
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    await asyncio.sleep(3)
    for file in opened:
        os.close(file)
    return str(len(opened))

def report(event, values):
    print(json.dumps({{"event": event, **values}}), flush=True)

from a2a_grpc.server.program import Served, run_program
settings = {{"listen": "127.0.0.1:0", "http_listen": "127.0.0.1:0", "store": "memory:"}}
run_program(lambda: Served(agent), settings, report=report)
"""


@pytest.mark.long
async def test_probes_answer_and_the_log_is_quiet_while_the_agent_has_eaten_all_descriptors(tmp_path: Path) -> None:
    (tmp_path / "eater.py").write_text(EATER)
    async with Target(f"{tmp_path}/eater.py") as target:
        async with grpc.aio.insecure_channel(target.address) as channel:
            stub = A2AServiceStub(channel)
            eating = asyncio.ensure_future(stub.SendMessage(request(), metadata=V1, timeout=30))
            await eventually(lambda: _assert_full(target))
            assert await asyncio.to_thread(probe, f"{target.http}/livez") == 200
            with ExitStack() as stack:
                await asyncio.to_thread(connections, target.http, 100, stack)
                answer = await eating
                assert answer.task.status.state == COMPLETED
        assert await asyncio.to_thread(probe, f"{target.http}/readyz") == 200
        ours = [line for line in target.log().splitlines() if "descriptor" in line or "accept" in line]
        assert 1 <= len(ours) <= 8


def test_what_is_shared_out_leaves_the_process_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (256, 512, 1024):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        try:
            for ports in (1, 2):
                shared = shares(ports, 0)
                assert shared.http + ports * shared.grpc + OWN <= limit
                assert shares(ports, 5).grpc == 5
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_reserve_gives_what_it_holds_and_no_more() -> None:
    reserve = Reserve()
    reserve.fill()
    given = 0
    while reserve.give():
        given += 1
    assert given == 4
    reserve.close()


def _assert_few(target: Target) -> None:
    assert files_of(target) < 100


def _assert_full(target: Target) -> None:
    assert files_of(target) >= FILES - 1
