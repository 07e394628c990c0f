"""A program as an agent: its input is the message, its output the artifact."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from a2a_grpc import Client, Part, Server, ServerSettings, Task, TaskArtifactUpdateEvent, connect, text_of
from a2a_grpc.adapters.program import agent_of
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import ContentTypeNotSupportedError
from a2a_grpc.parts import Contents
from a2a_grpc.wire import TaskState
from tests.harness import Program, eventually, run_program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups")


@asynccontextmanager
async def calling(command: Any, **options: Any) -> AsyncIterator[Client]:
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off")
    async with Server(agent_of(command, **options), settings) as server, connect(server.grpc_address) as client:
        yield client


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


async def test_whole_lines_are_sent_while_the_program_goes_on(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    waits = python(f"print('first', flush=True); open({str(gate)!r}).read(); print('héllo'); print('end', end='')")
    async with calling(waits) as client, client.stream("x") as events:
        told: list[str] = []
        async for event in events:
            if isinstance(event, TaskArtifactUpdateEvent):
                told.append(text_of(event.artifact))
                if len(told) == 1:
                    await asyncio.to_thread(gate.write_text, "go")
        assert told[0] == "first\n"
        assert "".join(told) == "first\nhéllo\nend"
        assert events.task is not None
        assert events.task.status.state == TaskState.TASK_STATE_COMPLETED


@pytest.mark.parametrize(
    ("command", "options", "expected"),
    [
        ("tr a-z A-Z", {}, "ÄB C\n"),
        ("cat | tr a-z A-Z && echo \"$((1 + 1))\"", {"shell": True}, "ÄB C\n2\n"),
        (python("import json; given = json.loads(input()); print(given['message']['parts'][0]['text'], end='')"),
         {"as_json": True}, "Äb c\n"),
        ("true", {}, ""),  # reads nothing of its input
    ],
)  # fmt: skip
async def test_the_message_is_the_input_and_the_output_is_the_artifact(
    command: Any, options: dict[str, Any], expected: str
) -> None:
    async with calling(command, **options) as client:
        task = await client.send("Äb c\n")
    assert isinstance(task, Task)
    assert task.status.state == TaskState.TASK_STATE_COMPLETED
    assert "".join(text_of(artifact) for artifact in task.artifacts) == expected


@pytest.mark.parametrize("is_shell", [False, True])
async def test_a_program_gets_the_environment_without_the_variables_of_the_server(
    monkeypatch: pytest.MonkeyPatch, is_shell: bool
) -> None:
    monkeypatch.setenv("A2A_GRPC_STORE", "postgresql://agent:secret@db/tasks")
    monkeypatch.setenv("GREETING", "hello")
    async with calling("env", shell=is_shell) as client:
        told = text_of(await client.send("x"))
    assert "GREETING=hello" in told
    assert "A2A_GRPC" not in told


async def test_a_program_of_texts_refuses_data_and_files_and_one_of_json_gets_them() -> None:
    contents: list[Contents] = [{"a": 1}, [Part(raw=b"x", media_type="image/png")]]
    async with calling("cat") as client:
        for content in contents:
            with pytest.raises(ContentTypeNotSupportedError, match="there are text/plain"):
                await client.send(content)
    code = (
        "import json; [part] = json.loads(input())['message']['parts']; print(part.get('data') or part['raw'], end='')"
    )
    async with calling(python(code), as_json=True) as client:
        tasks = [await client.send(content) for content in contents]
    assert [text_of(task) for task in tasks] == ["{'a': 1.0}", "eA=="]


async def test_bytes_arrive_as_they_are() -> None:
    async with calling(python("import os; os.write(1, bytes(range(256)) * 1000)"), chunk="bytes") as client:
        task = await client.send("x")
    assert isinstance(task, Task)
    assert b"".join(part.raw for part in task.artifacts[0].parts) == bytes(range(256)) * 1000


async def test_an_exit_code_is_a_failure_whose_errors_stand_in_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    fails = python("import sys; print('half'); print('secret \\x1b[31m', file=sys.stderr); sys.exit(3)")
    async with calling(fails) as client:
        task = await client.send("x")
    assert isinstance(task, Task)
    assert task.status.state == TaskState.TASK_STATE_FAILED
    assert text_of(task.status.message) == "The program ended with the code 3."
    assert [text_of(artifact) for artifact in task.artifacts] == ["half\n"]
    assert "secret" not in str(task)
    [said] = [record.getMessage() for record in caplog.records if record.name == "a2a_grpc.adapters"]
    assert "status=3" in said
    assert "secret" in said
    assert "\x1b" not in said


async def test_a_program_that_is_missing_fails_the_task(caplog: pytest.LogCaptureFixture) -> None:
    async with calling("no-such-program --really") as client:
        task = await client.send("x")
    assert isinstance(task, Task)
    assert task.status.state == TaskState.TASK_STATE_FAILED
    assert "no-such-program" in caplog.text
    assert "no-such-program" not in str(task)


async def test_a_cancel_ends_the_program_and_its_children_also_if_they_ignore_sigterm(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); child = os.fork()\n"
        f"if child: open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child}}')\n"
        "time.sleep(600)"
    )
    async with calling(python(code)) as client:
        task = await client.start("x")
        assert isinstance(task, Task)
        await eventually(lambda: _holds(pids.exists() and len(pids.read_text().split()) == 2))
        running = [int(pid) for pid in pids.read_text().split()]
        assert (await client.cancel(task.id)).status.state == TaskState.TASK_STATE_CANCELED
        for pid in running:
            await eventually(lambda pid=pid: _holds(not _is_alive(pid)))


async def test_only_so_many_programs_run_at_a_time(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\n"
        f"folder = {str(tmp_path)!r}; own = f'{{folder}}/{{os.getpid()}}'; open(own, 'w').close()\n"
        "print(len(os.listdir(folder)), end=''); time.sleep(0.1); os.unlink(own)"
    )
    async with calling(python(code), limit=1) as client:
        tasks = await asyncio.gather(*(client.send("x") for _ in range(4)))
    assert [text_of(task.artifacts[0]) for task in tasks if isinstance(task, Task)] == ["1"] * 4


@pytest.mark.parametrize("leaves", ["sleep 300", "setsid sleep 300"])
async def test_a_child_that_keeps_the_output_open_does_not_keep_the_task_and_is_killed(
    leaves: str, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    async with calling(f"{leaves} & echo $! > {pid}; echo hi; exit 3", shell=True, limit=1) as client:
        task = await client.send("x")
    child = int(pid.read_text())
    try:
        assert isinstance(task, Task)
        assert text_of(task.status.message) == "The program ended with the code 3."
        assert "hi\n" in "".join(text_of(artifact) for artifact in task.artifacts)
        if "setsid" not in leaves:
            await eventually(lambda: _holds(not _is_alive(child)))
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("code", ["import time; time.sleep(600)", "import os, time; os.close(1); time.sleep(600)"])
async def test_a_program_that_does_not_end_in_time_is_stopped_and_its_task_fails(
    code: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with calling(python(code), timeout_s=0.2) as client:
        task = await client.send("x")
    assert isinstance(task, Task)
    assert task.status.state == TaskState.TASK_STATE_FAILED
    assert text_of(task.status.message) == "The program has not ended within 0.2 s."
    assert "timeout_s=0.2" in caplog.text
    with pytest.raises(ConfigurationError, match="time limit of a program is -1"):
        agent_of("cat", timeout_s=-1)


@pytest.mark.parametrize("command", ["", "  ", "cat 'half", []])
def test_a_command_that_is_none_is_refused(command: Any) -> None:
    with pytest.raises(ConfigurationError, match="command"):
        agent_of(command)
    with pytest.raises(TypeError, match="the command is 5; it must be a text or a list of texts"):
        agent_of(5)  # type: ignore[arg-type]


def _holds(true: bool) -> None:
    assert true


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_serve_exec_and_serve_echo_on_the_command_line() -> None:
    free = ("--listen", "127.0.0.1:0", "--http-listen", "off", "-o", "json", "--store", "memory:")
    for options, answer in ((("--exec", "tr a-z A-Z", "--name", "Loud"), "HELLO"), (("--echo",), "hello")):
        async with Program("-m", "a2a_grpc", "serve", *options, *free) as program:
            async with connect(program.address) as client:
                task = await client.send("hello")
                assert isinstance(task, Task)
                assert text_of(task.artifacts[0]) == answer


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "what to serve is missing; name a file or module, --exec CMD, --proxy CARD_URL, or --echo"),
        (("agent.py", "--echo"), "a file and --echo exclude each other"),
        (("--exec", "cat", "--echo"), "--exec and --echo exclude each other"),
        (("agent.py", "--shell"), "--shell is for --exec"),
        (("--exec", ""), "the command is empty; name a program"),
        (("--exec", "no-such-program -x"), "there is no program 'no-such-program' that can be run"),
        (("n" * 300,), "cannot be read: File name too long"),
        (("--exec", "cat 'half"), "cannot be split into words"),
        (("--exec", "cat", "--exec-limit", "-1"), "must be 0 or more"),
    ],
)
async def test_options_that_do_not_fit_are_refused(options: tuple[str, ...], said: str) -> None:
    code, out, err = await run_program("-m", "a2a_grpc", "serve", *options)
    assert (code, out) == (2, "")
    assert said in err


async def test_a_program_that_prints_without_end_is_gone_when_its_task_is_canceled(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = f"import os; open({str(pid)!r}, 'w').write(str(os.getpid()))\nwhile True: print('x' * 50)"
    async with calling(python(code), limit=1) as client:
        task = await client.start("x")
        assert isinstance(task, Task)
        await eventually(lambda: _holds(pid.exists() and bool(pid.read_text())))
        await client.cancel(task.id)
        assert not _is_alive(int(pid.read_text()))
