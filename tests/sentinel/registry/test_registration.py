"""Agents that register: the lease, restarts of the registry, refusals, and `serve --register`."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from a2a_grpc import connect
from a2a_grpc.auth import ClientCertificates
from a2a_grpc.client import Registry
from a2a_grpc.config import ConfigurationError
from a2a_grpc.registry.memory import MemoryEntries
from a2a_grpc.sentinel import Sentinel, SentinelSettings
from a2a_grpc.sentinel.agent_settings import RegisterSettings
from a2a_grpc.sentinel.registration import Registration
from tests.auth.pki import Authority, write
from tests.harness import Program, eventually, run_program
from tests.ports import free_port
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

    await eventually(is_so)


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
        ({"register_cert": "c.pem"}, "--register-key is missing"),
        ({"register_plaintext": True, "register_ca_cert": "ca.pem"}, "--register-plaintext and certificates"),
    ],
)
def test_settings_of_tls_that_do_not_fit_each_other_are_refused(settings: dict[str, Any], said: str) -> None:
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
            async with Registry(running.address) as registry:
                agents = [agent async for agent in registry.list()]
            assert sorted(agent.url for agent in agents) == sorted([program.http, other.http])
            async with agents[0].connect() as client:
                await client.send("hello")
            program.process.send_signal(signal.SIGTERM)
            await becomes(running.address, ["scripted"])
            other.process.kill()
            await becomes(running.address, [])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--register", "ftp://x"), "registry is 'ftp://x'"),
        (("--register-as", "poet"), "--register is missing"),
        (("--register", "h:1", "--attach", "h:1", "--address", "a@b"), "exclude each other"),
        (("--register", "h:1", "--listen", "0.0.0.0:0", "--insecure"), "--advertise HOST:PORT, or --register-url"),
    ],
)
async def test_bad_options_of_serve_are_one_line(options: tuple[str, ...], said: str) -> None:
    code, _, error = await run_program("-m", "a2a_grpc", "serve", "servers/scripted.py", *options)
    assert code == 2
    assert said in error
    assert len(error.strip().splitlines()) == 1
