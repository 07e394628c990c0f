"""The server as a program: signals, encryption, probes."""

import asyncio
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
import trustme

from a2a_grpc import TaskState
from a2a_grpc.parts import text_of
from a2a_grpc.wire import A2AServiceStub, ListTasksRequest, SubscribeToTaskRequest
from tests import harness
from tests.covers import covers
from tests.harness import (
    V1,
    Process,
    Program,
    elements,
    event_state,
    eventually,
    refusal,
    request,
    run_program,
    scripted,
    scripted_agent,
    serving,
)
from tests.regressions.faults import connection

SCRIPTED = "servers/scripted.py"
PATIENT = ("--drain-grace-s", "600")
"""A server that gives its runs all the time they want."""


def told(program: Program) -> list[str]:
    """The names of the events that the program told, from `ready` on."""
    names = [event["event"] for event in program.events]
    return names[names.index("ready") :]


async def probe(program: Program, path: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(f"{program.http}{path}") as response:
        return response.status


async def test_a_signal_ends_a_start_that_waits_for_its_database() -> None:
    """The database has 20 s to answer; a container that waits for it is to stop at once."""
    command = (
        SCRIPTED,
        "-o",
        "json",
        "--listen",
        "127.0.0.1:0",
        "--http-listen",
        "off",
        "--store",
        "postgresql://u@127.0.0.1:1/d",
    )
    process = await harness.started([sys.executable, *command], {**os.environ})
    assert process.stderr is not None
    assert b"database unavailable" in await asyncio.wait_for(process.stderr.readline(), 30)
    process.send_signal(signal.SIGTERM)
    out, _ = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, out) == (0, b'{"event": "stopped"}\n')


@covers("G9")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.few(1)
async def test_a_signal_drains_the_server_which_then_exits_with_0(number: signal.Signals) -> None:
    async with Program.server(SCRIPTED) as program:
        program.process.send_signal(number)
        assert await program.until("draining") == {"event": "draining", "signal": number.name}
        await program.until("stopped")
        assert await program.process.wait() == 0
        assert told(program) == ["ready", "draining", "stopped"]
        assert program.process.stderr is not None
        assert await program.process.stderr.read() == b""


@covers("S2-53", "G9")
@pytest.mark.few
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_task_that_does_not_end_in_the_grace_tells_its_stream_why(number: signal.Signals) -> None:
    async with Program.server(SCRIPTED, "--drain-grace-s", "0.1") as program, connection(program.address) as stub:
        call: Any = stub.SendStreamingMessage(scripted({"status": "at work"}, {"sleep": 600}), metadata=V1)
        await elements(call, 3)
        program.process.send_signal(number)
        try:
            last = (await elements(call))[-1].status_update.status
            heard: tuple[object, str] = last.state, text_of(last.message)
        except grpc.aio.AioRpcError as cut:
            heard = cut.code(), ""
        assert heard in (
            (TaskState.TASK_STATE_FAILED, "The server shut down before the task was done."),
            (grpc.StatusCode.UNAVAILABLE, ""),
        )
        await program.until("stopped")
        assert await program.process.wait() == 0


async def test_the_stream_of_a_task_that_waits_for_its_user_ends_unavailable() -> None:
    async with Program.server(SCRIPTED, "--drain-grace-s", "0") as program, connection(program.address) as stub:
        sent: Any = await stub.SendMessage(scripted({"input": "Which?"}), metadata=V1)
        call: Any = stub.SubscribeToTask(SubscribeToTaskRequest(id=sent.task.id), metadata=V1)
        await elements(call, 1)
        program.process.send_signal(signal.SIGTERM)
        ended = await refusal(call)
        assert (ended.code, ended.reason) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")
        await program.until("stopped")
        assert await program.process.wait() == 0


async def test_while_a_server_drains_it_is_alive_not_ready_refuses_sends_and_lets_its_runs_finish() -> None:
    async with Program.server(SCRIPTED, *PATIENT) as program, connection(program.address) as stub:
        assert (await probe(program, "/livez"), await probe(program, "/readyz")) == (200, 200)
        call: Any = stub.SendStreamingMessage(scripted({"sleep": 2}, {"complete": "in time"}), metadata=V1)
        await elements(call, 2)
        program.process.send_signal(signal.SIGTERM)
        await program.until("draining")

        async def not_ready() -> None:
            assert await probe(program, "/readyz") == 503

        await eventually(not_ready)
        assert await probe(program, "/livez") == 200
        refused = await refusal(stub.SendMessage(request(), metadata=V1))
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")
        assert refused.retry_after_s == 1.0

        last = (await elements(call))[-1].status_update.status
        assert last.state == TaskState.TASK_STATE_COMPLETED
        assert text_of(last.message) == "in time"
        await program.until("stopped")
        assert await program.process.wait() == 0


@covers("P5")
@pytest.mark.few
@pytest.mark.parametrize(
    "step",
    [{"sleep": 600}, {"ignore_cancel": 600}, {"block": 600}],
    ids=["an agent that sleeps", "an agent that swallows its cancellation", "an agent that blocks a thread"],
)
async def test_a_second_sigint_ends_at_once_whatever_the_agent_does(step: dict[str, int]) -> None:
    async with Program.server(SCRIPTED, *PATIENT) as program, connection(program.address) as stub:
        call: Any = stub.SendStreamingMessage(scripted({"status": "at work"}, step), metadata=V1)
        await elements(call, 3)
        program.process.send_signal(signal.SIGINT)
        await program.until("draining")
        program.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(60):
            code = await program.process.wait()
        assert code in (130, -signal.SIGINT)
        await refusal(call)


@covers("P5")
async def test_a_program_whose_agent_swallows_its_cancellation_ends_all_the_same() -> None:
    options = ("--drain-grace-s", "0", "--cancel-grace-s", "0.05")
    async with Program.server(SCRIPTED, *options) as program, connection(program.address) as stub:
        call: Any = stub.SendStreamingMessage(scripted({"status": "at work"}, {"ignore_cancel": 600}), metadata=V1)
        await elements(call, 3)
        program.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            last = (await elements(call))[-1].status_update.status
            assert last.state == TaskState.TASK_STATE_FAILED
            await program.until("stopped")
            assert await program.process.wait() == 0


# -- encryption


@dataclass(slots=True)
class Certificates:
    """A certificate for this machine, in files, with the authority that vouches for it."""

    options: tuple[str, ...]
    authority: bytes

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.authority.decode())


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    for blob in issued.cert_chain_pems:
        blob.write_to_path(certificate, append=True)
    issued.private_key_pem.write_to_path(key)
    return Certificates(("--tls-cert", str(certificate), "--tls-key", str(key)), authority.cert_pem.bytes())


@asynccontextmanager
async def encrypted(address: str, authority: bytes) -> AsyncIterator[A2AServiceStub]:
    credentials = grpc.ssl_channel_credentials(authority)
    async with grpc.aio.secure_channel(address, credentials) as channel:
        yield A2AServiceStub(channel)


@covers("WIRE-3", "SEC-1")
async def test_with_a_certificate_both_ports_speak_tls_and_only_tls(certificates: Certificates) -> None:
    async with Program.server(SCRIPTED, *certificates.options) as program:
        assert program.http.startswith("https://")
        listening = [event for event in program.events if event["event"] == "listening"]
        assert [event.get("tls") for event in listening if event["protocol"] == "grpc"] == [True]

        async with encrypted(program.address, certificates.authority) as stub:
            events = await elements(stub.SendStreamingMessage(request(), metadata=V1))
            assert event_state(events[-1]) == TaskState.TASK_STATE_COMPLETED

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=certificates.context)) as http:
            async with http.get(f"{program.http}/.well-known/agent-card.json") as response:
                assert response.status == 200
                card = await response.json()
            async with http.get(f"{program.http}/livez") as response:
                assert response.status == 200
        assert [interface["url"] for interface in card["supportedInterfaces"]] == [program.address]

        async with connection(program.address) as plain:
            refused = await refusal(plain.ListTasks(ListTasksRequest(), metadata=V1))
            assert refused.code is grpc.StatusCode.UNAVAILABLE
        async with encrypted(program.address, trustme.CA().cert_pem.bytes()) as mistrusting:
            refused = await refusal(mistrusting.ListTasks(ListTasksRequest(), metadata=V1))
            assert refused.code is grpc.StatusCode.UNAVAILABLE


async def one_line(*options: str) -> str:
    """The line with which the program refuses to start; it exits with 2."""
    code, out, error = await run_program(SCRIPTED, "-o", "json", *options)
    assert (code, out) == (2, "")
    [line] = error.splitlines()
    assert line.startswith("Error: ")
    return line


@pytest.mark.parametrize("missing", ["--tls-key", "--tls-cert"])
async def test_a_certificate_without_its_key_or_a_key_without_its_certificate_is_refused(
    certificates: Certificates, missing: str
) -> None:
    given = certificates.options[:2] if missing == "--tls-key" else certificates.options[2:]
    assert f"{missing} is missing" in await one_line(*given)


async def test_a_key_that_does_not_belong_to_the_certificate_is_refused(
    certificates: Certificates, tmp_path: Path
) -> None:
    other = tmp_path / "other.key"
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(other)
    line = await one_line(*certificates.options[:3], str(other))
    assert str(other) in line


@covers("WIRE-3", "SEC-1", "S0-12")
@pytest.mark.parametrize("option", ["--listen", "--http-listen"])
@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
async def test_plaintext_beyond_this_machine_is_refused_and_the_line_names_what_to_do(
    option: str, address: str
) -> None:
    addresses = {"--listen": "127.0.0.1:0", "--http-listen": "off", option: address}
    line = await one_line(*[word for pair in addresses.items() for word in pair])
    assert line == (
        f"Error: {option[2:].replace('-', '_')} is '{address}': plaintext beyond this machine; "
        "give --tls-cert with --tls-key, or --insecure"
    )


@covers("WIRE-3", "SEC-1", "S0-12")
async def test_plaintext_beyond_this_machine_is_served_with_insecure() -> None:
    options = ("-o", "json", "--listen", "0.0.0.0:0", "--http-listen", "0.0.0.0:0", "--insecure")
    async with Program(SCRIPTED, *options) as program:
        port = program.address.rpartition(":")[2]
        async with connection(f"127.0.0.1:{port}") as stub:
            response: Any = await stub.SendMessage(request(), metadata=V1)
            assert response.task.status.state == TaskState.TASK_STATE_COMPLETED


async def test_encryption_needs_no_insecure_beyond_this_machine(certificates: Certificates) -> None:
    options = ("-o", "json", "--listen", "0.0.0.0:0", "--http-listen", "0.0.0.0:0", *certificates.options)
    async with Program(SCRIPTED, *options) as program:
        port = program.address.rpartition(":")[2]
        async with encrypted(f"127.0.0.1:{port}", certificates.authority) as stub:
            listed: Any = await stub.ListTasks(ListTasksRequest(), metadata=V1)
            assert listed.total_size == 0


OWN_PROGRAM = """
import asyncio, sys
from a2a_grpc import Agent, Server, ServerSettings, Turn

agent = Agent("Own", "A program of its own.")

@agent.skill()
async def work(turn: Turn) -> str:
    await asyncio.sleep(1)
    return "done in time"

async def main():
    async with Server(agent, ServerSettings(listen="127.0.0.1:0", http_listen="off")) as server:
        print(server.grpc_address, flush=True)
        await server.serve_forever()
    print("over", flush=True)

asyncio.run(main())
"""


async def test_a_program_with_a_server_of_its_own_serves_until_a_signal_then_drains() -> None:
    async with started("-c", OWN_PROGRAM) as (process, address), connection(address) as stub:
        call: Any = stub.SendStreamingMessage(request("go"), metadata=V1)
        await elements(call, 2)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        last = (await elements(call))[-1].status_update.status
        assert last.state == TaskState.TASK_STATE_COMPLETED
        out, err = await process.communicate()
    assert (process.returncode, out) == (0, b"over\n")
    assert err == b"ignored a signal; send SIGTERM to stop the server received=SIGHUP\n"


@asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[tuple[Process, str]]:
    """A Python program, with the address that is its first line."""
    process = await harness.started([sys.executable, *arguments], {**os.environ})
    try:
        assert process.stdout is not None
        yield process, (await process.stdout.readline()).decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.mark.few
@pytest.mark.parametrize(
    "options", [(), ("--workers=2", "--store=sqlite:///{folder}/tasks.db")], ids=["one", "workers"]
)
async def test_sighup_ends_no_server(tmp_path: Path, options: tuple[str, ...]) -> None:
    async with Program.server(SCRIPTED, *(option.format(folder=tmp_path) for option in options)) as program:
        program.process.send_signal(signal.SIGHUP)
        async with connection(program.address) as stub:
            assert (await stub.SendMessage(request(), metadata=V1)).task.status.state == TaskState.TASK_STATE_COMPLETED
        program.process.send_signal(signal.SIGTERM)
        assert await program.until("draining") == {"event": "draining", "signal": "SIGTERM"}


async def test_a_server_that_is_stopped_from_within_ends_serving() -> None:
    async with serving(scripted_agent()) as served:
        task = asyncio.create_task(served.server.serve_forever())
        await asyncio.sleep(0)
        await asyncio.gather(served.server.stop(), served.server.stop())
        await task


async def test_serve_takes_interceptors_which_see_every_call(tmp_path: Path) -> None:
    program = tmp_path / "guarded.py"
    program.write_text(GUARDED)
    options = ("--listen=127.0.0.1:0", "--http-listen=off", "-o", "json", "--store=memory:")
    for way in (plain(str(program)), Program("-m", "a2a_grpc", "serve", str(program), *options)):
        async with way as served, connection(served.address) as stub:
            refused = await refusal(stub.SendMessage(request(), metadata=V1))
        assert (refused.code, refused.text) == (grpc.StatusCode.PERMISSION_DENIED, "not today")


GUARDED = """
import grpc
from a2a_grpc import Agent, Turn, serve

class Refuses(grpc.aio.ServerInterceptor):
    async def intercept_service(self, continuation, details):
        async def refuse(request, context):
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not today")
        return grpc.unary_unary_rpc_method_handler(refuse)

agent = Agent("Guarded", "Refuses.")

@agent.skill()
async def work(turn: Turn) -> str:
    return "done"

serve(agent, interceptors=[Refuses()], listen="127.0.0.1:0", http_listen="off", store="memory:")
"""


@asynccontextmanager
async def plain(path: str) -> AsyncIterator[Any]:
    """A program that calls `serve`: it prints its address behind `gRPC`."""
    async with started(path) as (_, line):
        yield SimpleNamespace(address=line.removeprefix("gRPC").strip())


START_ERRORS = {
    "a port that is taken": ("listen='{taken}'", "cannot listen on {taken} for gRPC: address already in use"),
    "a value out of range": ("max_runs=0", "max_runs is 0; it must be at least 1"),
    "a store that cannot be": ("store='nowhere:'", "store is 'nowhere:'; it must be memory:, sqlite:///tasks.db"),
}


@pytest.mark.parametrize("kind", START_ERRORS)
async def test_serve_that_cannot_start_ends_the_program_with_one_line(kind: str) -> None:
    settings, said = START_ERRORS[kind]
    async with serving(scripted_agent()) as served:
        taken = served.server.grpc_address
        settings = settings.format(taken=taken)
        source = "from a2a_grpc import Agent, serve\na = Agent('A', 'a')\n@a.skill()\nasync def w(turn): pass\n"
        exit_code, out, err = await run_program("-c", f"{source}serve(a, http_listen='off', {settings})\n")
    assert (exit_code, out) == (2, "")
    assert err.startswith(f"Error: {said.format(taken=taken)}")
    assert len(err.splitlines()) == 1
