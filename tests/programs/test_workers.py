"""`a2a-grpc serve --workers N`: several processes on one port, looked after by one that serves nothing."""

import asyncio
import json
import os
import re
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import grpc.aio
import pytest

from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.server import suspended
from a2a_grpc.wire import A2AServiceStub, Task
from tests.harness import ROOT, V1, Program, eventually, request, run_program, texts

SERVE = ("-m", "a2a_grpc", "serve")
FREE = ("--listen=127.0.0.1:0", "--http-listen=off")
ADDRESS = r"127\.0\.0\.1:[1-9]\d*"

AGENT = '''
import asyncio, os, uuid
from pathlib import Path
from a2a_grpc import Agent, Turn, serve

agent = Agent("Pid", "Tells which process it is.")
folder = Path(__file__).parent

@agent.skill("pid")
async def pid(turn: Turn) -> str:
    """The process that answers; with the text 'wait' once there is a file `go`."""
    if turn.text == "wait":
        (folder / f"waits-{os.getpid()}-{uuid.uuid4()}").touch()
        while not (folder / "go").exists():
            await asyncio.sleep(0.01)
    return f"{os.getpid()}{' with orders' if 'A2A_GRPC_WORKER' in os.environ else ''}"
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "agent.py").write_text(AGENT)
    return tmp_path


def store(folder: Path) -> str:
    return f"--store=sqlite:///{folder}/tasks.db"


def workers(folder: Path, *options: str, count: int = 2) -> Program:
    return Program(*SERVE, f"{folder}/agent.py", "-o", "json", f"--workers={count}", store(folder), *FREE, *options)


@asynccontextmanager
async def started(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program with pipes for its outputs; killed at the end if it still runs, and with it its workers."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def ask(address: str, text: str = "hello") -> Task:
    """Asks on a connection of its own: by connections the system shares the work out."""
    async with grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = A2AServiceStub(channel).SendMessage(request(text), metadata=V1, timeout=30, wait_for_ready=True)
        task: Task = (await call).task
        return task


async def pids(address: str, count: int) -> set[int]:
    """The processes that answer, once there are so many."""
    found: set[int] = set()

    async def look() -> None:
        try:
            [answer] = texts(await ask(address))
        except grpc.aio.AioRpcError as error:  # the connection was a dead worker's
            raise AssertionError("no answer") from error
        found.add(int(answer))
        assert len(found) == count

    await eventually(look, within_s=30)
    return found


@asynccontextmanager
async def at_work(program: Program, folder: Path) -> AsyncIterator[list["asyncio.Task[Task]"]]:
    """Sends that wait for the file `go`, at least one at each of two workers."""
    sends: list[asyncio.Task[Task]] = []

    async def fill() -> None:
        begun = [path.name.split("-")[1] for path in folder.glob("waits-*")]
        assert len(begun) == len(sends)
        if len(set(begun)) < 2:
            sends.append(asyncio.create_task(ask(program.address, "wait")))
        assert len(set(begun)) == 2

    try:
        await eventually(fill, within_s=30)
        yield sends
    finally:
        for send in sends:
            send.cancel()
        await asyncio.gather(*sends, return_exceptions=True)


# -- serving


@pytest.mark.long
async def test_every_worker_serves_on_the_one_port(folder: Path) -> None:
    async with workers(folder, count=3) as program:
        answering = await pids(program.address, 3)
        assert program.process.pid not in answering


@pytest.mark.long
async def test_ready_is_told_once_for_all_with_the_real_ports(folder: Path) -> None:
    async with workers(folder, "--http-listen=127.0.0.1:0") as program:
        address, http = program.address, program.http
        assert re.fullmatch(ADDRESS, address)
        assert re.fullmatch(f"http://{ADDRESS}", http)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{http}/.well-known/agent-card.json") as response:
                card = await response.json()
                assert card["supportedInterfaces"][0]["url"] == address
        program.process.terminate()
        out, err = await program.process.communicate()
        assert (program.process.returncode, err) == (0, b"")
    told = [event for event in program.events if event["event"] != "note"]
    assert told == [
        {"event": "listening", "protocol": "grpc", "address": address, "tls": False},
        {"event": "listening", "protocol": "http", "address": http},
        {"event": "ready", "grpc": address, "http": http, "workers": 2},
    ]
    assert [json.loads(line) for line in out.splitlines()] == [
        {"event": "draining", "signal": "SIGTERM"},
        {"event": "stopped"},
    ]


@pytest.mark.long
async def test_text_is_that_of_one_server_with_the_number_of_workers(folder: Path) -> None:
    async with started(*SERVE, f"{folder}/agent.py", "--workers=2", store(folder), *FREE) as process:
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or not lines[-1].startswith("Ready"):
            lines.append((await process.stdout.readline()).decode().rstrip("\n"))
            assert lines[-1], lines
        found = re.fullmatch(rf"Ready grpc=({ADDRESS}) http=off workers=2", lines[-1])
        assert found is not None, lines
        assert lines[0] == f"gRPC  {found[1]}"
        os.kill((await pids(found[1], 2)).pop(), signal.SIGKILL)
        assert re.fullmatch(rb"Worker [12] ended \(signal 9\); started again\n", await process.stdout.readline())
        process.send_signal(signal.SIGINT)
        out, _ = await process.communicate()
        assert (process.returncode, out.decode()) == (0, "SIGINT: draining; once more ends at once\nStopped\n")


@pytest.mark.long
@pytest.mark.parametrize("way", ["serve", "serve_command"])
async def test_a_program_that_is_an_agent_has_workers_too(folder: Path, way: str) -> None:
    ends = {
        "serve": f"serve(agent, listen='127.0.0.1:0', http_listen='off', workers=2, store='sqlite:///{folder}/t.db')",
        "serve_command": "from a2a_grpc.cli import serve_command\nserve_command(agent)",
    }
    path = folder / "agent.py"
    path.write_text(f"{AGENT}\nif __name__ == '__main__':\n    {ends[way].replace(chr(10), chr(10) + '    ')}\n")
    options = ("--workers=2", store(folder), *FREE) if way == "serve_command" else ()
    async with started(str(path), *options) as process:
        assert process.stdout is not None
        while not (line := (await process.stdout.readline()).decode()).startswith("Ready"):
            assert line
        assert len(await pids(line.split()[1].removeprefix("grpc="), 2)) == 2
        process.terminate()
        out, _ = await process.communicate()
        assert process.returncode == 0
        assert out.decode().splitlines() == ["SIGTERM: draining; once more ends at once", "Stopped"]


# -- workers that end


@pytest.mark.long
async def test_a_worker_that_is_killed_is_started_again_and_the_other_goes_on(folder: Path) -> None:
    async with workers(folder) as program:
        before = await pids(program.address, 2)
        killed = before.pop()
        os.kill(killed, signal.SIGKILL)
        told = await program.until("restarted")
        assert told["worker"] in (1, 2)
        assert told["ended"] == "signal 9"
        after = await pids(program.address, 2)
        assert before < after
        assert killed not in after


@pytest.mark.long
async def test_a_worker_that_drains_by_itself_is_started_again(folder: Path) -> None:
    async with workers(folder) as program:
        os.kill((await pids(program.address, 2)).pop(), signal.SIGTERM)
        assert (await program.until("restarted"))["ended"] == "exit code 0"
        await pids(program.address, 2)


@pytest.mark.long
async def test_a_worker_that_is_killed_before_it_is_ready_is_started_again(folder: Path) -> None:
    once = "import signal\nif not (folder / 'died').exists():\n    (folder / 'died').touch()\n"
    (folder / "agent.py").write_text(f"{AGENT}\n{once}    os.kill(os.getpid(), signal.SIGKILL)\n")
    async with workers(folder) as program:
        assert (await pids(program.address, 2)).isdisjoint({program.process.pid})
        assert [event["ended"] for event in program.events if event["event"] == "restarted"] == ["signal 9"]


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "waitid"), reason="this platform does not tell that a process is stopped")
async def test_a_worker_that_stays_stopped_is_replaced(folder: Path) -> None:
    """The kernel would go on to give it connections, and each of them would wait for ever."""
    async with workers(folder) as program:
        stopped = (await pids(program.address, 2)).pop()
        os.kill(stopped, signal.SIGSTOP)
        assert (await program.until("restarted"))["ended"] == "signal 9"
        assert stopped not in await pids(program.address, 2)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whether a process has run between two looks")
async def test_a_worker_that_is_slowed_down_with_stops_is_not_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(suspended, "LOOK_S", 0.2)
    busy = "while True: pass"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", busy)
    async with suspended.watched(process.pid, 1):
        for _ in range(suspended.PATIENCE * 5):
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(0.09)
            process.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.01)
        assert process.returncode is None
        process.kill()
        await process.wait()
    assert "so it is killed" not in caplog.text


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux changes the limits of another process")
async def test_a_worker_that_cannot_be_started_again_is_tried_again_and_the_others_go_on(folder: Path) -> None:
    async with workers(folder) as program:
        before = await pids(program.address, 2)
        limits = resource.prlimit(program.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(program.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        killed = before.pop()
        os.kill(killed, signal.SIGKILL)
        assert program.process.stderr is not None
        said = (await program.process.stderr.readline()).decode()
        assert "cannot start a worker again yet" in said
        resource.prlimit(program.process.pid, resource.RLIMIT_NOFILE, limits)
        assert (await program.until("restarted"))["ended"] == "signal 9"
        after = await pids(program.address, 2)
        assert before < after


# -- the end


@pytest.mark.few
@pytest.mark.parametrize("way", ["SIGTERM", "Ctrl-C"])
async def test_the_first_signal_lets_every_worker_finish(folder: Path, way: str) -> None:
    """Ctrl-C reaches the whole process group of a terminal's foreground, and nobody else."""
    program = workers(folder)
    async with program, at_work(program, folder) as sends:
        if way == "SIGTERM":
            program.process.terminate()
        else:
            groups = {os.getpgid(pid) for pid in children(program.process.pid)}
            assert os.getpgid(program.process.pid) not in groups, "a worker is in the group that Ctrl-C reaches"
            assert len(groups) == 2
            program.process.send_signal(signal.SIGINT)
        assert (await program.until("draining"))["signal"] == ("SIGTERM" if way == "SIGTERM" else "SIGINT")
        (folder / "go").touch()
        done = await asyncio.gather(*sends)
        out, err = await program.process.communicate()
        assert program.process.returncode == 0
        assert [json.loads(line)["event"] for line in out.splitlines()] == ["stopped"]
        assert err == b""
    assert {task.status.state for task in done} == {COMPLETED}
    assert len({text for task in done for text in texts(task)}) == 2


@pytest.mark.long
async def test_a_signal_to_supervisor_and_workers_alike_lets_every_worker_finish(folder: Path) -> None:
    """As systemd sends it by default. Each worker hears it twice, and the second time ended it at once."""
    program = workers(folder)
    async with program, at_work(program, folder) as sends:
        for pid in (*children(program.process.pid), program.process.pid):
            os.kill(pid, signal.SIGTERM)
        await program.until("draining")
        await asyncio.sleep(0.3)  # the supervisor's signal has arrived
        (folder / "go").touch()
        done = await asyncio.gather(*sends)
        await program.process.communicate()
        assert program.process.returncode == 0
    assert {task.status.state for task in done} == {COMPLETED}


@pytest.mark.long
async def test_the_second_signal_ends_all_at_once(folder: Path) -> None:
    program = workers(folder, "--drain-grace-s=600")
    async with program, at_work(program, folder):
        program.process.terminate()
        await program.until("draining")
        program.process.terminate()
        await program.process.communicate()  # every worker holds its end of these pipes
        assert program.process.returncode == -signal.SIGTERM


@pytest.mark.long
async def test_workers_drain_when_their_supervisor_is_killed(folder: Path) -> None:
    program = workers(folder)
    async with program, at_work(program, folder) as sends:
        program.process.kill()
        (folder / "go").touch()
        done = await asyncio.gather(*sends)
        await program.process.communicate()  # every worker holds its end of these pipes
        await nobody_listens(program.address)
    assert {task.status.state for task in done} == {COMPLETED}


@pytest.mark.long
async def test_a_signal_during_the_start_ends_the_workers_that_start(folder: Path) -> None:
    (folder / "agent.py").write_text(
        AGENT + "\nimport time\n(folder / 'loads').touch()\nwhile True:\n    time.sleep(0.1)\n"
    )

    def loads() -> None:
        assert (folder / "loads").exists()

    async with started(*SERVE, f"{folder}/agent.py", "--workers=2", store(folder), *FREE) as process:
        await eventually(loads, within_s=30)
        process.terminate()
        out, err = await process.communicate()
        assert (process.returncode, err) == (0, b"")
        assert out.decode().splitlines() == ["SIGTERM: draining; once more ends at once", "Stopped"]


# -- what cannot be served, said once


async def refused(folder: Path, *options: str) -> str:
    exit_code, out, err = await run_program(*SERVE, f"{folder}/agent.py", "--workers=2", "--http-listen=off", *options)
    assert (exit_code, out) == (2, "")
    assert err.startswith("Error: ")
    assert len(err.splitlines()) == 1
    return err.removeprefix("Error: ").rstrip("\n")


@pytest.mark.long
@pytest.mark.parametrize(
    ("source", "options"),
    [
        (None, ()),
        ("x = 1\n", ()),
        ("import nowhere_to_be_found\n", ()),
        ("from a2a_grpc import Agent\nagent = Agent('Idle', 'Idles.')\n", ()),
        (AGENT, ("--max-runs=0",)),
        (AGENT, ("--tls-cert=nothing.pem", "--tls-key=nothing.pem")),
    ],
    ids=["no file", "no agent", "an error", "no skill", "an option", "a missing certificate"],
)
async def test_what_keeps_a_server_from_starting_is_told_as_by_one_server(
    folder: Path, source: str | None, options: tuple[str, ...]
) -> None:
    path = folder / "another.py"
    if source is not None:
        path.write_text(source)
    alone, shared = await asyncio.gather(
        *(run_program(*SERVE, str(path), f"--workers={count}", store(folder), *FREE, *options) for count in (1, 2))
    )
    assert alone[0] != 0
    assert shared == alone


@pytest.mark.long
async def test_a_worker_that_ends_without_a_word_is_told(folder: Path) -> None:
    (folder / "agent.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    exit_code, out, err = await run_program(*SERVE, f"{folder}/agent.py", "--workers=2", store(folder), *FREE)
    assert (exit_code, err) == (1, "Error: worker 1 ended 3 times (signal 9) before it was ready\n")
    assert out == "Worker 1 ended (signal 9); started again\n" * 2


@pytest.mark.long
async def test_a_file_that_ends_by_itself_is_not_started_again(folder: Path) -> None:
    (folder / "agent.py").write_text("raise SystemExit(0)\n")
    exit_code, out, err = await run_program(*SERVE, f"{folder}/agent.py", "--workers=2", store(folder), *FREE)
    assert (exit_code, out, err) == (1, "", "Error: worker 1 ended (exit code 0) before it was ready\n")


async def test_a_taken_port_is_said_in_one_line(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = "{}:{}".format(*other.getsockname())
        assert await refused(folder, f"--listen={taken}", store(folder)) == (
            f"cannot listen on {taken} for gRPC: address already in use; "
            "stop the program that listens there, or choose another port with listen (--listen)"
        )
        assert await refused(folder, "--listen=127.0.0.1:0", f"--http-listen={taken}", store(folder)) == (
            f"cannot listen on {taken} for HTTP: address already in use; "
            "stop the program that listens there, or choose another port with http_listen (--http-listen)"
        )


@pytest.mark.long
async def test_the_workers_of_another_server_do_not_share_their_port(folder: Path) -> None:
    async with workers(folder) as program:
        said = await refused(folder, f"--listen={program.address}", store(folder))
        assert said.startswith(f"cannot listen on {program.address} for gRPC: address already in use; ")


@pytest.mark.long
async def test_a_store_that_processes_do_not_share_is_refused(folder: Path) -> None:
    assert await refused(folder, "--listen=127.0.0.1:0", "--store=memory:") == (
        "workers is 2, store is 'memory:': each worker would know its own tasks only; "
        "give a store that processes share, as --store sqlite:///tasks.db, or --workers 1"
    )


async def test_a_platform_that_cannot_share_ports_is_named(folder: Path) -> None:
    without = "import socket; del socket.SO_REUSEPORT; from a2a_grpc.cli import main; main()"
    exit_code, out, err = await run_program(
        "-c", without, "serve", f"{folder}/agent.py", "--workers=2", store(folder), *FREE
    )
    assert (exit_code, out) == (2, "")
    assert err.startswith("Error: workers is 2: processes cannot share a port on this platform")
    assert len(err.splitlines()) == 1


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


async def nobody_listens(address: str) -> None:
    host, port = address.split(":")

    def check() -> None:
        with socket.socket() as probe:
            assert probe.connect_ex((host, int(port))) != 0

    await eventually(check)
