"""`a2a-grpc serve` and `a2a-grpc sentinel` with `--log-format json` and `--access-log`."""

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from a2a_grpc.auth import keyedits
from a2a_grpc.auth.keyfile import Key, digest_of
from a2a_grpc.wire import A2AServiceStub, GetTaskRequest, ListTasksRequest
from tests.covers import covers
from tests.harness import V1, Program, eventually, request, run_program

ALICE = "a2a_" + "a1" * 32
AGENT = """\
import logging

from a2a_grpc import Agent, Turn, serve

agent = Agent("Who", "Says who calls.")

@agent.skill()
async def who(turn: Turn) -> str:
    \"\"\"Say who calls.\"\"\"
    logging.getLogger("who").info("asked words=%d", 2)
    return f"{turn.principal.method} {turn.principal.subject}"
"""


async def lines(stream: asyncio.StreamReader, found: list[dict[str, Any]]) -> None:
    while line := await stream.readline():
        found.append(json.loads(line))


async def ended(program: Program, reading: asyncio.Task[None]) -> None:
    """End a program, and read its log to the end."""
    program.process.terminate()
    await reading
    await program.process.wait()


@covers("SEC-7", "SEC-8")
@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.long)])
async def test_each_line_is_an_object_with_its_task_and_the_hash_of_its_caller(tmp_path: Path, workers: str) -> None:
    keyedits.add(tmp_path / "keys.toml", Key("alice", digest_of(ALICE)))
    (tmp_path / "who.py").write_text(AGENT)
    options = ("--log-format=json", "--log-level=info", "--access-log", f"--audit-log={tmp_path}/audit.log")
    program = Program(
        *("-m", "a2a_grpc", "serve", str(tmp_path / "who.py"), "-o", "json", "--http-listen=127.0.0.1:0"),
        *("--listen=127.0.0.1:0", f"--store=sqlite:///{tmp_path}/tasks.db", f"--workers={workers}"),
        *(f"--api-keys={tmp_path}/keys.toml", *options),
    )
    found: list[dict[str, Any]] = []
    async with program:
        assert program.process.stderr is not None
        reading = asyncio.create_task(lines(program.process.stderr, found))
        alice = (*V1, ("x-api-key", ALICE))
        async with grpc.aio.insecure_channel(program.address) as channel:
            stub = A2AServiceStub(channel)
            task = (await stub.SendMessage(request("a canary"), metadata=alice)).task
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.GetTask(GetTaskRequest(id="unknown"), metadata=alice)
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.ListTasks(ListTasksRequest(), metadata=V1)

        def is_all_written() -> None:
            assert sum(line["logger"] == "a2a_grpc.access" for line in found) == 3
            assert sum(line["message"] in ("asked", "turn ended") for line in found) == 2

        await eventually(is_all_written)
        await ended(program, reading)
    calls = [line for line in found if line["logger"] == "a2a_grpc.access"]
    names = ("message", "method", "status", "task")
    assert [{name: call[name] for name in names if name in call} for call in calls] == [
        {"message": "call", "method": "/lf.a2a.v1.A2AService/SendMessage", "status": "OK", "task": task.id},
        {"message": "call", "method": "/lf.a2a.v1.A2AService/GetTask", "status": "NOT_FOUND", "task": "unknown"},
        {"message": "call", "method": "/lf.a2a.v1.A2AService/ListTasks", "status": "UNAUTHENTICATED"},
    ]
    assert all(0 <= call["duration_ms"] < 60_000 for call in calls)
    short = calls[0]["principal"]
    assert calls[1]["principal"] == short
    assert "principal" not in calls[2]
    [asked], [over] = ([line for line in found if line["message"] == text] for text in ("asked", "turn ended"))
    assert {name: asked[name] for name in ("logger", "words", "task", "principal")} == {
        "logger": "who", "words": 2, "task": task.id, "principal": short
    }  # fmt: skip
    assert (over["task"], over["principal"], over["state"]) == (task.id, short, "COMPLETED")
    assert {line["level"] for line in found} <= {"info", "warning"}
    audited = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    assert audited[0]["subject"] == "alice"
    assert audited[0]["principal"] == short, "the audit log says whose the hash is"
    written = json.dumps(found)
    assert not [secret for secret in ("a canary", ALICE, "alice") if secret in written]


async def test_a_program_that_serves_itself_takes_the_format_from_the_environment(tmp_path: Path) -> None:
    (tmp_path / "who.py").write_text(AGENT + "\nserve(agent, listen='nowhere', store='memory:')\n")
    env = {"A2A_GRPC_LOG_FORMAT": "json", "A2A_GRPC_MAX_RUN": "3"}
    code, _, err = await run_program(str(tmp_path / "who.py"), env=env)
    warning, error = err.splitlines()
    assert code == 2
    assert error.startswith("Error: listen is 'nowhere'")
    assert json.loads(warning)["message"].startswith("the variable A2A_GRPC_MAX_RUN means nothing")
    code, _, err = await run_program(str(tmp_path / "who.py"), env={"A2A_GRPC_LOG_FORMAT": "xml"})
    assert (code, err) == (2, "Error: A2A_GRPC_LOG_FORMAT is 'xml'; it must be one of text, json\n")


async def test_without_its_option_there_is_no_access_log_and_a_sentinel_has_the_same_options(tmp_path: Path) -> None:
    quiet = Program.server("servers/scripted.py", "--log-level=info", "--log-format=json")
    found: list[dict[str, Any]] = []
    async with quiet:
        assert quiet.process.stderr is not None
        reading = asyncio.create_task(lines(quiet.process.stderr, found))
        async with grpc.aio.insecure_channel(quiet.address) as channel:
            await A2AServiceStub(channel).ListTasks(ListTasksRequest(), metadata=V1)
        await ended(quiet, reading)
    assert not [line for line in found if line["logger"] == "a2a_grpc.access"]
    options = ("--listen=127.0.0.1:0", "--http-listen=off", "--access-log", "--log-format=json", "--store=memory:")
    sentinel = Program("-m", "a2a_grpc", "sentinel", "-o", "json", *options)
    found.clear()
    async with sentinel:
        assert sentinel.process.stderr is not None
        reading = asyncio.create_task(lines(sentinel.process.stderr, found))
        async with grpc.aio.insecure_channel(sentinel.address) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await A2AServiceStub(channel).ListTasks(ListTasksRequest(tenant="a@b.example"), metadata=V1)
        await ended(sentinel, reading)
    [call] = [line for line in found if line["logger"] == "a2a_grpc.access"]
    assert (call["method"], call["status"]) == ("/lf.a2a.v1.A2AService/ListTasks", "UNAVAILABLE")
