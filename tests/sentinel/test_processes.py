"""Sentinel, agent and client as processes of their own: crashes, restarts, the command line."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from a2a_grpc import connect
from a2a_grpc.auth.keyedits import add
from a2a_grpc.auth.keyfile import Key, digest_of
from a2a_grpc.parts import text_of
from a2a_grpc.sentinel import SentinelSettings
from a2a_grpc.wire import A2AServiceStub, GetTaskRequest, SubscribeToTaskRequest, Task, TaskArtifactUpdateEvent
from tests.covers import covers
from tests.harness import ROOT, V1, Program, eventually, refusal, run_program, scripted
from tests.ports import free_address
from tests.sentinel.tunnels import ADDRESS, channel_to

CLI = ("-m", "a2a_grpc")


def sentinel(listen: str = "127.0.0.1:0", *options: str) -> Program:
    return Program(*CLI, "sentinel", "-o", "json", "--listen", listen, "--http-listen=off", *options)


def agent(at: str, *options: str) -> Program:
    return Program.server("servers/scripted.py", "--attach", at, "--address", ADDRESS, *options)


@asynccontextmanager
async def both(*options: str) -> AsyncIterator[tuple[Program, Program]]:
    async with sentinel("127.0.0.1:0", *options) as first, agent(first.address) as second:
        yield first, second


async def test_kill_9_of_the_agent_ends_its_streams_and_calls_as_gone_without_waiting_for_heartbeats() -> None:
    async with both() as (front, behind), channel_to(front.address) as channel:
        stub = A2AServiceStub(channel)
        stream = stub.SendStreamingMessage(scripted({"sleep": {"seconds": 60}}, tenant=ADDRESS), metadata=V1)
        first = await stream.read()
        behind.process.kill()
        killed = time.monotonic()

        async def rest() -> None:
            while await stream.read() is not grpc.aio.EOF:
                pass

        gone = await refusal(rest())
        took = time.monotonic() - killed
        assert (gone.code, gone.reason) == (grpc.StatusCode.UNAVAILABLE, "AGENT_GONE")
        assert took < SentinelSettings().heartbeat_s

        async def is_absent() -> None:  # until the stream of Attach has ended as well, a call is gone like the others
            absent = await refusal(stub.GetTask(GetTaskRequest(id=first.task.id, tenant=ADDRESS), metadata=V1))
            assert (absent.code, absent.reason) == (grpc.StatusCode.UNAVAILABLE, "AGENT_NOT_ATTACHED")

        await eventually(is_absent)


async def test_a_sentinel_killed_and_restarted_loses_no_event_of_a_clients_stream() -> None:
    address = free_address()
    async with sentinel(address) as front, agent(address):
        async with connect(ADDRESS, sentinel=address) as client:
            script = {"script": [{"chunks": {"count": 300, "interval_s": 0.01}}]}
            pieces: list[str] = []
            seqs: list[int] = []
            async with client.stream(script) as events:
                restarted: Program | None = None
                try:
                    async for event in events:
                        if isinstance(event, TaskArtifactUpdateEvent):
                            pieces.append(text_of(event.artifact))
                            seqs.append(events.seq or 0)
                        if len(pieces) == 50 and restarted is None:
                            front.process.kill()
                            await front.process.wait()
                            restarted = sentinel(address)
                            await restarted.__aenter__()
                finally:
                    if restarted is not None:
                        await restarted.__aexit__(None, None, None)
            assert "".join(pieces).split() == [word for number in range(300) for word in ("chunk", str(number))]
            assert seqs == sorted(set(seqs))


@pytest.mark.long
async def test_a_sentinel_that_is_stopped_and_started_again_loses_no_event_of_a_clients_stream() -> None:
    async with sentinel(free_address()) as front, agent(front.address):
        async with connect(ADDRESS, sentinel=front.address) as client:
            pieces: list[str] = []
            async with client.stream({"script": [{"chunks": {"count": 200, "interval_s": 0.01}}]}) as events:
                async for event in events:
                    if isinstance(event, TaskArtifactUpdateEvent):
                        pieces.append(text_of(event.artifact))
                    if len(pieces) == 20 and front.process.returncode is None:
                        await front.__aexit__(None, None, None)
                        assert front.process.returncode == 0
                        restarting = asyncio.create_task(sentinel(front.address).__aenter__())
            assert "".join(pieces).split() == [word for number in range(200) for word in ("chunk", str(number))]
        await (await restarting).__aexit__(None, None, None)


@pytest.mark.long
async def test_an_agent_that_stops_ends_its_streams_with_its_own_status() -> None:
    async with both() as (front, behind), channel_to(front.address) as channel:
        stub = A2AServiceStub(channel)
        stream = stub.SendStreamingMessage(scripted({"sleep": {"seconds": 60}}, tenant=ADDRESS), metadata=V1)
        await stream.read()
        stopping = asyncio.create_task(behind.__aexit__(None, None, None))
        last = [element async for element in _rest(stream)]
        assert last == [] or last[-1].status_update.status.state
        await stopping
        assert behind.process.returncode == 0


async def _rest(stream: Any) -> AsyncIterator[Any]:
    """The elements that a stream has left, until it ends with the status of a server that shuts down."""
    try:
        while (element := await stream.read()) is not grpc.aio.EOF:
            yield element
    except grpc.aio.AioRpcError as error:
        if "the server is shutting down" not in (error.details() or ""):
            raise


@pytest.mark.long
async def test_a_stopped_agent_is_detached_after_two_heartbeats_and_back_when_it_goes_on() -> None:
    async with both("--heartbeat-s", "1.5") as (front, behind), connect(ADDRESS, sentinel=front.address) as client:
        behind.process.send_signal(signal.SIGSTOP)
        try:
            async with channel_to(front.address) as channel:
                stub = A2AServiceStub(channel)
                gone = await refusal(stub.SubscribeToTask(SubscribeToTaskRequest(id="t", tenant=ADDRESS), metadata=V1))
                # On a busy machine the heartbeats may be over before the call comes.
                assert gone.reason in ("AGENT_GONE", "AGENT_NOT_ATTACHED")
        finally:
            behind.process.send_signal(signal.SIGCONT)
        assert isinstance(await client.send("hello"), Task)


@covers("S0-39")
@pytest.mark.long
async def test_an_agent_that_comes_before_its_sentinel_is_attached_once_the_sentinel_is_there() -> None:
    address = free_address()
    coming = asyncio.create_task(agent(address).__aenter__())
    try:
        await asyncio.sleep(0.5)
        assert not coming.done()
        async with sentinel(address):
            served = await asyncio.wait_for(coming, 20)
            async with connect(ADDRESS, sentinel=address) as client:
                assert isinstance(await client.send("hello"), Task)
            await served.__aexit__(None, None, None)
    finally:
        coming.cancel()


async def test_an_agent_with_fail_fast_ends_with_one_line(tmp_path: Path) -> None:
    code, out, err = await run_program(
        "servers/scripted.py", "--attach", "127.0.0.1:9", "--address", ADDRESS, "--fail-fast"
    )
    assert (code, out) == (3, "")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--attach", "127.0.0.1:9"), "--address is missing"),
        (("--address", ADDRESS), "--attach is missing; --address has no effect without it"),
        (("--attach-token-file", "t"), "--attach is missing; --attach-token-file has no effect without it"),
        (("--attach", "127.0.0.1:9", "--address", "Nobody@x"), "address is 'Nobody@x'"),
        (("--attach", "x", "--address", ADDRESS, "--workers", "2"), "workers is 2"),
        (("--attach", "x:1", "--address", ADDRESS, "--attach-ca-cert", "/no/file"), "read attach_ca_cert '/no/file'"),
        (("--attach", "x:1", "--address", ADDRESS, "--attach-token-file", "/no/file"), "attach_token_file '/no/file'"),
        (("--attach", ":::", "--address", ADDRESS), "attach is ':::'"),
        (("--attach", "127.0.0.1:9", "--address", ADDRESS, "--max-calls", "0"), "max_calls is 0"),
    ],
)
@pytest.mark.few(2)
async def test_wrong_options_are_named_in_one_line(options: tuple[str, ...], said: str) -> None:
    code, _, err = await run_program("servers/scripted.py", *options)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


async def test_an_agent_without_a_valid_card_ends_before_it_attaches(tmp_path: Path) -> None:
    path = tmp_path / "mute.py"
    path.write_text(
        "from a2a_grpc import Agent\n"
        "agent = Agent('Mute', '')\n"
        "@agent.skill()\n"
        "async def nothing(message: str) -> str:\n"
        "    return message\n"
    )
    code, out, err = await run_program(*CLI, "serve", str(path), "--attach", "127.0.0.1:9", "--address", ADDRESS)
    assert (code, out) == (2, "")
    assert "agent 'Mute': description is empty; the card needs it" in err
    assert "attached" not in err


async def test_the_command_line_streams_from_a_logical_address_and_grpcurl_calls_it_with_the_tenant() -> None:
    async with both() as (front, _):
        env = {"A2A_GRPC_SENTINEL": front.address}
        code, out, _ = await run_program(*CLI, "stream", "--agent", ADDRESS, "hello", env=env)
        assert (code, out.strip()) == (0, "hello")
        code, out, _ = await run_program(*CLI, "list", "--agent", ADDRESS, "--as-grpcurl", env=env)
        assert f'"tenant": "{ADDRESS}"' in out or f'"tenant":"{ADDRESS}"' in out
        grpcurl = ROOT / "bin" / "grpcurl"
        if not grpcurl.exists():
            pytest.skip("no grpcurl: make grpcurl")
        googleapis = Path(sys.prefix, "lib", f"python3.{sys.version_info.minor}", "site-packages")
        process = await asyncio.create_subprocess_exec(
            grpcurl, "-plaintext", "-H", "a2a-version: 1.0", "-import-path", ROOT / "proto", "-import-path", googleapis,
            "-proto", "a2a.proto", "-d", f'{{"tenant": "{ADDRESS}"}}', front.address,
            "lf.a2a.v1.A2AService/ListTasks", stdout=subprocess.PIPE,
        )  # fmt: skip
        listed, _ = await process.communicate()
        assert b"TASK_STATE_COMPLETED" in listed


@pytest.mark.long
async def test_both_programs_leave_no_files_behind(tmp_path: Path) -> None:
    os.environ["TMPDIR"] = str(tmp_path)
    try:
        async with both() as (front, _), connect(ADDRESS, sentinel=front.address) as client:
            await client.send("hello")
            assert len(list(tmp_path.glob("a2a-grpc-*"))) == 2
    finally:
        del os.environ["TMPDIR"]
    assert list(tmp_path.glob("a2a-grpc-*")) == []


@pytest.mark.long
async def test_an_agent_that_authenticates_says_that_its_sentinel_passes_no_credentials(tmp_path: Path) -> None:
    add(tmp_path / "keys.toml", Key("ann", digest_of("secret")))
    async with sentinel() as front, agent(front.address, "--api-keys", str(tmp_path / "keys.toml")) as behind:
        assert behind.process.stderr is not None
        line = await asyncio.wait_for(behind.process.stderr.readline(), 20)
        assert b"the sentinel passes no credentials on" in line


@pytest.mark.long
async def test_a_sentinel_whose_store_does_not_answer_ends_with_exit_code_3() -> None:
    command = (*CLI, "sentinel", "--listen", "127.0.0.1:0", "--http-listen=off")
    code, _, err = await run_program(*command, "--store", "postgresql://user@127.0.0.1:9/sentinels")
    assert code == 3
    assert "Error: postgresql://user@127.0.0.1:9/sentinels did not answer within 5 s" in err.splitlines()[-1]
