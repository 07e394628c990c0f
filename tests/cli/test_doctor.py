"""`a2a-grpc doctor`: each step of a call, against something real that fails there."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from a2a_grpc.errors import UnauthenticatedError, VersionNotSupportedError
from a2a_grpc.wire import SERVICE_NAME
from tests.cli.terminal import Done, run, run_all
from tests.client.peers import (
    Certificate,
    Failure,
    Page,
    Peer,
    Site,
    black_hole,
    certificate,
    http_1_server,
    interface_json,
    peering,
    silent_port,
)
from tests.harness import scripted_agent, serving, stop_listening
from tests.ports import free_address

STEPS = ["DNS", "TCP", "TLS", "ALPN", "health", "reflection", "card", "auth", "version", "call"]
SOON = "--connect-timeout-s=1"

Service = Callable[[Any], None]
"""Adds itself to a gRPC server."""


@asynccontextmanager
async def stock_server(
    *services: Service,
    reflects: tuple[str, ...] = (),
    listen: str = "127.0.0.1:0",
    credentials: grpc.ServerCredentials | None = None,
) -> AsyncIterator[str]:
    """A gRPC server with its defaults, these services, and reflection if it has names to tell: its address."""
    server: Any = grpc.aio.server()
    for add in services:
        add(server)
    if reflects:
        reflection.enable_server_reflection((*reflects, reflection.SERVICE_NAME), server)
    port = server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
    await server.start()
    try:
        yield listen if listen.startswith("unix:") else f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def a2a(peer: Peer) -> Service:
    """The RPCs of a peer."""
    return lambda server: server.add_generic_rpc_handlers((peer.handlers(),))


HANGS = "HANGS"
"""The state of a service of whose health nothing is ever said."""


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """grpc.health.v1, where services are in the states that it is given."""

    def __init__(self, states: dict[str, str]) -> None:
        self._states = states

    async def Check(self, request: Any, context: Any) -> Any:
        if request.service not in self._states:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        if self._states[request.service] == HANGS:
            await asyncio.Event().wait()
        return health_pb2.HealthCheckResponse(status=self._states[request.service])


def healthy(**states: str) -> Service:
    """Health: the server is SERVING, and services are in these states; `a2a` is the agent's."""
    named = {SERVICE_NAME if name == "a2a" else name: state for name, state in states.items()}
    servicer = Health({"": "SERVING", **named})
    return lambda server: health_pb2_grpc.add_HealthServicer_to_server(servicer, server)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the doctor said."""

    code: int
    steps: list[tuple[str, str]]
    """Each step with its outcome."""
    last: str
    """What was said of the last step."""
    texts: dict[str, str]


async def doctor(target: str, *options: str) -> Diagnosis:
    """The diagnosis of one target."""
    [found] = (await all_doctors(it=(target, *options))).values()
    return found


def diagnosis(done: Done) -> Diagnosis:
    """What was printed as JSON: nothing but objects of three texts, and nothing on standard error."""
    assert done.err == "", done
    found = [json.loads(line) for line in done.out.splitlines()]
    for item in found:
        assert list(item) == ["step", "outcome", "text"], item
        assert "\n" not in item["text"]
    return Diagnosis(
        done.code,
        [(item["step"], item["outcome"]) for item in found],
        found[-1]["text"],
        {item["step"]: item["text"] for item in found},
    )


async def all_doctors(**calls: tuple[str, ...]) -> dict[str, Diagnosis]:
    """Several at the same time, each under a name of its own."""
    done = await run_all(*(("doctor", "-o", "json", SOON, *call) for call in calls.values()))
    return dict(zip(calls, map(diagnosis, done), strict=True))


def fails_at(step: str, **outcomes: str) -> list[tuple[str, str]]:
    """All steps up to this one, which fails; those before it are ok, where `outcomes` does not say something else."""
    before = STEPS[: STEPS.index(step)]
    return [*((name, outcomes.get(name, "ok")) for name in before), (step, "failed")]


PLAINTEXT = {"TLS": "skipped", "ALPN": "skipped"}


@pytest.fixture
def ours(tmp_path: Path) -> Certificate:
    return certificate(tmp_path, "127.0.0.1", "localhost")


# -- all is well


async def test_all_is_well_with_an_agent_by_its_address_and_by_its_card_in_plaintext_and_with_tls(
    ours: Certificate,
) -> None:
    async with (
        serving(scripted_agent(), http_listen="127.0.0.1:0") as plain,
        serving(scripted_agent(), http_listen="127.0.0.1:0", tls_cert=ours.cert_file, tls_key=ours.key_file) as secret,
    ):
        assert plain.server.http_url is not None
        assert secret.server.http_url is not None
        roots = f"--ca-cert={ours.roots_file}"
        found = await all_doctors(
            address=(plain.server.grpc_address,),
            card=(plain.server.http_url,),
            secret_address=(f"grpcs://{secret.server.grpc_address}", roots),
            secret_card=(secret.server.http_url, roots),
        )
    assert {name: each.code for name, each in found.items()} == dict.fromkeys(found, 0)
    skipped = {
        "address": {"TLS", "ALPN", "card"},
        "card": {"TLS", "ALPN"},
        "secret_address": {"card"},
        "secret_card": set(),
    }
    for name, each in found.items():
        assert each.steps == [(step, "skipped" if step in skipped[name] else "ok") for step in STEPS], name
    texts = found["secret_card"].texts
    assert texts["TCP"] == f"{secret.server.grpc_address} accepts connections"
    assert texts["TLS"] == "TLSv1.3, the certificate is accepted"
    assert texts["ALPN"] == "h2"
    assert texts["health"] == f"{SERVICE_NAME} is SERVING"
    assert f"{SERVICE_NAME} among them" in texts["reflection"]
    assert texts["card"] == "Scripted 1.0.0, 2 skills"
    assert texts["version"] == "A2A 1.0"
    assert texts["call"] == "ListTasks answers; there are no tasks yet"


async def test_all_is_well_at_a_unix_socket(tmp_path: Path) -> None:
    peer = Peer()
    services = a2a(peer), healthy(a2a="SERVING")
    target = f"unix:{tmp_path}/agent.sock"
    async with stock_server(*services, reflects=(SERVICE_NAME,), listen=target):
        found = await doctor(target)
    skipped = {"DNS", "TLS", "ALPN", "card"}
    assert found.code == 0
    assert found.steps == [(step, "skipped" if step in skipped else "ok") for step in STEPS]
    assert found.texts["DNS"] == "a Unix socket has no name to resolve"
    assert found.texts["TCP"] == f"{target} accepts connections"
    assert found.texts["call"] == "ListTasks answers; the latest task is t-1"


async def test_for_people_each_step_is_a_line_and_the_last_one_says_that_all_is_well() -> None:
    async with serving(scripted_agent()) as served:
        done = await run("doctor", served.server.grpc_address)
    assert (done.code, done.err) == (0, "")
    *steps, last = done.out.splitlines()
    assert [line.split()[:2] for line in steps] == [
        ["ok", "DNS"],
        ["ok", "TCP"],
        ["skipped", "TLS"],
        ["skipped", "ALPN"],
        ["ok", "health"],
        ["ok", "reflection"],
        ["skipped", "card"],
        ["ok", "auth"],
        ["ok", "version"],
        ["ok", "call"],
    ]
    assert last == f"All is well with {served.server.grpc_address}."


async def test_for_people_the_step_that_fails_is_the_last_line() -> None:
    address = free_address()
    done = await run("doctor", address, SOON)
    assert (done.code, done.err) == (3, "")
    last = done.out.splitlines()[-1]
    assert last.split()[:2] == ["failed", "TCP"]
    assert last.endswith(f"nothing listens at {address}; check the port, and that the agent is running")


# -- nobody there


async def test_the_step_that_fails_where_nobody_is() -> None:
    address = free_address()
    async with black_hole() as dropping:
        found = await all_doctors(host=("agents.invalid:50051",), port=(address,), dropping=(dropping,))
    assert {name: (each.code, each.steps) for name, each in found.items()} == {
        "host": (3, fails_at("DNS")),
        "port": (3, fails_at("TCP")),
        "dropping": (3, fails_at("TCP")),
    }
    assert found["host"].last.startswith("there is no host 'agents.invalid'")
    assert "check the name" in found["host"].last
    expected = f"nothing listens at {address}; check the port, and that the agent is running"
    assert found["port"].last == expected
    assert found["dropping"].last == f"{dropping} does not answer within 1 s; check host, port and firewalls"


async def test_the_step_that_fails_at_a_unix_socket_that_is_missing_or_abandoned(tmp_path: Path) -> None:
    missing, abandoned = f"unix:{tmp_path}/missing.sock", f"unix:{tmp_path}/abandoned.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(abandoned.removeprefix("unix:"))
    found = await all_doctors(missing=(missing,), abandoned=(abandoned,))
    for each in found.values():
        assert (each.code, each.steps) == (3, fails_at("TCP", DNS="skipped"))
    assert found["missing"].last == f"there is no socket {missing}; check the path, and that the agent is running"
    assert found["abandoned"].last == f"{abandoned} cannot be connected to: Connection refused"


# -- the wrong kind of encryption


async def test_the_step_that_fails_at_each_mistake_with_encryption(ours: Certificate, tmp_path: Path) -> None:
    elsewhere = certificate(tmp_path, "agents.example")
    async with (
        peering() as plain,
        peering(credentials=ours.server_credentials()) as secret,
        peering(credentials=elsewhere.server_credentials()) as other_name,
        tls_without_http2(ours) as no_http2,
        silent_port() as silent,
    ):
        roots = f"--ca-cert={ours.roots_file}"
        found = await all_doctors(
            unknown_authority=(f"grpcs://{secret.address}",),
            other_name=(f"grpcs://{other_name.address}", f"--ca-cert={elsewhere.roots_file}"),
            against_plaintext=(f"grpcs://{plain.address}",),
            in_plaintext=(secret.address,),
            no_http2=(f"grpcs://{no_http2}", roots),
            silent=(f"grpcs://{silent}",),
        )
    assert {name: (each.code, each.steps) for name, each in found.items()} == {
        "unknown_authority": (3, fails_at("TLS")),
        "other_name": (3, fails_at("TLS")),
        "against_plaintext": (3, fails_at("TLS")),
        "in_plaintext": (3, fails_at("TLS")),
        "no_http2": (3, fails_at("ALPN")),
        "silent": (3, fails_at("TLS")),
    }
    said = {name: each.last for name, each in found.items()}
    assert said["unknown_authority"].startswith(f"the certificate of {secret.address} is not accepted: ")
    assert "--ca-cert" in said["unknown_authority"]
    assert "not valid for '127.0.0.1'" in said["other_name"]
    assert "--authority" in said["other_name"]
    assert said["against_plaintext"].startswith(f"{plain.address} speaks plaintext, and was called with TLS; ")
    assert "--plaintext" in said["against_plaintext"]
    assert said["in_plaintext"].startswith(f"{secret.address} speaks TLS, and would be called in plaintext; ")
    assert f"grpcs://{secret.address}" in said["in_plaintext"]
    assert said["no_http2"] == (f"{no_http2} speaks TLS but not HTTP/2 (no ALPN 'h2'); is this the agent's gRPC port?")
    assert said["silent"] == f"{silent} accepts connections, but does not answer TLS"
    assert plain.calls == secret.calls == other_name.calls == []


@asynccontextmanager
async def tls_without_http2(ours: Certificate) -> AsyncIterator[str]:
    """The address of a server that agrees on TLS, and on no protocol above it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        except OSError:
            pass
        finally:
            writer.transport.abort()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(ours.cert_file, ours.key_file)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        await stop_listening(server)


# -- something else


async def test_the_step_that_fails_at_what_is_no_agent() -> None:
    async with (
        http_1_server() as http_1,
        stock_server() as empty,
        stock_server(healthy(), reflects=("grpc.health.v1.Health",)) as health_only,
        stock_server(healthy(other="SERVING")) as unreflected,
    ):
        found = await all_doctors(
            http_1=(http_1,), empty=(empty,), health_only=(health_only,), unreflected=(unreflected,)
        )
    missing = {**PLAINTEXT, "health": "missing", "reflection": "missing", "card": "skipped"}
    assert {name: (each.code, each.steps) for name, each in found.items()} == {
        "http_1": (3, fails_at("health", **PLAINTEXT)),
        "empty": (6, fails_at("version", **missing)),
        "health_only": (6, fails_at("reflection", **PLAINTEXT, health="missing")),
        "unreflected": (6, fails_at("version", **missing)),
    }
    assert found["http_1"].last == (
        f"{http_1} speaks HTTP/1, not gRPC; if it serves the agent's card, call http://{http_1}"
    )
    assert found["empty"].last.startswith(f"'{empty}' speaks gRPC, but is no A2A 1.0 agent: ")
    assert found["health_only"].last.startswith(f"the server does not serve {SERVICE_NAME}, but ")
    assert "grpc.health.v1.Health" in found["health_only"].last
    assert found["unreflected"].texts["health"] == f"health is served, but does not know {SERVICE_NAME}"


async def test_an_agent_without_health_or_reflection_is_well_and_what_is_missing_is_named() -> None:
    async with (
        serving(scripted_agent(), health=False) as no_health,
        serving(scripted_agent(), reflection=False) as no_reflection,
    ):
        found = await all_doctors(
            health=(no_health.server.grpc_address,), reflection=(no_reflection.server.grpc_address,)
        )
    outcomes = {**dict.fromkeys(STEPS, "ok"), **PLAINTEXT, "card": "skipped"}
    assert {name: (each.code, dict(each.steps)) for name, each in found.items()} == {
        "health": (0, {**outcomes, "health": "missing"}),
        "reflection": (0, {**outcomes, "reflection": "missing"}),
    }
    assert found["health"].texts["health"] == "grpc.health.v1 is not served; load balancers will miss it"
    assert found["reflection"].texts["reflection"] == "reflection is not served; grpcurl needs the .proto file"


# -- an agent that does not want to, or cannot


async def test_the_step_that_fails_at_an_agent_that_refuses() -> None:
    """An agent that drains, one of another version, one that wants a token."""
    drained = healthy(a2a="NOT_SERVING")
    old = VersionNotSupportedError("version 1.0 is not supported", metadata={"supported_versions": "0.3"})
    async with (
        stock_server(a2a(Peer()), drained) as draining,
        peering(Peer(always=Failure.of(old))) as other_version,
        peering(Peer(always=Failure.of(VersionNotSupportedError()))) as unknown_version,
        peering(Peer(always=Failure.of(UnauthenticatedError("no credentials were given")))) as guarded,
    ):
        found = await all_doctors(
            draining=(draining,),
            other_version=(other_version.address,),
            unknown_version=(unknown_version.address,),
            guarded=(guarded.address,),
        )
    missing = {**PLAINTEXT, "health": "missing", "reflection": "missing", "card": "skipped"}
    assert {name: (each.code, each.steps) for name, each in found.items()} == {
        "draining": (3, fails_at("health", **PLAINTEXT)),
        "other_version": (6, fails_at("version", **missing)),
        "unknown_version": (6, fails_at("version", **missing)),
        "guarded": (4, fails_at("auth", **missing)),
    }
    assert found["draining"].last == (
        f"{SERVICE_NAME} is NOT_SERVING: the server starts or stops, or its task store does not answer; "
        "see the server's log and /readyz, or call another server"
    )
    assert found["other_version"].last.startswith("the agent does not speak A2A 1.0, but 0.3")
    assert found["unknown_version"].last.startswith("the agent does not speak A2A 1.0")
    assert "no credentials were given; give --token, --token-file, " in found["guarded"].last
    assert "--token" in found["guarded"].last, "what to do about it"


async def test_a_token_that_is_given_is_shown_to_the_agent_at_each_step_and_to_nobody_else() -> None:
    peer = Peer()
    async with stock_server(a2a(peer), healthy(), reflects=(SERVICE_NAME,)) as address:
        done = await run("doctor", address, "--token=hunter2", "-v")
    assert done.code == 0
    assert {call.rpc: call.values("authorization") for call in peer.calls} == {
        "GetTask": ["Bearer hunter2"],
        "ListTasks": ["Bearer hunter2"],
    }
    assert "hunter2" not in done.out + done.err


# -- the card


async def test_the_card_is_the_step_that_fails_where_there_is_no_way_to_the_agent_without_it(tmp_path: Path) -> None:
    address, missing = free_address(), tmp_path / "missing.json"
    jsonrpc = [interface_json("https://agents.example", binding="JSONRPC")]
    async with (
        Site(Page(b"<html>")) as no_json,
        Site(Page(status=404)) as not_there,
        Site(Page.card(supportedInterfaces=jsonrpc)) as no_grpc,
        Site(Page.card("agents.example:443")) as elsewhere,
        peering() as peer,
    ):
        found = await all_doctors(
            no_json=(no_json.url,),
            not_there=(not_there.url,),
            no_grpc=(no_grpc.url,),
            elsewhere=(elsewhere.url,),
            nobody=(f"http://{address}",),
            no_http=(f"http://{peer.address}",),
            missing=(str(missing),),
        )
    for each in found.values():
        assert each.steps == [("card", "failed")]
    assert {name: each.code for name, each in found.items()} == {
        "no_json": 6, "not_there": 6, "no_grpc": 6, "elsewhere": 6, "nobody": 3, "no_http": 3,
        "missing": 2,
    }  # fmt: skip
    card = "/.well-known/agent-card.json"
    said = {name: each.last for name, each in found.items()}
    assert said["no_json"].startswith(f"the card at {no_json.url}{card} is not JSON: ")
    assert said["not_there"] == f"{not_there.url}{card} answers 404 Not Found; there is no card"
    assert said["no_grpc"] == (
        f"the card at {no_grpc.url} has no GRPC interface for A2A 1.0; it has JSONRPC 1.0 at https://agents.example"
    )
    assert said["elsewhere"] == (
        f"the card at {elsewhere.url} sends gRPC to another host, agents.example:443; "
        "allow it with any_card_host (--any-card-host)"
    )
    assert said["nobody"].startswith(f"nothing listens at http://{address}{card}; ")
    assert said["no_http"] == (
        f"the server at {peer.address} does not speak HTTP; if this is the gRPC port of the agent, give its address "
        f"without http:// (--agent {peer.address})"
    )
    assert said["missing"] == f"cannot read the card '{missing}': No such file or directory"


async def test_what_a_card_lacks_is_told_and_stops_nothing() -> None:
    async with peering() as peer, Site(Page.card(peer.address, name=None, version=None)) as site:
        found = await doctor(site.url)
    assert ("card", "missing") in found.steps
    assert found.code == 0


async def test_a_card_that_leads_to_a_closed_port_is_told_as_that_port() -> None:
    address = free_address()
    async with Site(Page.card(address)) as site:
        found = await doctor(site.url)
    assert (found.code, found.steps) == (3, fails_at("TCP"))
    assert found.last.startswith(f"nothing listens at {address}; ")
