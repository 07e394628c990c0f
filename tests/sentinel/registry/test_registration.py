"""Agents that register: the lease, restarts of the registry, refusals, and `serve --register`."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from a2a_grpc import connect
from a2a_grpc.auth import ClientCertificates
from a2a_grpc.client import Registry
from a2a_grpc.config import ConfigurationError
from a2a_grpc.registry.memory import MemoryEntries
from a2a_grpc.registry.wire import RegisterResponse
from a2a_grpc.sentinel import Sentinel, SentinelSettings
from a2a_grpc.sentinel.agent_settings import RegisterSettings
from a2a_grpc.sentinel.registration import Registration
from tests.auth.pki import Authority, write
from tests.harness import Program, eventually, run_program
from tests.ports import free_address, free_port
from tests.proxy import Proxy
from tests.sentinel.registry.test_entries import card
from tests.sentinel.registry.test_service import sentinel

CARD = card("Poet", "", ("write", "verse"))


@asynccontextmanager
async def registration(at: str, **settings: str) -> AsyncIterator[Registration]:
    async with Registration(RegisterSettings(register=at, **settings)) as running:  # type: ignore[arg-type]
        running.register(name="poet", url="http://poet.example", tenant="", card=CARD)
        yield running


async def names(at: str) -> list[str]:
    async with Registry(at) as registry:
        return [agent.name async for agent in registry.list()]


async def becomes(at: str, expected: list[str]) -> None:
    async def is_so() -> None:
        assert await names(at) == expected

    await eventually(is_so, within_s=60)


async def test_an_agent_is_in_the_registry_until_it_leaves() -> None:
    async with sentinel() as running:
        async with registration(running.address) as registered:
            await becomes(running.address, ["poet"])
            registered.leave()
            await becomes(running.address, [])
        assert await names(running.address) == []


async def test_the_lease_is_renewed() -> None:
    async with sentinel(registry_lease_s=3.0) as running, registration(running.address):
        await becomes(running.address, ["poet"])
        assert isinstance(running.entries, MemoryEntries)
        (kept,) = running.entries._kept.values()
        first = kept.until

        async def is_later() -> None:
            assert kept.until > first

        await eventually(is_later)


class OlderRegistry:
    """A registry of a former version, without streams of heartbeats."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def answer(self, request: bytes, context: Any) -> bytes:
        return RegisterResponse(lease_s=1.0).SerializeToString()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        name = details.method.rpartition("/")[2]
        self.calls.append(name)
        return None if name == "Heartbeats" else grpc.unary_unary_rpc_method_handler(self.answer)


@asynccontextmanager
async def older_registry() -> AsyncIterator[tuple[OlderRegistry, str]]:
    server, registry = grpc.aio.server(), OlderRegistry()
    handler: Any = type("Handler", (grpc.GenericRpcHandler,), {"service": registry.service})()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield registry, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def test_heartbeats_are_calls_at_a_registry_that_takes_no_stream() -> None:
    async with older_registry() as (registry, at), registration(at):

        async def beats() -> None:
            assert registry.calls.count("Heartbeat") >= 3

        await eventually(beats, within_s=30)
    assert registry.calls[:2] == ["Register", "Heartbeats"]
    assert registry.calls.count("Heartbeats") == registry.calls.count("Register") == 1
    assert registry.calls[-1] == "Unregister"


async def test_a_stream_is_tried_again_after_some_time_of_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("a2a_grpc.sentinel.registration.NO_STREAM_INITIAL_S", 0.1)
    async with older_registry() as (registry, at), registration(at):

        async def are_tried() -> None:
            assert registry.calls.count("Heartbeats") >= 2

        await eventually(are_tried, within_s=60)
    assert registry.calls.count("Register") == 1


async def test_the_heartbeats_of_an_agent_come_on_a_stream_which_ends_with_the_agent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with sentinel() as running:
        async with registration(running.address):

            async def is_open() -> None:
                assert [key.name for key, _ in running._heartbeats._open] == ["poet"]

            await eventually(is_open)
        assert running._heartbeats._open == {}
        assert await names(running.address) == []
    assert "lost" not in caplog.text


async def test_an_agent_whose_stream_is_cut_opens_another_one_and_reports_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with sentinel(registry_lease_s=6.0) as running:
        async with Proxy(running.address) as proxy, registration(proxy.address):
            seen: set[Any] = set()

            async def has_beaten() -> None:
                assert [beating.written_at > first_at for beating in running._heartbeats._open.values()] == [True]

            async def is_open(number: int) -> None:
                seen.update(running._heartbeats._open.values())
                assert len(seen) == number

            await eventually(lambda: is_open(1))
            first_at = next(iter(seen)).written_at
            await eventually(has_beaten)  # so that the agent has its first answer
            proxy.cut()
            await eventually(lambda: is_open(2), within_s=30)
            assert await names(running.address) == ["poet"]
    assert "not registered" not in caplog.text


async def test_an_agent_whose_entry_is_lost_registers_again() -> None:
    async with sentinel(registry_lease_s=1.0) as running, registration(running.address):
        await becomes(running.address, ["poet"])
        for entry in await running.entries.at("poet"):
            await running.entries.remove(entry.key, entry.owner)
        await becomes(running.address, ["poet"])


async def test_an_agent_that_comes_first_registers_once_the_registry_is_there(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    async with registration(f"127.0.0.1:{port}"):

        async def is_said() -> None:
            assert "not registered name=poet" in caplog.text

        await eventually(is_said)
        settings = SentinelSettings(listen=f"127.0.0.1:{port}", http_listen="off", drain_grace_s=0)
        async with Sentinel(settings) as running:
            await becomes(running.address, ["poet"])


async def test_an_agent_shows_its_token_and_reads_the_file_again(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("")
    async with sentinel(is_open=False) as running:
        async with registration(running.address, register_token_file=str(token)):
            token.write_text("ada\n")

            async def is_there() -> None:
                assert [entry.owner for entry in await running.entries.at("poet")] == ['["custom","","ada"]']

            await eventually(is_there)


async def test_wrong_settings_are_refused_at_once(tmp_path: Path) -> None:
    for settings, said in (
        ({"register": "ftp://x"}, "registry is 'ftp://x'"),
        ({"register": "127.0.0.1:1", "register_token_file": str(tmp_path / "none")}, "register_token_file"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            Registration(RegisterSettings(**settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"register_as": "poet@acme"}, "register_as is 'poet@acme': must have no '@'"),
        ({"register_as": "a\nb"}, "register_as is 'a\nb': must have printable characters only"),
        ({"register_as": " "}, "register_as is ' ': must have printable characters only"),
        ({"register_as": "a" * 257}, "register_as is 'a{200}…': has 257 characters; the limit is"),
        ({"register_url": "http://a/" + "a" * 2000}, "register_url is 'http://a/a{191}…': has 2009 characters"),
        (
            {"register_url": "http://u:secret@host/x"},
            r"register_url is 'http://u:\*\*\*@host/x': target is .* with a user",
        ),
        ({"register_url": "javascript:alert(1)"}, "register_url is 'javascript:.*must be HOST:PORT"),
        ({"register_url": "./card.json"}, "register_url is './card.json': must be the URL of the agent's card"),
        ({"register_cert": "c.pem"}, "--register-key is missing"),
        ({"register_plaintext": True, "register_ca_cert": "ca.pem"}, "--register-plaintext and certificates"),
    ],
)
def test_settings_that_are_wrong_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        RegisterSettings(register="127.0.0.1:1", **settings)


async def test_a_certificate_that_cannot_be_read_is_named_by_its_option(tmp_path: Path) -> None:
    settings = RegisterSettings(
        register="127.0.0.1:1", register_cert=str(tmp_path / "none.pem"), register_key=str(tmp_path / "none.key")
    )
    with pytest.raises(ConfigurationError, match="cannot read register_key"):
        async with Registration(settings):
            pass


@asynccontextmanager
async def mutual(folder: Path) -> AsyncIterator[tuple[Sentinel, list[str]]]:
    """A sentinel that knows its callers by their certificates, and the options of an agent that has one."""
    servers, clients = Authority("Servers"), Authority("Clients")
    certificate, key = servers.issue("localhost", dns=("localhost",)).write(folder)
    settings = SentinelSettings(
        listen="localhost:0",
        http_listen="off",
        drain_grace_s=0,
        registry_lease_s=3.0,
        tls_cert=str(certificate),
        tls_key=str(key),
        tls_client_ca=str(write(folder / "clients.pem", clients.pem)),
    )
    shown, shown_key = clients.issue("poet", dns=("poet.example",)).write(folder, "poet")
    options = [
        f"--register-ca-cert={write(folder / 'servers.pem', servers.pem)}",
        f"--register-cert={shown}",
        f"--register-key={shown_key}",
    ]
    async with Sentinel(settings, auth=[ClientCertificates()]) as running:
        yield running, options


@pytest.mark.long
async def test_the_certificate_of_an_agent_is_the_owner_of_its_entries_and_each_worker_has_one(tmp_path: Path) -> None:
    async with mutual(tmp_path) as (running, options):
        store = f"--store=sqlite:///{tmp_path}/tasks.db"
        async with served(running.address, "--workers=2", store, *options) as program:
            before: set[str] = set()

            async def are_there() -> None:
                entries = await running.entries.at("scripted")
                assert len(entries) == 2
                owner = '["certificate","dns:CN=Clients","poet.example"]'
                assert {(entry.owner, entry.url) for entry in entries} == {(owner, program.http)}
                before.update(entry.key.instance for entry in entries)

            await eventually(are_there, within_s=60)
            workers = Path(f"/proc/{program.process.pid}/task/{program.process.pid}/children").read_text().split()
            os.kill(int(workers[0]), signal.SIGKILL)  # another worker takes its place, with an entry of its own

            async def is_replaced() -> None:
                known = {entry.key.instance for entry in await running.entries.at("scripted")}
                assert len(known & before) == len(known - before) == 1

            await eventually(is_replaced, within_s=60)
            async with connect(program.http) as client:
                await client.send("hello")
            program.process.send_signal(signal.SIGTERM)

            async def are_gone() -> None:
                assert await running.entries.at("scripted") == []

            await eventually(are_gone, within_s=60)


def served(at: str, *options: str) -> Program:
    return Program.server("servers/scripted.py", "--register", at, "--register-as", "scripted", *options)


async def test_serve_register_is_found_and_leaves_with_sigterm_and_with_its_lease_after_kill_9() -> None:
    async with sentinel(registry_lease_s=3.0) as running:
        async with served(running.address) as program, served(running.address) as other:
            await becomes(running.address, ["scripted", "scripted"])

            async def beat_on_streams() -> None:
                assert len(running._heartbeats._open) == 2

            await eventually(beat_on_streams)
            async with Registry(running.address) as registry:
                agents = [agent async for agent in registry.list()]
            assert sorted(agent.url for agent in agents) == sorted([program.http, other.http])
            async with agents[0].connect() as client:
                await client.send("hello")
            program.process.send_signal(signal.SIGTERM)
            await becomes(running.address, ["scripted"])
            other.process.kill()
            await becomes(running.address, [])


@pytest.mark.long
async def test_an_agent_that_is_stopped_is_gone_with_its_lease_and_comes_back_when_it_goes_on() -> None:
    async with sentinel(registry_lease_s=3.0) as running, served(running.address) as program:
        await becomes(running.address, ["scripted"])
        program.process.send_signal(signal.SIGSTOP)
        await becomes(running.address, [])

        async def is_ended() -> None:
            assert running._heartbeats._open == {}

        await eventually(is_ended, within_s=60)
        program.process.send_signal(signal.SIGCONT)
        await becomes(running.address, ["scripted"])


@pytest.mark.long
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
async def test_an_agent_registers_again_at_a_sentinel_that_was_killed_or_drained_and_is_back(
    kind: signal.Signals,
) -> None:
    address = free_address()
    command = ("-m", "a2a_grpc", "sentinel", "-o", "json", "--listen", address, "--http-listen", "off")
    async with Program(*command) as first, served(address):
        await becomes(address, ["scripted"])
        first.process.send_signal(kind)
        await first.process.wait()
        async with Program(*command):
            await becomes(address, ["scripted"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--register", "ftp://x"), "registry is 'ftp://x'"),
        (("--register-as", "poet"), "--register is missing; --register-as has no effect without it"),
        (("--register-token-file", "t"), "--register is missing; --register-token-file has no effect without it"),
        (("--register", "h:1", "--attach", "h:1", "--address", "a@b"), "exclude each other"),
        (("--register", "h:1", "--listen", "0.0.0.0:0", "--insecure"), "--advertise HOST:PORT, or --register-url"),
    ],
)
async def test_bad_options_of_serve_are_one_line(options: tuple[str, ...], said: str) -> None:
    code, _, error = await run_program("-m", "a2a_grpc", "serve", "servers/scripted.py", *options)
    assert code == 2
    assert said in error
    assert len(error.strip().splitlines()) == 1


async def test_serve_refuses_to_register_an_agent_whose_own_name_no_registry_accepts(tmp_path: Path) -> None:
    file = tmp_path / "poet.py"
    file.write_text(
        "from a2a_grpc import Agent, Turn\n"
        "agent = Agent('poet@acme', 'Writes.')\n"
        "@agent.skill()\n"
        "async def write(turn: Turn) -> str:\n"
        "    return turn.text\n"
    )
    options = ("--store=memory:", "--listen=127.0.0.1:0", "--http-listen=off", "--register", "127.0.0.1:1")
    code, _, error = await run_program("-m", "a2a_grpc", "serve", str(file), *options)
    assert code == 2
    assert "the name of the agent, 'poet@acme', must have no '@'" in error
    assert "give --register-as NAME" in error
