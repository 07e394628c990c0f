"""`a2a-grpc serve`, as a process of its own."""

import asyncio
import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from a2a_grpc import Agent, Turn, connect
from a2a_grpc.cli.load import load_agent
from a2a_grpc.config import variable_of
from a2a_grpc.lifecycle import FAILED
from a2a_grpc.wire import A2AServiceStub, Task
from tests.covers import covers
from tests.harness import V1, Program, request, run_program, serving, started, texts
from tests.programs.test_programs import PROGRAMS
from tests.test_surface import SERVER_SETTINGS

SERVE = ("-m", "a2a_grpc", "serve")
FREE = ("--listen=127.0.0.1:0", "--http-listen=off")

WIDE = {"COLUMNS": "200", "TERM": "dumb"}

ADDRESS = r"127\.0\.0\.1:[1-9]\d*"

AGENT = """
from a2a_grpc import Agent, Turn, serve

{name} = Agent("{title}", "For a test.")

@{name}.skill("{name}")
async def handler_of_{name}(turn: Turn) -> str:
    return "{title} heard " + turn.text
"""
ONE = AGENT.format(name="one", title="One")
TWO = ONE + AGENT.format(name="two", title="Two")
EXITS = (
    AGENT.format(name="one", title="One")
    + """
import sys
@one.skill("exit")
async def leave(turn: Turn) -> str:
    sys.exit(3)

one.router(lambda sent: "exit" if sent.parts[0].text == "exit" else "one")
"""
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an agent in each shape; modules in it can be imported."""
    (tmp_path / "one.py").write_text(ONE)
    (tmp_path / "two.py").write_text(TWO)
    (tmp_path / "serves.py").write_text(ONE + "\nserve(one)\n")
    (tmp_path / "serves_the_second.py").write_text(TWO + "\nserve(two)\n")
    (tmp_path / "imports_its_neighbour.py").write_text("from one import one\n")
    (tmp_path / "none.py").write_text("x = 1\n")
    (tmp_path / "exits.py").write_text(EXITS)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text(ONE)
    (tmp_path / "package" / "inner.py").write_text(TWO)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def serve(target: str | Path, *options: str, env: dict[str, str] | None = None) -> Program:
    return Program(*SERVE, str(target), "-o", "json", *FREE, *options, env=env)


async def ask(address: str, text: str = "hello") -> Task:
    async with grpc.aio.insecure_channel(address) as channel:
        task: Task = (await A2AServiceStub(channel).SendMessage(request(text), metadata=V1, timeout=20)).task
        return task


async def heard(program: Program) -> str:
    [text] = texts(await ask(program.address))
    return text


async def refused(*arguments: str | Path, env: dict[str, str] | None = None) -> str:
    """The one line of a command that says what the user has to mend."""
    exit_code, out, err = await run_program(*SERVE, *map(str, arguments), env=env)
    assert (exit_code, out) == (2, "")
    assert err.startswith("Error: ")
    assert len(err.splitlines()) == 1
    return err.removeprefix("Error: ").rstrip("\n")


# -- what is served


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("{folder}/one.py", "One heard hello"),
        ("{folder}/one.py:one", "One heard hello"),
        ("{folder}/two.py:two", "Two heard hello"),
        ("{folder}/serves.py", "One heard hello"),
        ("{folder}/serves_the_second.py", "Two heard hello"),
        ("{folder}/imports_its_neighbour.py", "One heard hello"),
        ("one", "One heard hello"),
        ("two:two", "Two heard hello"),
        ("package", "One heard hello"),
        ("package:one", "One heard hello"),
        ("package.inner:two", "Two heard hello"),
    ],
)
async def test_an_agent_is_served_by_file_or_module_with_or_without_its_name(
    folder: Path, target: str, expected: str
) -> None:
    async with serve(target.format(folder=folder)) as program:
        assert await heard(program) == expected


def in_folder(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Runs `serve` in this folder, without it on the path, to the end it comes to by itself."""
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *SERVE, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.few(2)
@pytest.mark.parametrize("target", ["one.py", "./one.py", "one", "one:one", "package", "package:one"])
def test_a_target_is_looked_for_where_the_command_runs(folder: Path, target: str) -> None:
    code, out, err = in_folder(folder, target, *FREE, "--store=nowhere:")
    assert (code, out) == (2, "")
    assert err.startswith("Error: store is 'nowhere:'"), "the agent was found: the next thing is the store"


# -- what cannot be served, in one line


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("{folder}/nothing.py", "there is no file '{folder}/nothing.py'"),
        ("{folder}/nothing.py:one", "there is no file '{folder}/nothing.py'"),
        ("nothing_at_all", "there is no file and no module 'nothing_at_all'"),
        ("nothing_at_all.inner:one", "there is no file and no module 'nothing_at_all.inner'"),
        ("package.nothing", "there is no file and no module 'package.nothing'"),
        ("{folder}/one.py:three", "there is no 'three' in {folder}/one.py"),
        ("{folder}/one.py:Agent", "'Agent' in {folder}/one.py is not an Agent"),
        ("{folder}/two.py", "{folder}/two.py has 2 agents (one, two); name one: {folder}/two.py:one"),
        (
            "{folder}/none.py",
            "there is no agent in {folder}/none.py; make one at the top level of the file: "
            'agent = Agent("NAME", "DESCRIPTION")',
        ),
    ],
)
async def test_a_target_that_is_not_there_is_said_in_one_line(folder: Path, target: str, said: str) -> None:
    assert await refused(target.format(folder=folder), *FREE) == said.format(folder=folder)


def test_a_path_without_its_ending_is_said_in_one_line(folder: Path) -> None:
    code, out, err = in_folder(folder, "./one", *FREE)
    assert (code, out) == (2, "")
    assert err == "Error: there is no file and no module './one'\n"


BROKEN: dict[str, tuple[str, int, str]] = {
    "a syntax error": ("x = 1\ndef (\n", 2, "SyntaxError: invalid syntax"),
    "a missing module": ("\n\nimport nowhere_to_be_found\n", 3, "No module named 'nowhere_to_be_found'"),
    "a missing name": ("from a2a_grpc import Agnt\n", 1, "ImportError: cannot import name 'Agnt'"),
    "an error": ("x = 1\nx.y\n", 2, "AttributeError: 'int' object has no attribute 'y'"),
    "a blocking handler": (
        "from a2a_grpc import Agent\na = Agent('A', 'a')\ndef work(turn): pass\na.skill()(work)\n",
        4,
        "TypeError: work must be `async def`",
    ),
}


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("way", ["file", "module"])
async def test_a_file_that_cannot_be_loaded_is_told_with_its_place_and_error(folder: Path, kind: str, way: str) -> None:
    source, line, error = BROKEN[kind]
    path = folder / "agents_of_mine.py"
    path.write_text(source)
    exit_code, out, err = await run_program(*SERVE, str(path) if way == "file" else "agents_of_mine", *FREE)
    assert exit_code != 0
    assert out == ""
    assert error in err.splitlines()[-1]
    assert re.search(rf'{re.escape(str(path))}"?, line {line}\b', err)
    assert len(re.findall(r"\bline \d", err)) == 1, "the place is said once"


async def test_a_missing_module_whose_name_begins_like_the_agents_is_the_one_that_is_named(folder: Path) -> None:
    (folder / "agents_of_mine.py").write_text("import agents\n")
    exit_code, _, err = await run_program(*SERVE, "agents_of_mine", *FREE)
    assert exit_code != 0
    assert "No module named 'agents'" in err
    assert "no module 'agents_of_mine'" not in err


async def test_an_agent_without_a_skill_is_said_in_one_line(folder: Path) -> None:
    (folder / "idle.py").write_text("from a2a_grpc import Agent\nagent = Agent('Idle', 'Idles.')\n")
    assert await refused(folder / "idle.py", *FREE) == "agent 'Idle' has no skill; declare one with @agent.skill()"


# -- options


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-runs=0"], "max_runs is 0; it must be at least 1"),
        (["--drain-grace-s=-1"], "drain_grace_s is -1.0; it must be at least 0"),
        (["--listen=50051"], "listen is '50051'; it must be HOST:PORT with a port from 0 to 65535"),
        (["--listen=127.0.0.1:70000"], "listen is '127.0.0.1:70000'; it must be HOST:PORT with a port from 0 to 65535"),
        (["--listen=::1:0"], "listen is '::1:0'; an IPv6 address stands in brackets: [::1]:0"),
        (
            ["--listen=0.0.0.0:0"],
            "listen is '0.0.0.0:0': plaintext beyond this machine; give --tls-cert with --tls-key, or --insecure",
        ),
        (
            ["--listen=[fe80::1]:0"],
            "listen is '[fe80::1]:0': plaintext beyond this machine; give --tls-cert with --tls-key, or --insecure",
        ),
        (["--tls-cert=cert.pem"], "--tls-key is missing; a certificate and its key come together"),
        (
            ["--store=nowhere:"],
            "store is 'nowhere:'; it must be memory:, sqlite:///tasks.db, postgresql://…, mysql://… or mariadb://…",
        ),
    ],
)
async def test_a_value_that_cannot_be_is_said_in_one_line(folder: Path, options: list[str], said: str) -> None:
    assert await refused(folder / "one.py", "--http-listen=off", *options) == said


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["one.py", "--max-runs=many"], "--max-runs is 'many'; give a whole number, for example 100"),
        (["one.py", "--insecure=perhaps"], "--insecure"),
        (["one.py", "--output=xml"], "--output"),
        (["one.py", "--log-level=loud"], "--log-level"),
        (["one.py", "--max-rums=3"], "No such option: --max-rums"),
        (["one.py", "two.py"], "unexpected extra argument"),
        ([], "what to serve is missing; name a file or module"),
    ],
)
async def test_a_command_line_that_cannot_be_read_exits_with_2_and_names_what_is_wrong(
    folder: Path, arguments: list[str], said: str
) -> None:
    exit_code, out, err = await run_program(*SERVE, *arguments, env=WIDE)
    assert (exit_code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


@covers("Q3")
@pytest.mark.parametrize("protocol", ["gRPC", "HTTP"])
async def test_a_busy_port_exits_with_2_and_one_line(folder: Path, protocol: str) -> None:
    agent = Agent("First", "Holds the ports.")

    @agent.skill()
    async def work(turn: Turn) -> None:
        return None

    async with serving(agent, http_listen="127.0.0.1:0") as first:
        assert first.server.http_url is not None
        taken = first.server.grpc_address if protocol == "gRPC" else first.server.http_url.removeprefix("http://")
        listen, http_listen = (taken, "off") if protocol == "gRPC" else ("127.0.0.1:0", taken)
        said = await refused(folder / "one.py", f"--listen={listen}", f"--http-listen={http_listen}")
    assert said.startswith(f"cannot listen on {taken} for {protocol}: ")


async def test_a_setting_comes_from_the_environment_and_the_command_line_counts_before_it(folder: Path) -> None:
    environment = {"A2A_GRPC_LISTEN": "127.0.0.1:0", "A2A_GRPC_HTTP_LISTEN": "127.0.0.1:0"}
    async with Program(*SERVE, str(folder / "one.py"), "-o", "json", env=environment) as program:
        assert re.fullmatch(ADDRESS, program.address)
        assert re.fullmatch(f"http://{ADDRESS}", program.http)
        assert await heard(program) == "One heard hello"
    async with Program(*SERVE, str(folder / "one.py"), "-o", "json", "--http-listen=off", env=environment) as program:
        assert program.events[-1]["http"] is None


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("A2A_GRPC_MAX_RUNS", "many", "A2A_GRPC_MAX_RUNS is 'many'; it must be a whole number, for example 100"),
        ("A2A_GRPC_INSECURE", "perhaps", "A2A_GRPC_INSECURE is 'perhaps'; it must be true or false"),
        ("A2A_GRPC_MAX_RUNS", "0", "max_runs is 0; it must be at least 1"),
    ],
)
@pytest.mark.few(1)
async def test_a_variable_that_cannot_be_is_said_in_one_line(folder: Path, variable: str, text: str, said: str) -> None:
    assert await refused(folder / "one.py", *FREE, env={variable: text}) == said


LOOP = """
import asyncio
from a2a_grpc import Agent, Turn

one = Agent("One", "For a test.")

@one.skill("loop")
async def loop(turn: Turn) -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]
"""


async def test_settings_of_serve_in_the_file_that_the_command_ignores_are_named(tmp_path: Path) -> None:
    file = tmp_path / "kw.py"
    file.write_text(
        "from a2a_grpc import Agent, serve\n"
        "agent = Agent('Kw', 'Echoes.')\n"
        "@agent.skill()\n"
        "async def echo(turn):\n"
        "    return turn.text\n"
        "serve(agent, listen='127.0.0.1:1', max_runs=1, tls_cert=None, workers=2, store='memory:')\n"
    )
    lines, process = await run_in(tmp_path, file, "--store=memory:")
    process.terminate()
    await process.communicate()
    [note] = [line for line in lines if "ignores" in line]
    assert (
        note == "Note  this command ignores settings of serve(…) in the file: max_runs, workers; give them as options"
    )


@pytest.mark.few
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("is_asked_for", [True, False])
async def test_a_program_runs_on_uvloop_if_asked_and_ends_as_cleanly(
    folder: Path, is_asked_for: bool, workers: str
) -> None:
    (folder / "loop.py").write_text(LOOP)
    options = [f"--workers={workers}", f"--store=sqlite:///{folder}/tasks.db", *(["--uvloop"] if is_asked_for else [])]
    async with serve(folder / "loop.py", *options) as program:
        assert await heard(program) == ("uvloop" if is_asked_for else "asyncio")
        program.process.terminate()
        _, err = await program.process.communicate()
        assert (program.process.returncode, err) == (0, b"")


async def test_uvloop_that_is_not_installed_is_said_with_the_extra(folder: Path) -> None:
    (folder / "uvloop.py").write_text("raise ModuleNotFoundError('No module named uvloop', name='uvloop')")
    said = await refused(folder / "one.py", *FREE, "--uvloop")
    assert said == 'uvloop is not installed: pip install "a2a-grpc[uvloop]"'


# -- what is printed


async def test_json_is_one_object_a_line_and_nothing_else(folder: Path) -> None:
    async with Program(
        *SERVE, str(folder / "one.py"), "-o", "json", "--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0"
    ) as program:
        address, http = program.address, program.http
        assert re.fullmatch(ADDRESS, address)
        assert re.fullmatch(f"http://{ADDRESS}", http)
        program.process.terminate()
        out, err = await program.process.communicate()
        assert (program.process.returncode, err) == (0, b"")
    assert program.events == [
        {"event": "listening", "protocol": "grpc", "address": address, "tls": False},
        {"event": "listening", "protocol": "http", "address": http},
        {"event": "note", "text": "tasks are kept in memory and end with this process"},
        {"event": "note", "text": "calls need the header 'a2a-version: 1.0' (grpcurl: -H 'a2a-version: 1.0')"},
        {"event": "ready", "grpc": address, "http": http},
    ]
    assert [json.loads(line) for line in out.splitlines()] == [
        {"event": "draining", "signal": "SIGTERM"},
        {"event": "stopped"},
    ]


@pytest.mark.parametrize("http", ["127.0.0.1:0", "off"])
@pytest.mark.few(1)
async def test_the_ready_line_has_the_real_addresses_and_null_for_http_that_is_off(folder: Path, http: str) -> None:
    """The very bytes: programs in other languages read this line."""
    lines = await lines_until_ready(folder / "one.py", "-o", "json", "--listen=127.0.0.1:0", f"--http-listen={http}")
    expected = f'"http://{ADDRESS}"' if http != "off" else "null"
    assert re.fullmatch(rf'\{{"event": "ready", "grpc": "{ADDRESS}", "http": {expected}\}}', lines[-1]), lines[-1]
    assert len([line for line in lines if '"ready"' in line]) == 1


@pytest.mark.parametrize("http", ["127.0.0.1:0", "off"])
@pytest.mark.few(1)
async def test_text_has_a_line_for_each_listener_and_a_ready_line_with_the_real_ports(folder: Path, http: str) -> None:
    lines = await lines_until_ready(folder / "one.py", "--listen=127.0.0.1:0", f"--http-listen={http}")
    found = re.fullmatch(rf"Ready grpc=({ADDRESS}) http=(off|http://{ADDRESS})", lines[-1])
    assert found is not None, lines
    grpc_address, http_url = found.groups()
    listeners = [line for line in lines[:-1] if not line.startswith("Note")]
    assert listeners == [f"gRPC  {grpc_address}"] + (
        [f"HTTP  {http_url}/.well-known/agent-card.json"] if http != "off" else []
    )
    assert (http_url == "off") == (http == "off")


async def lines_until_ready(*arguments: str | Path) -> list[str]:
    """What the command prints up to its ready line; then it is ended."""
    process = await started([sys.executable, *SERVE, *map(str, arguments)], {**os.environ})
    assert process.stdout is not None
    lines: list[str] = []
    try:
        while not lines or "ready" not in lines[-1].lower():
            line = await process.stdout.readline()
            assert line, "the command ended"
            lines.append(line.decode().rstrip("\n"))
    finally:
        process.terminate()
        await process.communicate()
    assert process.returncode == 0
    return lines


async def test_a_serve_in_a_file_only_names_the_agent_and_its_settings_are_the_commands(folder: Path) -> None:
    (folder / "own.py").write_text(ONE + "\nserve(one, listen='127.0.0.1:1')\nx = 'the file goes on'\n")
    async with serve(f"{folder}/own.py") as program:
        assert not program.address.endswith(":1")
        assert await heard(program) == "One heard hello"


async def test_an_agent_that_exits_fails_its_task_and_not_the_server(folder: Path) -> None:
    async with serve(folder / "exits.py") as program:
        failed = await ask(program.address, "exit")
        assert failed.status.state == FAILED
        assert await heard(program) == "One heard hello"


# -- help


def flags(kind: Any) -> list[str]:
    return ["--" + item.name.replace("_", "-") for item in fields(kind)]


@pytest.mark.parametrize("columns", [80, 200])
async def test_help_lists_every_setting_with_its_variable(columns: int) -> None:
    exit_code, out, err = await run_program(*SERVE, "--help", env={"COLUMNS": str(columns), "TERM": "dumb"})
    assert (exit_code, err) == (0, "")
    words = set(re.findall(r"[\w-]+", out))
    for kind in SERVER_SETTINGS:
        for flag in flags(kind):
            assert flag in words, f"{flag} at {columns} columns"
    if columns == 200:
        for kind in SERVER_SETTINGS:
            for item in fields(kind):
                assert variable_of(item) in words
                assert item.metadata["doc"].split()[0] in out
    assert {"--output", "-o", "--log-level"} <= words


AGENTS = [program for program in PROGRAMS if program.startswith("servers/") and program != "servers/sentinel.py"]


@pytest.mark.few(2)
@pytest.mark.parametrize("program", AGENTS)
async def test_a_program_of_one_agent_has_the_same_options(program: str) -> None:
    exit_code, out, err = await run_program(program, "--help", env=WIDE)
    assert (exit_code, err) == (0, "")
    words = set(re.findall(r"[\w-]+", out))
    assert {flag for kind in SERVER_SETTINGS for flag in flags(kind)} <= words
    assert "FILE_OR_MODULE" not in out


# -- where tasks are kept


async def run_in(folder: Path, *arguments: str | Path) -> tuple[list[str], asyncio.subprocess.Process]:
    """The command in a folder, with nothing said about a store: what it prints up to its ready line."""
    environment = {name: value for name, value in os.environ.items() if name != "A2A_GRPC_STORE"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *SERVE, *map(str, arguments), *FREE,
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith("Ready"):
        line = await process.stdout.readline()
        assert line, "the command ended"
        lines.append(line.decode().rstrip("\n"))
    return lines, process


@covers("P6")
async def test_tasks_are_kept_in_a_file_named_after_the_agent_which_is_said_and_outlive_kill_9(
    folder: Path, tmp_path: Path
) -> None:
    lines, process = await run_in(tmp_path, folder / "one.py")
    assert "Note  tasks are kept in one.tasks.db" in lines
    task = await ask(lines[-1].split()[1].removeprefix("grpc="), "hello")
    process.kill()
    await process.communicate()
    assert (tmp_path / "one.tasks.db").exists()
    lines, process = await run_in(tmp_path, folder / "one.py")
    async with connect(lines[-1].split()[1].removeprefix("grpc=")) as client:
        assert await client.get(task.id) == task
    process.terminate()
    await process.communicate()
    assert process.returncode == 0


async def test_with_store_memory_no_file_is_made_and_that_is_said(folder: Path, tmp_path: Path) -> None:
    lines, process = await run_in(tmp_path, folder / "one.py", "--store=memory:")
    process.terminate()
    await process.communicate()
    assert "Note  tasks are kept in memory and end with this process" in lines
    assert list(tmp_path.glob("*.db*")) == []


@pytest.mark.few
@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("sqlite:///nowhere/tasks.db", "nowhere"),
        ("postgresql+nodriver://user:secret@127.0.0.1:1/tasks", "nodriver"),
        ("sqlite:///tasks.db?colour=red", "colour"),
    ],
)
async def test_a_store_that_cannot_be_used_is_said_in_one_line_without_its_password(
    folder: Path, store: str, said: str
) -> None:
    told = await refused(folder / "one.py", *FREE, f"--store={store}")
    assert said in told
    assert "secret" not in told
    assert len(told.splitlines()) == 1


OUTER = """
import grpc.aio
from a2a_grpc import serve
from serves import one

class Counts(grpc.aio.ServerInterceptor):
    async def intercept_service(self, continuation, details):
        return await continuation(details)

serve(one, interceptors=[Counts()])
"""


def test_of_two_serve_calls_of_one_agent_that_of_the_named_file_counts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file imports the agent from another file, which serves it as well."""
    monkeypatch.syspath_prepend(str(folder))
    outer = folder / "serves_another.py"
    outer.write_text(OUTER)
    for target in (str(outer), f"{outer}:one"):
        assert [type(one).__name__ for one in load_agent(target).interceptors] == ["Counts"]


# -- an agent that forks


FORKS = """
import asyncio, multiprocessing, os
from collections import Counter
from a2a_grpc import Agent, Turn

forks = Agent("Forks", "Starts processes with fork, as ProcessPoolExecutor does before Python 3.14.")

@forks.skill("forks")
async def fork(turn: Turn) -> str:
    by_fork = multiprocessing.get_context("fork")
    ended = Counter()
    for _ in range(40):
        process = by_fork.Process(target=os._exit, args=(0,))
        process.start()
        while process.is_alive():
            await asyncio.sleep(0.001)
        ended[process.exitcode] += 1
    return str(dict(ended))

@forks.skill("echo")
async def echo(turn: Turn) -> str:
    return turn.text

forks.router(lambda sent: "forks" if sent.parts[0].text == "fork" else "echo")
"""


async def test_processes_that_an_agent_forks_during_other_calls_end_well(tmp_path: Path) -> None:
    """With gRPC's fork handlers on, the default of grpcio 1.85, a quarter of them ended with SIGSEGV."""
    (tmp_path / "forks.py").write_text(FORKS)
    async with serve(tmp_path / "forks.py") as program:
        forking = asyncio.create_task(ask(program.address, "fork"))
        while not forking.done():
            await asyncio.gather(*(ask(program.address) for _ in range(4)))
        assert texts(await forking) == ["{0: 40}"]
