"""The port of a sentinel: TLS, paths that are not UTF-8, a lost accept loop, health, reflection."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from a2a_grpc import Agent, Task, Turn, connect
from a2a_grpc.auth import ClientCertificates
from a2a_grpc.config import ConfigurationError
from a2a_grpc.listening.ports import ListenError
from a2a_grpc.sentinel import AttachSettings, Sentinel, SentinelSettings, ports
from tests.attacks import http2
from tests.attacks.rig import Process
from tests.attacks.test_accept_loop import PATHS, main_loops, throw
from tests.auth.pki import Authority, write
from tests.covers import covers
from tests.harness import eventually, scripted_agent, texts
from tests.sentinel.tunnels import ADDRESS, attached, sentinel

SERVERS, CLIENTS = Authority("Servers"), Authority("Clients")


def _settings(**settings: Any) -> SentinelSettings:
    """Settings of a sentinel that authenticates."""
    settings = {"listen": "127.0.0.1:0", "http_listen": "off", "drain_grace_s": 0.0, **settings}
    return SentinelSettings(pass_credentials=True, **settings)


async def sent_through(address: str, **settings: Any) -> None:
    """Assert that a new client reaches the agent through the sentinel."""
    async with connect(ADDRESS, sentinel=address, **settings) as client:
        task = await client.send("hello")
        assert isinstance(task, Task)
        assert texts(task) == ["hello"]


@asynccontextmanager
async def health_of(address: str, credentials: grpc.ChannelCredentials | None = None) -> AsyncIterator[Any]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    channel = (
        grpc.aio.secure_channel(address, credentials, options=options)
        if credentials
        else grpc.aio.insecure_channel(address, options=options)
    )
    async with channel:
        yield health_pb2_grpc.HealthStub(channel)


# -- whatever comes, and whatever ends the accept loop


async def test_no_path_ends_the_sentinel() -> None:
    async with sentinel() as running, attached(scripted_agent(), running.address):
        for path in PATHS.values():
            await throw(running.address, http2.request(1, path))
        await sent_through(running.address)


async def test_a_sentinel_whose_accept_loop_ends_binds_its_port_again_and_calls_go_on() -> None:
    @(agent := Agent("Slow", "Waits.")).skill("wait")
    async def wait(turn: Turn) -> str:
        """Wait until the loop was ended."""
        begun.set()
        await go.wait()
        return "hello"

    begun, go = asyncio.Event(), asyncio.Event()
    async with sentinel() as running:
        ours = set(main_loops())
        async with attached(agent, running.address), connect(ADDRESS, sentinel=running.address) as client:
            before = asyncio.create_task(client.send("wait"))
            await begun.wait()
            agents, [former] = set(main_loops()) - ours, running._routes.all()
            for loop in ours:
                loop.cancel()
            await eventually(lambda: _holds(bool(set(main_loops()) - ours - agents)))
            after = asyncio.create_task(sent_through(running.address))
            go.set()
            assert texts(await before) == ["hello"]  # type: ignore[arg-type]
            await after
            await eventually(lambda: _holds(running._routes.all() not in ([], [former])))
            async with attached(scripted_agent(), running.address, "second@fame.fabric"):
                pass


def _holds(it: bool) -> None:
    assert it


async def test_a_port_that_is_taken_is_named_with_the_option() -> None:
    async with sentinel() as running:
        with pytest.raises(ListenError, match=rf"{running.address} for gRPC: address already in use; .*--listen"):
            await Sentinel(SentinelSettings(listen=running.address, http_listen="off")).start()


# -- TLS


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    SERVERS.issue("server", dns=("localhost",)).write(tmp_path)
    write(tmp_path / "ca.pem", CLIENTS.pem)
    write(tmp_path / "roots.pem", SERVERS.pem)
    CLIENTS.issue("agent", dns=("agent.example",)).write(tmp_path, "agent")
    return {
        name: str(tmp_path / name) for name in ("tls.crt", "tls.key", "ca.pem", "roots.pem", "agent.crt", "agent.key")
    }


def tls_of(files: dict[str, str]) -> dict[str, Any]:
    return {"tls_cert": files["tls.crt"], "tls_key": files["tls.key"]}


@covers("SEC-1")
async def test_agents_and_clients_use_tls_and_a_replaced_certificate_is_taken_into_use(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "LOOK_EVERY_S", 0.05)
    trust = {"attach_ca_cert": files["roots.pem"]}
    async with sentinel(listen="localhost:0", **tls_of(files)) as running:
        async with attached(scripted_agent(), running.address, attach=trust):
            await sent_through(running.address, ca_cert=files["roots.pem"])
            first = await asyncio.to_thread(shown, running.address)
            SERVERS.issue("server", dns=("localhost",)).write(tmp_path)

            async def replaced() -> None:
                assert await asyncio.to_thread(shown, running.address) != first

            await eventually(replaced)
            await sent_through(running.address, ca_cert=files["roots.pem"])


def shown(address: str) -> bytes:
    """Return the certificate that a port shows."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cadata=SERVERS.pem.decode())
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((host, int(port))) as plain, context.wrap_socket(plain, server_hostname=host) as tls:
        return tls.getpeercert(binary_form=True) or b""


async def test_an_agent_attaches_with_a_client_certificate_and_another_address_asks_for_none(
    files: dict[str, str],
) -> None:
    settings = {**tls_of(files), "tls_client_ca": files["ca.pem"]}
    certificate = {"attach_cert": files["agent.crt"], "attach_key": files["agent.key"]}
    trust = {"attach_ca_cert": files["roots.pem"]}
    async with sentinel(listen="localhost:0/mtls,localhost:0/tls", **settings) as running:
        mutual, plain = running.addresses
        assert mutual == running.address != plain
        async with attached(scripted_agent(), mutual, attach={**trust, **certificate}):
            await sent_through(plain, ca_cert=files["roots.pem"])
            await sent_through(
                mutual, ca_cert=files["roots.pem"], client_cert=files["agent.crt"], client_key=files["agent.key"]
            )
            roots = grpc.ssl_channel_credentials(SERVERS.pem)
            async with health_of(mutual, roots) as health:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await health.Check(health_pb2.HealthCheckRequest(), timeout=10)
                assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_certificate_of_an_agent_is_its_principal(files: dict[str, str], tmp_path: Path) -> None:
    settings = SentinelSettings(
        listen="localhost:0",
        http_listen="off",
        drain_grace_s=0,
        pass_credentials=True,
        tls_client_ca=files["ca.pem"],
        **tls_of(files),
    )
    trust = {"attach_ca_cert": files["roots.pem"]}
    CLIENTS.issue("other", dns=("other.example",)).write(tmp_path, "other")
    pairs = [
        {"attach_cert": str(tmp_path / f"{name}.crt"), "attach_key": str(tmp_path / f"{name}.key")}
        for name in ("agent", "other")
    ]
    async with Sentinel(settings, auth=[ClientCertificates()]) as running:
        async with attached(scripted_agent(), running.address, attach={**trust, **pairs[0]}):
            with pytest.raises(Exception, match="belongs to another principal"):
                async with attached(scripted_agent(), running.address, attach={**trust, **pairs[1]}):
                    pass


async def test_the_program_reports_all_its_addresses_with_the_real_ports(files: dict[str, str]) -> None:
    tls = [f"--{name.replace('_', '-')}={path}" for name, path in tls_of(files).items()]
    command = ["-o", "json", "--listen=127.0.0.1:0", "--listen=localhost:0", "--http-listen=localhost:0", *tls]
    async with Process("-m", "a2a_grpc", "sentinel", *command) as program:
        first, [second] = program.ready["grpc"], program.ready["grpc_more"]
        assert program.ready["http"].startswith("https://localhost:")
        roots = grpc.ssl_channel_credentials(SERVERS.pem)
        for address in (first, second):
            async with health_of(address.replace("127.0.0.1", "localhost"), roots) as health:
                await health.Check(health_pb2.HealthCheckRequest(), timeout=10)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"listen": "0.0.0.0:8000"}, r"listen is '0.0.0.0:8000': plaintext beyond this machine; give --tls-cert"),
        ({"tls_cert": "a.pem"}, "--tls-key is missing"),
        ({"listen": "127.0.0.1:1/tls"}, r"listen is '127.0.0.1:1/tls': give --tls-cert"),
        ({"listen": "127.0.0.1:1/ssl"}, "only /tls or /mtls may follow"),
        ({"tls_client_ca": "ca.pem"}, "--tls-cert is missing"),
        ({"tls_cert": "no.pem", "tls_key": "no.pem"}, "tls_cert: no.pem: No such file"),
    ],
)
async def test_settings_that_do_not_fit_are_refused(settings: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        await Sentinel(SentinelSettings(http_listen="off", **settings)).start()  # type: ignore[arg-type]


def test_credentials_in_plaintext_beyond_this_machine_are_refused(tmp_path: Path) -> None:
    async def known(credentials: object) -> None:
        return None

    def make(**settings: Any) -> Sentinel:
        return Sentinel(
            SentinelSettings(listen="0.0.0.0:0", http_listen="off", pass_credentials=True, **settings), auth=[known]
        )

    with pytest.raises(ConfigurationError, match="credentials in plaintext beyond this machine"):
        make(insecure=True)
    make(tls_terminated=True)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"attach_cert": "a.pem"}, "--attach-key is missing"),
        ({"attach_key": "a.pem"}, "--attach-cert is missing"),
        ({"attach_plaintext": True, "attach_ca_cert": "a.pem"}, "exclude each other"),
    ],
)
def test_certificates_of_an_agent_that_do_not_fit_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        AttachSettings(attach="a:1", address=ADDRESS, **settings)


# -- what operators look with


def unary_at(channel: grpc.aio.Channel, path: str) -> Any:
    return channel.unary_unary(path)


async def test_health_says_serving_and_needs_no_credentials_and_other_methods_do() -> None:
    async def known(credentials: object) -> None:
        return None

    settings = _settings()
    async with Sentinel(settings, auth=[known]) as running:
        async with health_of(running.address) as health:
            for service in ("", "lf.a2a.v1.A2AService", "a2a_grpc.sentinel.v1.Sentinel"):
                checked = await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
                assert checked.status == health_pb2.HealthCheckResponse.SERVING
            watch = health.Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            stopping = asyncio.create_task(running.stop())
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            await stopping


@covers("SEC-11")
async def test_only_the_exact_names_of_health_are_exempt_from_authentication() -> None:
    async def known(credentials: object) -> None:
        return None

    settings = _settings()
    async with Sentinel(settings, auth=[known]) as running:
        async with grpc.aio.insecure_channel(running.address) as channel:
            for method in (
                "/lf.a2a.v1.A2AService/GetTask",
                "/lf.a2a.v1.A2AService/MethodOfALaterVersion",
                "/a2a_grpc.sentinel.v1.Sentinel/Attach",
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            ):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await unary_at(channel, method)(b"", timeout=10)
                assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED, method


async def test_reflection_names_the_services_of_the_sentinel_and_describes_their_methods() -> None:
    async with sentinel() as running, grpc.aio.insecure_channel(running.address) as channel:
        asked = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        await asked.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        services = (await asked.read()).list_services_response.service
        assert sorted(service.name for service in services) == [
            "a2a_grpc.sentinel.v1.Registry",
            "a2a_grpc.sentinel.v1.Sentinel",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
            "lf.a2a.v1.A2AService",
        ]
        for symbol in ("a2a_grpc.sentinel.v1.Sentinel.Attach", "lf.a2a.v1.A2AService"):
            await asked.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
            assert (await asked.read()).file_descriptor_response.file_descriptor_proto
        await asked.done_writing()
