"""What the programs of clients/ do, each run as a user runs it: against agents, foreign servers, nobody."""

import asyncio
import os
import re
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from a2a_grpc_pb.a2a_pb2_grpc import A2AServiceServicer, add_A2AServiceServicer_to_server

from a2a_grpc import Agent, Turn, connect
from a2a_grpc.lifecycle import (
    AUTH_REQUIRED,
    CANCELED,
    COMPLETED,
    FAILED,
    INPUT_REQUIRED,
    REJECTED,
    SUBMITTED,
    WORKING,
    state_name,
)
from a2a_grpc.parts import agent_message, data_of, text_of
from a2a_grpc.wire import (
    Artifact,
    GetTaskRequest,
    ListTasksRequest,
    Part,
    SendMessageRequest,
    SendMessageResponse,
    Task,
    TaskState,
    TaskStatus,
)
from tests.covers import covers
from tests.harness import ROOT, V1, Process, Program, Served, run_program, serving, started, stop_listening
from tests.programs.test_programs import PROGRAMS
from tests.proxy import Proxy

ID = r"[0-9a-f]{8}-[0-9a-f-]{27}"
NOBODY = "127.0.0.1:9"

STUBS = ("poll",)
SEVERAL = {"pipeline": 3, "fan_out": 3}
"""Clients that take several agents at a time, with how many these tests give them."""
OTHERS = {"callback", "requester"}
"""Clients that call several agents for different things; `test_callback_programs.py` has their tests."""
CLIENTS = [
    stem
    for program in PROGRAMS
    if program.startswith("clients/") and "demo" not in program and (stem := Path(program).stem) not in OTHERS
]


def command(name: str, target: str, *options: str) -> tuple[str, ...]:
    """The command line of a client for an agent, given as often as it wants agents."""
    return (f"clients/{name}.py", *options, "--agent", *[target] * SEVERAL.get(name, 1))


@asynccontextmanager
async def start(*command: str, env: dict[str, str] | None = None) -> AsyncIterator[Process]:
    """A program of this repository, started; killed at the end if it still runs."""
    process = await started([sys.executable, *command], {**os.environ, **(env or {})})
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def read_line(process: Process) -> str:
    """The next line that a program prints."""
    assert process.stdout is not None
    read = await asyncio.wait_for(process.stdout.readline(), 60)
    assert read, "the program ended"
    return read.decode().rstrip("\n")


@dataclass
class Silence:
    """A host that accepts connections, and says nothing."""

    url: str = ""
    called: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once somebody has connected."""


@asynccontextmanager
async def silence() -> AsyncIterator[Silence]:
    silent, writers = Silence(), []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        silent.called.set()
        try:
            await asyncio.Event().wait()
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    silent.url = "http://{}:{}".format(*server.sockets[0].getsockname())
    try:
        yield silent
    finally:
        await stop_listening(server)
        for writer in writers:
            writer.transport.abort()


# -- a foreign worker, for poll


@dataclass
class Worker(A2AServiceServicer):  # type: ignore[misc]
    """A server on generated code, whose only job is settled after so many looks, or after its time."""

    settled: TaskState = COMPLETED
    looks_until_settled: int | None = None
    """By its time where this is None."""
    seconds: float = 0.0
    began: float = 0.0
    address: str = ""
    looks: int = 0
    sends: int = 0
    peers: list[str] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)

    @property
    def is_settled(self) -> bool:
        if self.looks_until_settled is None:
            return time.monotonic() >= self.began + self.seconds
        return self.looks >= self.looks_until_settled

    async def SendMessage(self, request: SendMessageRequest, context: Any) -> SendMessageResponse:
        assert request.configuration.return_immediately
        pace: Any = data_of(request.message)
        self.sends, self.began, self.seconds = self.sends + 1, time.monotonic(), pace["steps"] * pace["step_seconds"]
        self.peers.append(context.peer())
        return SendMessageResponse(task=Task(id="job", status=TaskStatus(state=SUBMITTED)))

    async def GetTask(self, request: GetTaskRequest, context: Any) -> Task:
        assert request.id == "job"
        self.looks += 1
        self.peers.append(context.peer())
        self.versions |= {text for key, text in context.invocation_metadata() if key == "a2a-version"}
        if not self.is_settled:
            return Task(id="job", status=TaskStatus(state=WORKING))
        said = agent_message("that is all", context_id="c")
        made = [Artifact(artifact_id="a", parts=[Part(text="42")])] if self.settled == COMPLETED else []
        return Task(id="job", status=TaskStatus(state=self.settled, message=said), artifacts=made)


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[Worker]:
    """The worker on a free port."""
    server = grpc.aio.server()
    add_A2AServiceServicer_to_server(worker, server)
    worker.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield worker
    finally:
        await server.stop(None)


@covers("S2-5", "S2-27")
@pytest.mark.few
@pytest.mark.parametrize("looks", [1, 2, 7])
async def test_poll_asks_until_the_task_is_settled_and_not_once_more(looks: int) -> None:
    async with working(Worker(looks_until_settled=looks)) as worker:
        options = ("--task-id=job", "--interval=0.02")
        exit_code, out, err = await run_program("clients/poll.py", "--agent", worker.address, *options)
    assert (exit_code, err) == (0, "")
    assert out.splitlines() == ["polled WORKING"] * (looks - 1) + ["polled COMPLETED", "42", "that is all"]
    assert (worker.looks, worker.sends, worker.versions) == (looks, 0, {"1.0"})


@covers("S2-5")
@pytest.mark.long
async def test_a_job_of_three_seconds_polled_every_two_is_asked_for_twice() -> None:
    """One look for each interval, by the clock of the job: a second away from one more, and from one less."""
    async with working(Worker()) as worker:
        exit_code, out, err = await run_program(
            "clients/poll.py", "--agent", worker.address, "--seconds=3", "--interval=2"
        )
    assert (exit_code, err) == (0, "")
    assert out.splitlines() == ["started task job", "polled WORKING", "polled COMPLETED", "42", "that is all"]
    assert (worker.looks, worker.sends) == (2, 1)


@covers("S2-27")
@pytest.mark.few
@pytest.mark.parametrize("state", [FAILED, CANCELED, REJECTED, INPUT_REQUIRED, AUTH_REQUIRED])
@pytest.mark.parametrize("once", [(), ("--once",)], ids=["loop", "once"])
async def test_poll_stops_at_any_settled_state_and_says_what_the_agent_said(
    state: TaskState, once: tuple[str, ...]
) -> None:
    async with working(Worker(settled=state, looks_until_settled=1)) as worker:
        options = ("--task-id=job", "--interval=0.02", *once)
        exit_code, out, err = await run_program("clients/poll.py", "--agent", worker.address, *options)
    assert (exit_code, err) == (1, "")
    assert out.splitlines() == [f"polled {state_name(state)}", "that is all"]
    assert worker.looks == 1


@covers("S2-22")
async def test_poll_once_looks_once_at_once_and_its_exit_code_tells_whether_the_task_is_done() -> None:
    """Exit code 3 means not yet, 0 means done; the interval does not matter."""
    async with working(Worker(looks_until_settled=2)) as worker:
        look = command("poll", worker.address, "--task-id=job", "--interval=1000", "--once")
        assert await run_program(*look) == (3, "polled WORKING\n", "")
        assert worker.looks == 1
        assert await run_program(*look) == (0, "polled COMPLETED\n42\nthat is all\n", "")
        assert worker.looks == 2


@covers("S2-14")
@pytest.mark.parametrize(("options", "connections"), [((), 1), (("--fresh-channel",), 4)], ids=["kept", "fresh"])
async def test_poll_makes_a_new_connection_for_each_call_if_it_is_told_to(
    options: tuple[str, ...], connections: int
) -> None:
    """A send and three looks."""
    async with working(Worker(looks_until_settled=3)) as worker:
        exit_code, _, err = await run_program("clients/poll.py", "--agent", worker.address, "--interval=0.02", *options)
    assert (exit_code, err) == (0, "")
    assert len(worker.peers) == 4
    assert len(set(worker.peers)) == connections


@covers("S2-2", "S2-11")
@pytest.mark.long
async def test_poll_waits_for_a_job_of_the_cancellable_agent() -> None:
    async with Program.server("servers/cancellable.py") as agent:
        options = ("--seconds=0.2", "--interval=0.1")
        exit_code, out, err = await run_program("clients/poll.py", "--agent", agent.address, *options)
    assert (exit_code, err) == (0, "")
    started, *polled, last, result = out.splitlines()
    assert re.fullmatch(f"started task {ID}", started)
    assert set(polled) <= {"polled SUBMITTED", "polled WORKING"}
    assert (last, result) == ("polled COMPLETED", "done in 10 steps")


# -- subscribe, resume


@covers("S2-3", "S2-6", "S2-39")
async def test_subscribe_prints_each_state_and_message_of_one_stream_and_ends_with_the_task(served: Served) -> None:
    """One RPC, one TCP connection."""
    async with Proxy(served.server.grpc_address) as proxy:
        exit_code, out, err = await run_program(*command("subscribe", proxy.address))
    assert (exit_code, err) == (0, "")
    assert re.fullmatch(
        rf"""task {ID}
\[SUBMITTED\]
\[WORKING\]
\[WORKING\] reading the files
\[WORKING\] adding up
  sum: 42
\[COMPLETED\] added up 3 files
""",
        out,
    ), out
    assert (proxy.accepted, proxy.requests) == (1, 1)


@covers("S2-39")
async def test_subscribe_joins_a_task_that_is_at_work_and_leaving_it_hurts_nobody(served: Served) -> None:
    """Leaving ends the stream, not the task."""
    task = await served.start({"input": "go on?"}, {"complete": "went on"})
    async with start(*command("subscribe", served.server.grpc_address, "--task-id", task.id)) as client:
        while (await read_line(client)) != "[INPUT_REQUIRED] go on?":
            pass
        client.send_signal(signal.SIGINT)
        assert await client.wait() == 130
    assert (await served.get(task.id)).status.state == INPUT_REQUIRED
    async with connect(served.server.grpc_address) as agent:
        await agent.send("yes", task_id=task.id)
    exit_code, out, err = await run_program(*command("subscribe", served.server.grpc_address, "--task-id", task.id))
    assert (exit_code, out, err) == (0, f"task {task.id}\n[COMPLETED] went on\n", "")


@pytest.mark.long
async def test_subscribe_tells_by_its_exit_code_that_a_task_failed(served: Served) -> None:
    task = await served.start({"fail": "no paper"})
    exit_code, out, err = await run_program(*command("subscribe", served.server.grpc_address, "--task-id", task.id))
    assert (exit_code, out.splitlines()[-1], err) == (1, "[FAILED] no paper", "")


@pytest.mark.long
async def test_subscribe_sends_a_text_to_any_agent(served: Served) -> None:
    exit_code, out, err = await run_program(*command("subscribe", served.server.grpc_address, "--text", "hello"))
    assert (exit_code, err) == (0, "")
    assert out.splitlines()[-2:] == ["  echo: hello", "[COMPLETED]"]


@covers("S0-47", "S2-15")
@pytest.mark.long
async def test_resume_loses_its_connection_and_sees_every_step_once() -> None:
    async with Program.server("servers/cancellable.py") as agent:
        exit_code, out, err = await run_program(*command("resume", agent.address, "--step-seconds=0.05"))
    assert (exit_code, err) == (0, "")
    assert re.fullmatch(
        r""" 10%
 20%
 30%
connection cut
 40%
 50%
 60%
 70%
 80%
 90%
100%
COMPLETED, 10 of 10 steps seen, ([2-9]) connections
""",
        out,
    ), out


@pytest.mark.long
async def test_resume_fails_where_the_agent_does_other_work(served: Served) -> None:
    exit_code, out, err = await run_program(*command("resume", served.server.grpc_address))
    assert (exit_code, err) == (1, "")
    assert out == "COMPLETED, 0 of 10 steps seen, 1 connections\n"


# -- several agents


@asynccontextmanager
async def three_roles() -> AsyncIterator[list[str]]:
    """The addresses of the agents that research, write, review."""
    async with AsyncExitStack() as stack:
        programs = [
            await stack.enter_async_context(Program.server("servers/role.py", "--role", role))
            for role in ("research", "write", "review")
        ]
        yield [program.address for program in programs]


@covers("S1-44")
@pytest.mark.long
async def test_the_pipeline_carries_one_conversation_and_the_tasks_before_through_three_agents() -> None:
    async with three_roles() as addresses:
        exit_code, out, err = await run_program("clients/pipeline.py", "a lighthouse", "--agent", *addresses)
    assert (exit_code, err) == (0, "")
    found = re.fullmatch(
        rf"""research: gathering notes; it refers to no earlier task
research: task (?P<first>{ID}) in context (?P<context>{ID})

- the subject is a lighthouse
- that takes 2 words, of which 'lighthouse' is the longest
- it begins with 'a' and ends with 'e'

write: writing; it refers to (?P=first)
write: task (?P<second>{ID}) in context (?P=context)

(?P<text>The subject is a lighthouse\..*)

review: reviewing; it refers to (?P=first), (?P=second)
review: task (?P<third>{ID}) in context (?P=context)

23 words: ready to print\.

""",
        out,
    )
    assert found, out
    assert found["text"] == (
        "The subject is a lighthouse. That takes 2 words, of which 'lighthouse' is the longest. "
        "It begins with 'a' and ends with 'e'."
    )
    assert len({found["first"], found["second"], found["third"]}) == 3


@pytest.mark.long
async def test_the_pipeline_stops_at_the_agent_that_rejects() -> None:
    async with three_roles() as addresses:
        exit_code, out, err = await run_program("clients/pipeline.py", " ", "--agent", *addresses)
    assert (exit_code, out) == (1, "")
    assert re.fullmatch(rf"Error: task '{ID}' is REJECTED: There is no text in the message\.\n", err), err


@pytest.mark.few
@pytest.mark.parametrize(
    ("role", "text", "answer"),
    [("write", "- it is tall", "It is tall."), ("review", "It is tall.", "3 words: too short.")],
)
async def test_the_command_line_serves_each_role_by_its_name(role: str, text: str, answer: str) -> None:
    options = ("-o", "json", "--listen=127.0.0.1:0", "--http-listen=off")
    async with Program("-m", "a2a_grpc", "serve", f"servers/role.py:{role}", *options) as program:
        async with connect(program.address) as agent:
            assert text_of(await agent.send(text)) == answer


async def test_an_unknown_role_is_refused_with_those_there_are() -> None:
    exit_code, out, err = await run_program("servers/role.py", "--role", "edit")
    assert (exit_code, out) == (2, "")
    assert "invalid choice: 'edit' (choose from" in err


@covers("S1-45", "S1-17")
@pytest.mark.long
async def test_discovery_lists_the_agents_that_are_there_and_reports_the_one_that_is_not() -> None:
    async with Program.server("servers/translator.py") as first, Program.server("servers/cancellable.py") as second:
        urls = (first.http, f"http://{NOBODY}", second.http, second.address)
        exit_code, out, err = await run_program("clients/discovery.py", "--agent", *urls)
    assert (exit_code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:2] == [
        f"Translator 1.0.0 at {first.http}: Translates a few English words into French, German or Spanish.",
        "  translate: Translate an English phrase in quotes to another language, for example 'hello' to French.",
    ]
    assert lines[2].startswith(f"Agent at http://{NOBODY} unavailable: ")
    assert lines[3:5] == [
        f"Cancellable 1.0.0 at {second.http}: Works in steps, tells its progress, stops when told to.",
        "  work: Work in steps. The artifact `progress` has the part of the work that is done, from 0 to 1.",
    ]
    assert lines[5].startswith(f"Agent at {second.address} unavailable: ")
    assert len(lines) == 6


async def test_discovery_waits_for_a_silent_host_only_so_long_and_fails_where_nobody_is_there() -> None:
    async with silence() as silent:
        exit_code, out, err = await run_program("clients/discovery.py", "--agent", silent.url, "--timeout=0.3")
    assert (exit_code, err) == (1, "")
    assert out == f"Agent at {silent.url} unavailable: {silent.url} does not answer within 0.3 s\n"


async def test_fan_out_prints_each_answer_as_it_comes_and_one_agent_that_is_down_hinders_no_other() -> None:
    released = asyncio.Event()
    slow, quick = Agent("Slow", "Answers when it may."), Agent("Quick", "Answers.")

    @slow.skill("answer")
    async def late(turn: Turn) -> str:
        await released.wait()
        return "late"

    @quick.skill("answer")
    async def soon(turn: Turn) -> str:
        return "soon"

    async with serving(slow) as one, serving(quick) as two:
        targets = one.server.grpc_address, NOBODY, two.server.grpc_address
        environment = {"A2A_GRPC_CONNECT_TIMEOUT_S": "0.3"}
        async with start("clients/fan_out.py", "--agent", *targets, env=environment) as client:
            assert await read_line(client) == f"{targets[2]}: soon"
            released.set()
            assert await read_line(client) == f"{targets[0]}: late"
            assert await read_line(client) == "2 of 3 answered"
            assert client.stderr is not None
            assert (await client.stderr.read()).decode().startswith(f"{NOBODY}: Error: nothing listens at {NOBODY}; ")
            assert await client.wait() == 1


@covers("S1-43")
@pytest.mark.long
async def test_threads_ask_over_one_connection(served: Served) -> None:
    async with Proxy(served.server.grpc_address) as proxy:
        exit_code, out, err = await run_program(*command("threads", proxy.address, "--threads=8"))
    assert (exit_code, err) == (0, "")
    answers = sorted(re.fullmatch(r"thread_\d: question (\d)", answer)[1] for answer in out.splitlines())  # type: ignore[index]
    assert answers == list("01234567")
    assert proxy.accepted == 1


# -- artifacts


async def test_artifacts_come_and_go_with_their_names_types_and_bytes(served: Served, tmp_path: Path) -> None:
    sent = tmp_path / "chart.png"
    sent.write_bytes(bytes(range(256)))
    folder = tmp_path / "deep" / "received"
    exit_code, out, err = await run_program(
        *command("artifacts", served.server.grpc_address, "--file", str(sent), "--output-dir", str(folder))
    )
    assert (exit_code, err) == (0, "")
    assert (
        out
        == """artifact 'summary'
  text: Two rows, one picture.
artifact 'table'
  data: [{"city": "Brest", "lights": 3}, {"city": "Cork", "lights": 2}]
artifact 'picture'
  file: 1-unnamed, unknown type, 23 bytes
artifact 'source'
  link: https://example.com/lights.csv
Sending chart.png, image/png, 256 bytes
artifact 'echo'
  text: Here is a file.
  file: 2-chart.png, image/png, 256 bytes
  data: {"rows": 2}
"""
    )
    assert sorted(path.name for path in folder.iterdir()) == ["1-unnamed", "2-chart.png"]
    assert (folder / "1-unnamed").read_bytes().startswith(b"GIF89a")
    assert (folder / "2-chart.png").read_bytes() == bytes(range(256))


@pytest.mark.long
async def test_artifacts_are_only_listed_without_a_folder(served: Served) -> None:
    before = sorted(ROOT.iterdir())
    exit_code, out, err = await run_program(*command("artifacts", served.server.grpc_address))
    assert (exit_code, err) == (0, "")
    assert "  file: 2-artifacts.py, text/x-python, " in out
    assert sorted(ROOT.iterdir()) == before


@pytest.mark.few
@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "..", "."])
async def test_files_are_saved_nowhere_but_in_the_folder(name: str, tmp_path: Path) -> None:
    agent = Agent("Evil", "Names its files badly.", input_modes=["*/*"])

    @agent.skill("make")
    async def make(turn: Turn) -> Artifact:
        return Artifact(parts=[Part(raw=b"x", filename=name)])

    folder = tmp_path / "in" / "here"
    async with serving(agent) as served:
        exit_code, _, err = await run_program(
            *command("artifacts", served.server.grpc_address, "--output-dir", str(folder), "--file", "pyproject.toml")
        )
    assert (exit_code, err) == (0, "")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert {path.parent for path in files} == {folder}
    assert not Path("/etc/evil").exists()


@pytest.mark.long
async def test_a_file_that_is_not_there_is_said_in_one_line(served: Served) -> None:
    exit_code, out, err = await run_program(
        *command("artifacts", served.server.grpc_address, "--file", "nowhere/at_all.png")
    )
    assert (exit_code, out) == (1, "")
    assert err == "Error: [Errno 2] No such file or directory: 'nowhere/at_all.png'\n"


@pytest.mark.long
async def test_a_folder_that_cannot_be_made_is_said_in_one_line(served: Served, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    folder = tmp_path / "file" / "inside"
    exit_code, _, err = await run_program(
        *command("artifacts", served.server.grpc_address, "--output-dir", str(folder))
    )
    assert exit_code == 1
    assert err == f"Error: [Errno 20] Not a directory: '{folder}'\n"


# -- what users get wrong


@pytest.mark.few
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_wrong_port_is_said_in_one_line(client: str) -> None:
    target = f"http://{NOBODY}" if client == "discovery" else NOBODY
    exit_code, out, err = await run_program(*command(client, target), env={"A2A_GRPC_CONNECT_TIMEOUT_S": "0.3"})
    assert exit_code == 1
    if client == "discovery":
        assert (out.count("\n"), err) == (1, "")
        assert out.startswith(f"Agent at {target} unavailable: ")
        return
    if client in STUBS:
        said = f"Error: {NOBODY}: UNAVAILABLE: "
    elif client == "resume":
        said = "Error: [Errno 111] Connect call failed ('127.0.0.1', 9)"
    else:
        said = f"Error: nothing listens at {NOBODY}; check the port, and that the agent is running\n"
    expected = 3 if client == "fan_out" else 1
    assert err.count(said) == expected, err
    assert err.count("\n") == expected, err


@pytest.mark.few
@pytest.mark.parametrize("client", [name for name in CLIENTS if name not in (*STUBS, "discovery", "resume")])
async def test_a_target_that_cannot_be_is_said_in_one_line(client: str) -> None:
    exit_code, _, err = await run_program(*command(client, "ftp://agent"))
    assert exit_code == 1
    expected = 3 if client == "fan_out" else 1
    assert err.count("Error: target is 'ftp://agent'; it must be HOST:PORT, ") == expected, err
    assert err.count("\n") == expected, err


@covers("S0-40")
@pytest.mark.few
@pytest.mark.parametrize(
    ("client", "said"),
    [
        ("poll", "Error: {address}: NOT_FOUND: task 'nope' was not found"),
        ("subscribe", "Error: task 'nope' was not found"),
    ],
)
async def test_an_unknown_task_is_said_in_one_line(client: str, said: str, served: Served) -> None:
    address = served.server.grpc_address
    exit_code, out, err = await run_program(
        *command(client, address, "--task-id=nope", *["--once"] * (client == "poll"))
    )
    assert (exit_code, out, err) == (1, "", said.format(address=address) + "\n")


@pytest.mark.few
@pytest.mark.parametrize(
    ("client", "option", "said"),
    [
        ("poll", "--interval=-1", "--interval is -1.0; it must be a number of seconds"),
        ("poll", "--interval=nan", "--interval is nan; it must be a number of seconds"),
        ("threads", "--threads=0", "--threads is 0; it must be at least 1"),
        ("cancellable", "--steps=many", "argument --steps: invalid int value: 'many'"),
    ],
)
async def test_an_option_that_cannot_be_is_a_usage_error(client: str, option: str, said: str) -> None:
    exit_code, out, err = await run_program(*command(client, NOBODY, option))
    assert (exit_code, out) == (2, "")
    assert err.splitlines()[-1] == f"{client}.py: error: {said}"


@pytest.mark.few
@pytest.mark.parametrize(
    ("client", "said"),
    [
        ("cancellable", "Error: {address} answers with a bare message, not with a task\n"),
        ("pipeline", "Error: {address} answers with a bare message, not with a task\n"),
        ("artifacts", "Error: the agent at {address} made no artifact; is it servers/scripted.py?\n"),
    ],
)
async def test_an_agent_without_tasks_is_said_in_one_line_where_a_task_is_needed(client: str, said: str) -> None:
    agent = Agent("Curt", "Answers with bare messages.")

    @agent.skill("answer", answers="message")
    async def answer(turn: Turn) -> str:
        return "no"

    async with serving(agent) as served:
        address = served.server.grpc_address
        assert await run_program(*command(client, address)) == (1, "", said.format(address=address))


# -- Ctrl-C


REMOTE = ("fan_out", "pipeline", "streaming_text")
"""Clients that use RemoteAgent: there, to cancel is to stop the work."""


@dataclass
class Endless:
    """An agent that says one word, then works for ever; tells when it was begun and when it was canceled."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    canceled: asyncio.Event = field(default_factory=asyncio.Event)

    def agent(self) -> Agent:
        agent = Agent("Endless", "Never comes to an end.", input_modes=["*/*"])

        @agent.skill("work")
        async def work(turn: Turn) -> None:
            self.begun.set()
            try:
                await turn.status("begun")
                await turn.artifact("begun\n")
                await asyncio.Event().wait()
            finally:
                self.canceled.set()

        return agent


@pytest.mark.few
@pytest.mark.parametrize("client", [name for name in CLIENTS if name != "discovery"])
async def test_ctrl_c_ends_a_client_without_a_word(client: str) -> None:
    endless = Endless()
    async with serving(endless.agent()) as served:
        async with start(*command(client, served.server.grpc_address)) as process:
            await asyncio.wait_for(endless.begun.wait(), 60)
            process.send_signal(signal.SIGINT)
            _, err = await asyncio.wait_for(process.communicate(), 60)
            assert (process.returncode, err.decode()) == (130, "")
        if client not in REMOTE:
            tasks = (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).tasks
            assert {task.status.state for task in tasks} <= {SUBMITTED, WORKING}, "the task goes on"


@pytest.mark.few
@pytest.mark.parametrize(("client", "printed"), [("pipeline", "research: begun"), ("streaming_text", "begun")])
async def test_ctrl_c_stops_the_work_of_a_remote_agent(client: str, printed: str) -> None:
    endless = Endless()
    async with serving(endless.agent()) as served:
        async with start(*command(client, served.server.grpc_address)) as process:
            assert await read_line(process) == printed
            process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(process.wait(), 60) == 130
        await asyncio.wait_for(endless.canceled.wait(), 10)


@pytest.mark.parametrize("client", REMOTE)
@pytest.mark.few(1)
async def test_ctrl_c_stops_the_work_of_a_remote_agent_that_was_not_heard_of_yet(client: str) -> None:
    """The agent is at work; its first event, with the task's id, is still under way to the client."""
    endless = Endless()
    async with serving(endless.agent()) as served, Proxy(served.server.grpc_address, delay_s=0.5) as proxy:
        async with start(*command(client, proxy.address)) as process:
            await asyncio.wait_for(endless.begun.wait(), 60)
            process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(process.wait(), 60) == 130
        await asyncio.wait_for(endless.canceled.wait(), 10)


@pytest.mark.long
async def test_ctrl_c_ends_discovery_without_a_word() -> None:
    async with silence() as silent:
        async with start("clients/discovery.py", "--agent", silent.url, "--timeout=600") as process:
            await asyncio.wait_for(silent.called.wait(), 60)
            process.send_signal(signal.SIGINT)
            _, err = await asyncio.wait_for(process.communicate(), 60)
            assert (process.returncode, err.decode()) == (130, "")


# -- all of them


def seen(mark: str) -> dict[str, str]:
    """The environment of a program that `marked` finds. It would not find a fork, which has that of its parent."""
    return {"A_MARK": mark, "TESTS_FORK": ""}


def marked(mark: str) -> list[str]:
    """The command lines of the processes that have this mark in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.mark.long
@pytest.mark.first
async def test_demo_all_runs_every_program_and_leaves_no_process() -> None:
    mark = str(uuid.uuid4())
    exit_code, out, err = await run_program("clients/demo_all.py", timeout_s=110, env=seen(mark))
    assert (exit_code, err) == (0, ""), out
    assert marked(mark) == []
    lines = out.splitlines()
    assert all(re.fullmatch(r"PASS  \w+ +\d+\.\d s", line) for line in lines), out
    assert sorted(line.split()[1] for line in lines) == sorted([*CLIENTS, "demo", "callback"])


@pytest.mark.long
async def test_demo_all_says_which_programs_fail_with_what_they_said() -> None:
    """The variable is of the client library's settings: agents and stubs do not read it."""
    mark = str(uuid.uuid4())
    exit_code, out, err = await run_program(
        "clients/demo_all.py", timeout_s=110, env={**seen(mark), "A2A_GRPC_TIMEOUT_S": "soon"}
    )
    assert (exit_code, err) == (1, "")
    assert marked(mark) == []
    verdicts = {name: verdict for verdict, name in re.findall(r"^(PASS|FAIL)  (\w+)", out, re.MULTILINE)}
    assert verdicts == {name: "PASS" if name in STUBS else "FAIL" for name in [*CLIENTS, "callback", "demo"]}
    assert "  exit code 1; it should say '[STATUS] CANCELED':\n" in out
    assert "\n  | Error: A2A_GRPC_TIMEOUT_S is 'soon'; it must be a number of seconds, for example 30\n" in out
    assert "Traceback" not in out


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_demonstration_that_is_stopped_leaves_no_process(number: signal.Signals) -> None:
    mark = str(uuid.uuid4())
    async with start("clients/demo.py", "--listen=127.0.0.1:0", env=seen(mark)) as process:
        while not (await read_line(process)).startswith("[DATA ] progress: 0.2"):
            pass
        assert len(marked(mark)) == 4
        process.send_signal(number)
        _, err = await asyncio.wait_for(process.communicate(), 60)
        assert (process.returncode, err.decode()) == (130, "")
    assert marked(mark) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.long
async def test_demo_all_that_is_stopped_leaves_no_process(number: signal.Signals) -> None:
    mark = str(uuid.uuid4())
    async with start("clients/demo_all.py", env=seen(mark)) as process:
        assert (await read_line(process)).startswith("PASS  cancellable ")
        assert len(marked(mark)) >= 8
        process.send_signal(number)
        _, err = await asyncio.wait_for(process.communicate(), 60)
        assert (process.returncode, err.decode()) == (130, "")
    assert marked(mark) == []
