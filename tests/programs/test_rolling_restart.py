"""The moment of stopping: calls of a plain gRPC client are served, or UNAVAILABLE; CANCELLED is none."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from a2a_grpc import Client, connect
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.listening.sockets import listeners, stop_listening
from a2a_grpc.wire import A2AServiceStub, GetTaskRequest, Task
from tests.harness import V1, Program, decoded, request, scripted_agent, serving
from tests.ports import free_address

CALLERS = 24
RESTARTS = 3


@asynccontextmanager
async def calling(address: str, codes: "Counter[str]", plain: "list[str]") -> AsyncIterator[None]:
    """Plain clients that send and read without a pause while the block runs: the codes that they saw."""
    over = asyncio.Event()

    async def call(number: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200)]
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            stub = A2AServiceStub(channel)
            while not over.is_set():
                try:
                    sent = await stub.SendMessage(request(), metadata=V1, timeout=20)
                    await stub.GetTask(GetTaskRequest(id=sent.task.id), metadata=V1, timeout=20)
                    codes["OK"] += 1
                except grpc.aio.AioRpcError as error:
                    codes[error.code().name] += 1
                    if decoded(error).reason:
                        plain.append(decoded(error).reason)
                    await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as group:
        for number in range(CALLERS):
            group.create_task(call(number))
        try:
            yield
        finally:
            over.set()


@pytest.mark.long
async def test_a_plain_client_sees_no_cancelled_call_in_rolling_restarts(tmp_path: Path) -> None:
    codes: Counter[str] = Counter()
    address = free_address()
    command = ("servers/scripted.py", "-o", "json", "--http-listen", "off", "--listen", address)
    store = ("--store", f"sqlite:///{tmp_path}/tasks.db")
    async with calling(address, codes, []):
        for _ in range(RESTARTS):
            async with Program(*command, *store) as program:
                await asyncio.sleep(1.0)
                program.process.terminate()
                await asyncio.wait_for(program.process.communicate(), 20)
                assert program.process.returncode == 0
    assert codes["OK"] > 0
    assert set(codes) <= {"OK", "UNAVAILABLE"}


async def test_calls_that_come_while_a_server_stops_are_unavailable_with_details() -> None:
    codes: Counter[str] = Counter()
    reasons: list[str] = []
    for _ in range(RESTARTS):
        async with serving(scripted_agent()) as served:
            async with calling(served.server.grpc_address, codes, reasons):
                await asyncio.sleep(0.3)
                await served.server.stop()
    assert codes["OK"] > 0
    assert set(codes) <= {"OK", "UNAVAILABLE"}
    assert set(reasons) <= {"UNAVAILABLE"}


@pytest.mark.parametrize("admin", ["off", "127.0.0.1:0"])
async def test_stopping_takes_no_longer_for_connections_that_stay(admin: str) -> None:
    async with serving(scripted_agent(), admin_listen=admin) as served:
        await served.send(request())
        async with asyncio.timeout(5):
            await served.server.stop()


@pytest.mark.long
async def test_our_own_client_sends_through_rolling_restarts(tmp_path: Path) -> None:
    address = free_address()
    command = ("servers/scripted.py", "-o", "json", "--http-listen", "off", "--listen", address)
    store = ("--store", f"sqlite:///{tmp_path}/tasks.db")
    over = asyncio.Event()
    sent = 0

    async def send(client: Client) -> None:
        nonlocal sent
        while not over.is_set():
            answer = await client.send("hello")
            assert isinstance(answer, Task)
            assert answer.status.state == COMPLETED
            sent += 1

    async with connect(address) as client:
        sending: list[asyncio.Task[None]] = []
        for number in range(RESTARTS):
            async with Program(*command, *store) as program:
                sending = sending or [asyncio.create_task(send(client)) for _ in range(8)]
                await asyncio.sleep(0.7)
                if number == RESTARTS - 1:
                    over.set()
                    await asyncio.gather(*sending)
                program.process.terminate()
                await asyncio.wait_for(program.process.communicate(), 20)
    assert sent > 0


async def test_a_server_that_stops_to_listen_accepts_no_connection_and_gRPC_logs_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with serving(scripted_agent()) as served:
        port = int(served.server.grpc_address.rpartition(":")[2])
        await served.send(request())
        stop_listening(listeners(port))
        assert listeners(port) == frozenset()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        await served.send(request())  # connections that are there go on
    assert "accept" not in capfd.readouterr().err
