"""Whatever bytes come, and whatever ends gRPC's accept loop: the server goes on serving, or says that it does not."""

import asyncio
import gc
import socket
import ssl
import threading
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import grpc.aio
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.rpc import AcceptingServer, Methods
from a2a_grpc.rpc.reset import _outer_of, outer_task
from a2a_grpc.server.loaded import make_server
from a2a_grpc.wire import A2AServiceStub
from tests.attacks import http2
from tests.attacks.http2 import Peer
from tests.attacks.rig import Target, attacked
from tests.harness import V1, Program, Served, eventually, request, scripted, scripted_agent, serving

SEND = "/lf.a2a.v1.A2AService/SendMessage"
CHECK = "/grpc.health.v1.Health/Check"

PATHS = {
    "not UTF-8": b"/\xff",
    "half a character": b"/lf.a2a.v1.A2AService/\xe2\x82",
    "a surrogate": b"/\xed\xa0\x80",
    "only bad bytes": b"\xff\xfe\xfd" * 50,
    "empty": b"",
    "no slash": b"lf.a2a.v1.A2AService",
    "one slash": b"/",
    "NUL": b"/lf.a2a.v1.A2AService/Send\0Message",
    "line ends": b"/lf.a2a.v1.A2AService/Send\r\nMessage",
    "spaces": b"/ /",
    "known, then bad": SEND.encode() + b"\xff",
    "long": b"/" + b"a" * 8_000,
    "long and bad": b"/" + b"\xff" * 8_000,
    "percent": b"/%ff%00",
    "a star": b"*",
    "a URL": b"http://localhost" + SEND.encode(),
}

FIELDS = {
    "key": (b"x-\xff", b"value"),
    "value": (b"x-text", b"\xff\xfe"),
    "binary value": (b"x-binary-bin", b"\xff\xfe="),
    "version": (b"a2a-version", b"\xff"),
    "timeout": (b"grpc-timeout", b"\xff"),
    "encoding": (b"grpc-encoding", b"\xff"),
    "content type": (b"content-type", b"\xff"),
    "user agent": (b"user-agent", b"\xff" * 100),
    "host": (b"host", b"\xff"),
    "another path": (b":path", b"/\xff"),
    "scheme": (b":scheme", b"\xff"),
    "method": (b":method", b"\xff"),
}


async def throw(address: str, *frames: bytes, tls: ssl.SSLContext | None = None) -> None:
    """Send frames on a connection of their own; read until the answer, or until the connection ends."""

    def play() -> None:
        with Peer.connect(address, greet=False) as peer:
            if tls is not None:
                peer.socket = tls.wrap_socket(peer.socket, server_hostname="localhost")
            peer.send(http2.PREFACE + http2.settings() + b"".join(frames))
            peer.until([http2.RST_STREAM, http2.GOAWAY, http2.HEADERS], timeout_s=2.0)

    await asyncio.to_thread(play)


async def asked_anew(served: Served) -> None:
    """Assert that a new client is served."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(served.server.grpc_address, options=options) as channel:
        answer = await A2AServiceStub(channel).SendMessage(request(), metadata=V1, timeout=10)
        assert answer.task.status.state == COMPLETED


def main_loops() -> "list[asyncio.Task[object]]":
    """Return the tasks that are accept loops of grpc.aio."""
    tasks = asyncio.all_tasks()
    return [task for task in tasks if "_server_main_loop" in getattr(task.get_coro(), "__qualname__", "")]


# -- whatever bytes come


async def test_no_path_ends_the_accept_loop() -> None:
    async with serving(scripted_agent()) as served:
        for path in PATHS.values():
            await throw(served.server.grpc_address, http2.request(1, path))
            await throw(served.server.grpc_address, http2.request(1, path, None))  # and stays open until the cut
        await asked_anew(served)
        assert served.server.is_ready


async def test_no_field_ends_the_accept_loop() -> None:
    async with serving(scripted_agent()) as served:
        for name, value in FIELDS.values():
            for path in (SEND, "/unknown"):
                await throw(served.server.grpc_address, http2.request(1, path, b"", (name, value)))
        block = http2.request_block(SEND, authority="x").replace(http2.string("x"), http2.string(b"\xff"))
        await throw(served.server.grpc_address, http2.headers(1, block, end_stream=True))
        await asked_anew(served)
        assert served.server.is_ready


async def test_a_path_that_is_not_utf_8_is_unimplemented_and_the_connection_lives(served: Served) -> None:
    def play() -> list[http2.Frame | None]:
        with Peer.connect(served.server.grpc_address) as peer:
            answers = []
            for stream in (1, 3, 5):
                peer.send(http2.request(stream, b"/\xff"))
                answers.append(peer.until([http2.HEADERS, http2.GOAWAY]))
            return answers

    answers = await asyncio.to_thread(play)
    assert [(answer.kind, answer.stream) for answer in answers if answer] == [
        (http2.HEADERS, 1),
        (http2.HEADERS, 3),
        (http2.HEADERS, 5),
    ]
    assert answers[0] is not None
    assert b"grpc-status\x0212" in answers[0].payload  # UNIMPLEMENTED


async def test_calls_in_flight_on_the_attacked_server_go_on(served: Served) -> None:
    stream = served.stream(scripted({"sleep": 0.5}, {"artifact": {"text": "done"}}))
    assert await anext(aiter(stream))
    for _ in range(20):
        await throw(served.server.grpc_address, http2.request(1, b"/\xff"))
    assert [element async for element in stream][-1].status_update.status.state == COMPLETED


async def test_the_admin_port_is_not_ended_either() -> None:
    async with serving(scripted_agent(), admin_listen="127.0.0.1:0") as served:
        admin = served.server.admin_address
        assert admin
        await throw(admin, http2.request(1, b"/\xff"))
        async with grpc.aio.insecure_channel(admin) as channel:
            checked = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert checked.status == health_pb2.HealthCheckResponse.SERVING


async def test_nor_is_a_port_with_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    settings = {"listen": "127.0.0.1:0", "http_listen": "off", "tls_cert": str(certificate), "tls_key": str(key)}
    async with make_server(scripted_agent(), settings) as server:
        tls = ssl.create_default_context()
        authority.configure_trust(tls)
        tls.set_alpn_protocols(["h2"])
        await throw(server.grpc_address, http2.request(1, b"/\xff"), tls=tls)
        credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        address = server.grpc_address.replace("127.0.0.1", "localhost")
        async with grpc.aio.secure_channel(address, credentials) as channel:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.parametrize("options", [(), ("--uvloop",)])
async def test_hundreds_of_bad_paths_a_second_do_not_touch_a_good_client(options: tuple[str, ...]) -> None:
    seconds = 2.0

    def flood(address: str) -> int:
        sent, until = 0, time.monotonic() + seconds
        while time.monotonic() < until:
            with Peer.connect(address) as peer:
                peer.send(b"".join(http2.request(stream, b"/\xff") for stream in range(1, 41, 2)))
                peer.until([http2.HEADERS], timeout_s=1.0)
                sent += 20
        return sent

    async with Target.ours(*options) as target:
        sent = asyncio.get_running_loop().create_future()

        async def attack() -> None:
            sent.set_result(await asyncio.to_thread(flood, target.address))

        harm = await attacked(target, attack())
        assert sent.result() > 100 * seconds
        assert harm.errors == {}
        assert harm.is_alive
        assert harm.peak_mib - harm.before_mib < 64
        assert "Traceback" not in target.log()


@pytest.mark.long
async def test_workers_survive_bad_paths(tmp_path: Path) -> None:
    command = ("--workers", "2", "--store", f"sqlite:///{tmp_path}/tasks.db", "--http-listen", "off")
    async with Program.server("servers/scripted.py", *command) as program:
        for _ in range(20):  # the system shares connections out among the workers
            await throw(program.address, http2.request(1, b"/\xff"))
        for _ in range(10):
            options = [("grpc.use_local_subchannel_pool", 1)]
            async with grpc.aio.insecure_channel(program.address, options=options) as channel:
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        program.process.terminate()
        out, _ = await program.process.communicate()
        assert b"restarted" not in out


# -- whatever else ends the loop


async def test_a_loop_that_ends_is_followed_by_another_and_open_calls_go_on() -> None:
    async with serving(scripted_agent(), admin_listen="127.0.0.1:0") as served:
        stream = served.stream(scripted({"sleep": 1.0}, {"artifact": {"text": "done"}}))
        assert await anext(aiter(stream))
        for _ in range(3):
            loops = main_loops()
            assert len(loops) == 2
            for loop in loops:
                loop.cancel()
            await asyncio.wait(loops)
            await asyncio.sleep(0)
            assert not served.server.is_ready
            await eventually(lambda: _assert(served.server.is_ready))
            await asked_anew(served)
        assert [element async for element in stream][-1].status_update.status.state == COMPLETED


async def test_grpc_writes_into_no_memory_that_is_freed_when_its_loop_ends() -> None:
    async with serving(scripted_agent()):
        gc.collect()
        gc.disable()  # so that what is freed next is what the loop holds
        try:
            loops = main_loops()
            for loop in loops:
                loop.cancel()
            await asyncio.wait(loops)
        finally:
            gc.enable()
        fillers = [b"\xff" * size for size in range(8, 480, 8) for _ in range(1000)]
    # The server has stopped: gRPC has written to the requests for calls that the loop had made.
    assert [filler for filler in fillers if filler.strip(b"\xff")] == []


async def test_a_handler_knows_the_task_that_owns_its_call_and_the_search_for_it_finds_the_same() -> None:
    found = list[asyncio.Task[object] | None]()

    async def serve(asked: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        handler = asyncio.current_task()
        assert handler is not None
        found.extend([outer_task.get(), _outer_of(handler)])
        return asked

    server = AcceptingServer([])
    port = server.add_insecure_port("127.0.0.1:0")
    server.serve(Methods({"/test/Echo": grpc.unary_unary_rpc_method_handler(serve)}))
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert await channel.unary_unary("/test/Echo")(b"x", timeout=10) == b"x"  # type: ignore[arg-type]
    await server.stop(None)
    owner, searched = found
    assert owner is searched
    assert owner is not None
    assert owner.get_name() == "rpc_task"


@asynccontextmanager
async def stolen(address: str) -> AsyncIterator[None]:
    """Take the port of a server as soon as it is free; keep it while the block runs."""
    host, _, port = address.rpartition(":")
    taken, over = threading.Event(), threading.Event()

    def steal() -> None:
        while not over.is_set():
            with socket.socket() as thief:
                thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    thief.bind((host, int(port)))
                    thief.listen()
                except OSError:
                    continue
                taken.set()
                over.wait()

    thread = threading.Thread(target=steal)
    thread.start()
    try:
        for _ in range(100):  # the server may be quicker, and have its port again
            for loop in main_loops():
                loop.cancel()
            if await asyncio.to_thread(taken.wait, 0.5):
                break
        assert taken.is_set()
        yield
    finally:
        over.set()
        await asyncio.to_thread(thread.join)


async def test_a_port_that_is_lost_is_told() -> None:
    settings = {"http_listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0"}
    async with serving(scripted_agent(), **settings) as served, aiohttp.ClientSession() as session:
        server = served.server
        failed = asyncio.create_task(server.wait_failed())
        async with stolen(server.grpc_address):
            reason = await asyncio.wait_for(failed, 30)
            for probe in ("livez", "readyz"):
                async with session.get(f"{server.http_url}/{probe}") as response:
                    assert response.status == 503
            async with grpc.aio.insecure_channel(str(server.admin_address)) as channel:
                check = health_pb2_grpc.HealthStub(channel).Check
                checked = await check(health_pb2.HealthCheckRequest(), timeout=10, wait_for_ready=True)
                assert checked.status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert server.grpc_address in reason
        assert server.failure == reason


SABOTAGE = '''
import asyncio, gc, os
from a2a_grpc import Agent, Turn, serve
from a2a_grpc.listening.port import GrpcPort

agent = Agent("Sabotage", "Ends the accept loop of its own server.")

@agent.skill("end")
async def end(turn: Turn) -> str:
    """With the text `end`: the address is not this machine's any more, and the loop ends."""
    if turn.text == "end":
        asyncio.get_running_loop().call_later(0.2, spoil)
    return str(os.getpid())

def spoil() -> None:
    gc.unfreeze()  # what survived a collection is not listed
    for port in [found for found in gc.get_objects() if isinstance(found, GrpcPort)]:
        port._host = "192.0.2.1"
    for task in asyncio.all_tasks():
        if "_server_main_loop" in getattr(task.get_coro(), "__qualname__", ""):
            task.cancel()

if __name__ == "__main__":
    serve(agent)
'''


async def end_loop(address: str) -> None:
    async with grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        await A2AServiceStub(channel).SendMessage(request("end"), metadata=V1, timeout=10)


async def test_a_program_whose_port_is_lost_ends_with_an_error(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(SABOTAGE)
    serve = ("-m", "a2a_grpc", "serve", f"{tmp_path}/agent.py", "-o", "json", "--listen=127.0.0.1:0")
    async with Program(*serve, "--http-listen=127.0.0.1:0") as program:
        await end_loop(program.address)
        _, err = await asyncio.wait_for(program.process.communicate(), 15)
        assert program.process.returncode == 1
        assert "Error: gRPC does not accept calls on 192.0.2.1:" in err.decode()


@pytest.mark.long
async def test_a_worker_whose_port_is_lost_is_started_again(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(SABOTAGE)
    serve = ("-m", "a2a_grpc", "serve", f"{tmp_path}/agent.py", "-o", "json", "--listen=127.0.0.1:0")
    store = f"--store=sqlite:///{tmp_path}/tasks.db"
    async with Program(*serve, "--http-listen=off", "--workers=2", store) as program:
        await end_loop(program.address)
        restarted = await asyncio.wait_for(program.until("restarted"), 15)
        assert restarted["ended"] == "exit code 1"


def _assert(holds: bool) -> None:
    assert holds


async def test_the_metadata_of_a_call_that_the_client_has_ended_is_not_read_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """gRPC frees them with the call. What was read from freed memory was often not UTF-8, which gRPC logs."""
    metadata = (*V1, *((f"x-{number}", str(uuid.uuid4())) for number in range(20)))
    async with serving(scripted_agent()) as served:
        for _ in range(10):
            calls = [served.stub.SendStreamingMessage(scripted({"sleep": 60}), metadata=metadata) for _ in range(30)]
            await asyncio.gather(*(call.read() for call in calls))
            for call in calls:
                call.cancel()
            await asyncio.sleep(0.05)
    assert "is not UTF-8" not in caplog.text
