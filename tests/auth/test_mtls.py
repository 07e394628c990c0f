"""Client certificates at a server's ports, and certificates that are replaced while the server runs."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from a2a_grpc import Agent, Server, Turn
from a2a_grpc.auth import ClientCertificates
from a2a_grpc.auth.certificates import certificate_of, identity
from a2a_grpc.server import running
from a2a_grpc.server.loaded import make_server
from a2a_grpc.server.settings import ServerSettings
from a2a_grpc.wire import A2AServiceStub, GetTaskRequest, Task
from tests.attacks.test_accept_loop import main_loops
from tests.auth.pki import DAY, Authority, Pair, write
from tests.covers import covers
from tests.harness import V1, Program, Served, eventually, refusal, request, scripted, scripted_agent, serving, texts

SERVERS, CLIENTS, FOREIGN = Authority("Servers"), Authority("Clients"), Authority("Foreign")
LOOK_S = 0.05


@dataclass
class Files:
    """The TLS files of a server, which a test replaces."""

    folder: Path

    def __post_init__(self) -> None:
        self.replace_pair()
        write(self.folder / "ca.pem", CLIENTS.pem)

    def replace_pair(self) -> Pair:
        """Replace certificate and key one after the other, as most tools do."""
        pair = SERVERS.issue("server", dns=("localhost",))
        pair.write(self.folder)
        return pair

    @property
    def settings(self) -> dict[str, Any]:
        folder = self.folder
        return {
            "tls_cert": str(folder / "tls.crt"),
            "tls_key": str(folder / "tls.key"),
            "tls_client_ca": str(folder / "ca.pem"),
        }


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "LOOK_EVERY_S", LOOK_S)


@asynccontextmanager
async def channel_to(address: str, pair: Pair | None) -> AsyncIterator[grpc.aio.Channel]:
    """A channel with a connection of its own."""
    credentials = grpc.ssl_channel_credentials(
        SERVERS.pem, pair.key if pair else None, pair.certificate if pair else None
    )
    options = [("grpc.use_local_subchannel_pool", 1)]
    address = address.replace("127.0.0.1", "localhost")
    async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
        yield channel


async def check(address: str, pair: Pair | None = None) -> None:
    """Make a call on a new connection."""
    async with channel_to(address, pair) as channel:
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)


async def refused(address: str, pair: Pair | None = None) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await check(address, pair)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE


def shown(address: str, pair: Pair | None = None, folder: Path | None = None) -> int:
    """Return the serial number of the certificate that a port shows."""
    context = ssl.create_default_context(cadata=SERVERS.pem.decode())
    if pair is not None and folder is not None:
        context.load_cert_chain(*pair.write(folder, "caller"))
    context.set_alpn_protocols(["h2"])
    host, _, port = address.removeprefix("https://").rpartition(":")
    with (
        socket.create_connection((host, int(port))) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        der = tls.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def serial(pair: Pair) -> int:
    return x509.load_pem_x509_certificate(pair.certificate).serial_number


class Seen(grpc.aio.ServerInterceptor):
    """Keeps the names of the callers."""

    def __init__(self) -> None:
        self.names: list[tuple[str, str] | None] = []

    async def intercept_service(self, continuation: Callable[..., Any], details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(details)

        async def behavior(asked: Any, context: Any) -> Any:
            certificate = certificate_of(context.auth_context())
            self.names.append(identity(certificate) if certificate else None)
            return await handler.unary_unary(asked, context)

        if handler is None or handler.unary_unary is None:
            return handler
        return grpc.unary_unary_rpc_method_handler(
            behavior, request_deserializer=handler.request_deserializer, response_serializer=handler.response_serializer
        )


# -- who is let in


@covers("SCHM-1", "SEC-1")
@pytest.mark.parametrize(
    "pair",
    [
        pytest.param(None, id="none"),
        pytest.param(FOREIGN.issue("a"), id="foreign CA"),
        pytest.param(CLIENTS.issue("a", begins=-2 * DAY, ends=-DAY), id="expired"),
        pytest.param(CLIENTS.issue("a", begins=DAY, ends=2 * DAY), id="not yet valid"),
        pytest.param(Authority("Clients").issue("a"), id="foreign CA of the same name"),
    ],
)
async def test_a_port_with_a_client_ca_lets_no_other_caller_in(pair: Pair | None, files: Files) -> None:
    async with serving(scripted_agent(), **files.settings) as served:
        await refused(served.server.grpc_address, pair)
        await check(served.server.grpc_address, CLIENTS.issue("a"))


async def test_a_call_knows_the_certificate_of_its_caller(files: Files) -> None:
    seen = Seen()
    spiffe = CLIENTS.issue(uris=("spiffe://prod.example/agent",))
    settings = {"listen": "127.0.0.1:0,127.0.0.1:0/tls", "http_listen": "off", **files.settings}
    async with make_server(scripted_agent(), settings, interceptors=[seen]) as server:
        mutual, plain = server.grpc_addresses
        await check(mutual, spiffe)
        await check(mutual, CLIENTS.issue("b", dns=("b.example",)))
        await check(plain, spiffe)
    assert seen.names == [
        ("spiffe://prod.example", "spiffe://prod.example/agent"),
        ("dns:CN=Clients", "b.example"),
        None,
    ]


async def test_callers_with_and_without_certificates_have_a_port_each(files: Files) -> None:
    listen = "127.0.0.1:0, 127.0.0.1:0/tls"
    async with serving(
        scripted_agent(), listen=listen, admin_listen="127.0.0.1:0", http_listen="127.0.0.1:0", **files.settings
    ) as served:
        mutual, plain = served.server.grpc_addresses
        assert served.server.grpc_address == mutual
        await refused(mutual)
        async with channel_to(mutual, CLIENTS.issue("a")) as channel:
            await A2AServiceStub(channel).SendMessage(scripted(), metadata=V1, timeout=10)
        async with channel_to(plain, None) as channel:
            unknown = await refusal(A2AServiceStub(channel).SendMessage(scripted(), metadata=V1, timeout=10))
            assert unknown.code == grpc.StatusCode.UNAUTHENTICATED
        assert served.server.admin_address
        await check(served.server.admin_address)  # probes have no certificate
        assert served.server.http_url
        assert await asyncio.to_thread(shown, served.server.http_url) == await asyncio.to_thread(shown, plain)


@covers("SEC-4")
async def test_each_certificate_is_a_caller_with_its_own_tasks(files: Files) -> None:
    agent = Agent("Names", "Names its caller.")

    @agent.skill()
    async def name(turn: Turn) -> str:
        """Name the caller."""
        return f"{turn.principal.method} {turn.principal.issuer} {turn.principal.subject}"

    settings = ServerSettings(
        listen="127.0.0.1:0,127.0.0.1:0/tls", http_listen="off", drain_grace_s=0.0, **files.settings
    )
    ours, theirs = "spiffe://prod.example/agent", "spiffe://prod.example/agent/other"
    async with Server(agent, settings, auth=[ClientCertificates(tenants={ours: [""], theirs: [""]})]) as server:
        mutual, plain = server.grpc_addresses

        async def send(pair: Pair | None, address: str = mutual) -> Task:
            async with channel_to(address, pair) as channel:
                answer = await A2AServiceStub(channel).SendMessage(request("hi"), metadata=V1, timeout=10)
                task: Task = answer.task
                return task

        async def get(pair: Pair, task_id: str) -> Task:
            async with channel_to(mutual, pair) as channel:
                task: Task = await A2AServiceStub(channel).GetTask(GetTaskRequest(id=task_id), metadata=V1, timeout=10)
                return task

        task = await send(CLIENTS.issue(uris=(ours,)))
        assert texts(task) == [f"certificate spiffe://prod.example {ours}"]
        assert (await get(CLIENTS.issue(uris=(ours,)), task.id)).id == task.id  # a renewed certificate
        assert (await refusal(get(CLIENTS.issue(uris=(theirs,)), task.id))).code == grpc.StatusCode.NOT_FOUND
        assert (await refusal(send(CLIENTS.issue("b")))).code == grpc.StatusCode.PERMISSION_DENIED
        assert (await refusal(send(CLIENTS.issue("one", "two")))).code == grpc.StatusCode.UNAUTHENTICATED
        assert (await refusal(send(None, plain))).code == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("listen", "settings", "said"),
    [
        ("127.0.0.1:0/tls", {}, "listen is '127.0.0.1:0/tls': give --tls-cert"),
        ("127.0.0.1:0/mtls", {"tls_cert": "c", "tls_key": "k"}, "listen is '127.0.0.1:0/mtls': give --tls-client-ca"),
        ("127.0.0.1:0/plain", {}, "listen is '127.0.0.1:0/plain'; only /tls or /mtls"),
        ("127.0.0.1:1,[::1]:1", {}, "it names port 1 twice"),
        ("127.0.0.1:1,", {}, "listen is ''; it must be HOST:PORT"),
        ("127.0.0.1:1,0.0.0.0:2", {}, "listen is '0.0.0.0:2': plaintext beyond this machine"),
        ("127.0.0.1:0", {"tls_client_ca": "ca"}, "--tls-cert is missing"),
        ("127.0.0.1:0", {"tls_cert": "c", "tls_key": "k", "tls_client_ca": ""}, "tls_client_ca is empty"),
        (
            "127.0.0.1:0/tls",
            {"tls_cert": "c", "tls_key": "k", "tls_client_ca": "ca"},
            "no address asks for certificates",
        ),
    ],
)
def test_addresses_that_do_not_fit_the_certificates_are_refused(
    listen: str, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said.replace("[", r"\[")):
        ServerSettings(listen=listen, **settings)


@pytest.mark.parametrize("content", [b"", b"junk", CLIENTS.pem[:-60], b"\xff\xfe"])
async def test_a_client_ca_that_holds_no_certificates_is_refused_at_the_start(content: bytes, files: Files) -> None:
    write(files.folder / "ca.pem", content)
    with pytest.raises(ValueError, match=r"tls_client_ca: .*ca\.pem must hold certificates in PEM"):
        async with serving(scripted_agent(), **files.settings):
            pass


@pytest.mark.parametrize("from_environment", [True, False])
def test_an_empty_client_ca_does_not_turn_client_certificates_off(
    from_environment: bool, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**files.settings, "store": "memory:", "tls_client_ca": None if from_environment else ""}
    monkeypatch.setenv("A2A_GRPC_TLS_CLIENT_CA", "" if from_environment else str(files.folder / "ca.pem"))
    with pytest.raises(ValueError, match="tls_client_ca is empty"):
        make_server(scripted_agent(), settings)


# -- files that change


async def handshakes(address: str, pair: Pair, until: asyncio.Event) -> int:
    """Make calls on new connections until told to stop. Return their number; raise if one fails."""
    made = 0
    while not until.is_set():
        await check(address, pair)
        made += 1
    return made


@pytest.mark.usefixtures("looks_often")
async def test_certificates_are_replaced_under_load_and_no_handshake_fails(files: Files) -> None:
    async with serving(scripted_agent(), **files.settings) as served:
        await rotate_under_load(served, files, rotations=5)


@pytest.mark.long
@pytest.mark.usefixtures("looks_often")
async def test_certificates_are_replaced_a_hundred_times_under_load(files: Files) -> None:
    async with serving(scripted_agent(), **files.settings) as served:
        assert await rotate_under_load(served, files, rotations=100) > 1000


async def rotate_under_load(served: Served, files: Files, rotations: int) -> int:
    """Replace certificate, key and client CA while connections are made. Return the number of connections."""
    address, caller = served.server.grpc_address, CLIENTS.issue("a")
    over = asyncio.Event()
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(channel_to(address, caller))
        stub = A2AServiceStub(channel)
        stream = stub.SendStreamingMessage(scripted({"sleep": 60}), metadata=V1)
        task = (await anext(aiter(stream))).task
        async with asyncio.TaskGroup() as group:
            load = [group.create_task(handshakes(address, caller, over)) for _ in range(4)]
            for turn in range(rotations):
                pair = files.replace_pair()
                write(files.folder / "ca.pem", CLIENTS.pem + (FOREIGN.pem if turn % 2 else b""))

                async def is_shown(expected: int = serial(pair)) -> None:
                    assert await asyncio.to_thread(shown, address, caller, files.folder) == expected

                await eventually(is_shown)
            over.set()
        assert not stream.done()
        await stub.GetTask(GetTaskRequest(id=task.id), metadata=V1, timeout=10)  # on the connection that was first
        stream.cancel()
        return sum(one.result() for one in load)


@pytest.mark.usefixtures("looks_often")
async def test_half_of_a_pair_is_not_used_and_the_log_says_so_once(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if "TLS files" in record.getMessage()]

    caplog.set_level("INFO", "a2a_grpc.listening")
    async with serving(
        scripted_agent(), listen="127.0.0.1:0/tls,127.0.0.1:0", http_listen="127.0.0.1:0", **files.settings
    ) as served:
        address, http = served.server.grpc_address, served.server.http_url
        assert http
        before = await asyncio.to_thread(shown, address)
        pair = SERVERS.issue("server", dns=("localhost",))
        write(files.folder / "tls.crt", pair.certificate)

        def is_said() -> None:
            assert lines() == [
                "TLS files not read again, the former ones remain in use: error=tls_cert, tls_key: "
                f"{files.folder}/tls.key is not the key of the certificate in {files.folder}/tls.crt"
            ]

        await eventually(is_said)
        await asyncio.sleep(4 * LOOK_S)
        is_said()
        for port in (address, http):
            assert await asyncio.to_thread(shown, port) == before
        write(files.folder / "tls.key", pair.key)
        await eventually(lambda: _assert(len(lines()) == 2))
        assert lines()[1].startswith(f"TLS files read again files={files.folder}/tls.crt,{files.folder}/tls.key,")
        for port in (address, http):
            assert await asyncio.to_thread(shown, port) == serial(pair)
        os.unlink(files.folder / "ca.pem")
        await eventually(lambda: _assert(len(lines()) == 3))
        assert lines()[2].endswith(f"error=tls_client_ca: {files.folder}/ca.pem: No such file or directory")
        await check(served.server.grpc_addresses[1], CLIENTS.issue("a"))


@pytest.mark.usefixtures("looks_often")
async def test_a_client_ca_that_is_replaced_decides_on_new_connections_only(files: Files) -> None:
    async with serving(scripted_agent(), **files.settings) as served:
        address = served.server.grpc_address
        async with channel_to(address, CLIENTS.issue("a")) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            await health.Check(health_pb2.HealthCheckRequest(), timeout=10)
            write(files.folder / "ca.pem", FOREIGN.pem)

            async def is_replaced() -> None:
                try:
                    await check(address, FOREIGN.issue("a"))
                except grpc.aio.AioRpcError as error:
                    raise AssertionError from error

            await eventually(is_replaced)
            await refused(address, CLIENTS.issue("a"))
            await health.Check(health_pb2.HealthCheckRequest(), timeout=10)


@pytest.mark.usefixtures("looks_often")
async def test_files_of_a_kubernetes_secret_change_all_at_once(tmp_path: Path) -> None:
    def version(name: str, pair: Pair) -> None:
        pair.write(tmp_path / name)
        (tmp_path / "..next").symlink_to(name)
        os.replace(tmp_path / "..next", tmp_path / "..data")

    first, second = (SERVERS.issue("server", dns=("localhost",)) for _ in range(2))
    version("v1", first)
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    settings = {"tls_cert": str(tmp_path / "tls.crt"), "tls_key": str(tmp_path / "tls.key")}
    async with serving(scripted_agent(), **settings) as served:
        assert await asyncio.to_thread(shown, served.server.grpc_address) == serial(first)
        version("v2", second)

        async def is_second() -> None:
            assert await asyncio.to_thread(shown, served.server.grpc_address) == serial(second)

        await eventually(is_second)


@pytest.mark.usefixtures("looks_often")
async def test_a_port_that_is_bound_again_has_the_certificates_of_now(files: Files) -> None:
    async with serving(scripted_agent(), listen="127.0.0.1:0/tls,127.0.0.1:0", **files.settings) as served:
        address, mutual = served.server.grpc_addresses
        pair = files.replace_pair()

        async def is_shown() -> None:
            assert await asyncio.to_thread(shown, address) == serial(pair)

        await eventually(is_shown)
        loops = main_loops()
        assert len(loops) == 2
        for loop in loops:
            loop.cancel()
        await asyncio.wait(loops)
        await asyncio.sleep(0)
        await eventually(lambda: _assert(served.server.is_ready))
        await is_shown()
        await refused(mutual)
        await check(mutual, CLIENTS.issue("a"))
        pair = files.replace_pair()
        await eventually(is_shown)


@pytest.mark.long
async def test_workers_share_both_ports_and_each_reads_the_files_again(files: Files, tmp_path: Path) -> None:
    settings = [f"--{name.replace('_', '-')}={value}" for name, value in files.settings.items()]
    async with Program.server(
        "servers/scripted.py",
        "--listen=127.0.0.1:0/tls",
        "--workers=2",
        f"--store=sqlite:///{tmp_path}/t.db",
        *settings,
    ) as program:
        listening = [event for event in program.events if event["event"] == "listening"]
        assert [event.get("mtls", False) for event in listening] == [True, False, False]
        (plain,) = program.events[-1]["grpc_more"]
        assert [event["address"] for event in listening][:2] == [program.address, plain]
        await refused(program.address)
        await check(program.address, CLIENTS.issue("a"))
        pair = files.replace_pair()

        async def all_show() -> None:
            serials = {await asyncio.to_thread(shown, plain) for _ in range(12)}
            assert serials == {serial(pair)}

        await eventually(all_show)


def _assert(holds: bool) -> None:
    assert holds
