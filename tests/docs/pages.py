"""Play a page of the documentation: do what the page tells its reader to do, in the order of the page.

Each block of code is one of these. The comment stands on the line before the block, and readers do not see it.

- `sh`: typed into one shell, in a folder of the page's own. Each command has to succeed. A line that begins with
  `a2a-grpc serve` or `a2a-grpc sentinel` is a server that goes on until the end of the page.
- `console`: a line that begins with `$ ` is a command, and what follows is what it prints, with `…` for anything.
- `python` after `<!-- file: NAME -->`: saved as a file. `<!-- serve: NAME -->`: saved and served. `<!-- run -->`: run
  as a program, which has to end with 0. `<!-- run with: PATH -->`: run beside a copy of a file of this repository.
  `<!-- test: NAME -->`: saved, and run by pytest.
- `python` after `<!-- handler -->`: skills of an agent that the page does not declare again; served.
  `<!-- client -->`: calls of a `client` that the page does not open again; run. `<!-- in a handler: CODE -->`: lines of
  a handler, run after this code, which gives their names a value. `<!-- call of serve -->`: the end of a program; run.
- a block without a language, after `<!-- prints -->`: what the Python block before it has printed, or the server of the
  block before it, until it was ready. After `<!-- drawing -->` it is a drawing, after
  `<!-- haproxy -->` and `<!-- nginx -->` a configuration that the tests of attacks use.
- `py` in the reference: a signature, which `docs/reference.py` makes from the source.
- any other language: has to be valid, see `_checked`. After `<!-- file: NAME -->` it is saved, too.
- `<!-- parsed: REASON -->` before `sh` or `console`: nothing is typed, but what the commands name exists, see
  `tests/docs/parsed.py`. `<!-- log line -->`: the package can log this. `tests/docs/test_parsed.py` checks both.
- `<!-- played by: TEST -->` before any block: this test takes the block from the page, and runs it.
- `<!-- not run: REASON -->` before any block: only its syntax is checked.

Anything else is an error, so no block is left out by mistake. `servers/` and `clients/` of the repository are in the
folder.

An agent of the page is at 127.0.0.1:50051, further ones at 50052 and so on, cards at 8080 and so on: the player puts
free ports in their place, in commands and outputs alike. The id of a task that a page shows, such as
`c135c5b4-f647-46ca-86b7-5ce727d767c3`, stands for the id that is printed there, also in commands that come later.
`postgresql://tasks:secret@db.example/tasks` stands for an empty database.
"""

import ast
import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import yaml

from tests.docs.shell import TASK_ID, Shell, commands, matches
from tests.harness import ROOT
from tests.ports import free_address

BLOCK = re.compile(
    r"(?:^<!-- (?P<how>[^\n]+?) -->\n\n?)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
DATABASE = "postgresql://tasks:secret@db.example/tasks"
"""What a page writes for a PostgreSQL database."""
ADDRESS = re.compile(r"(?:127\.0\.0\.1|localhost):(50[01]\d\d|8[05]\d\d)\b")

AGENT = """\
import asyncio
from collections.abc import AsyncIterator
from a2a_grpc import *

agent = Agent("Example", "The agent of a page.")

"""
CLIENT = """\
import asyncio
from pathlib import Path
from a2a_grpc import *

async def main() -> None:
    async with connect("127.0.0.1:50051") as client:
{}

asyncio.run(main())
"""
SERVED = """
@agent.skill()
async def work(turn: Turn) -> str:
    \"""Do the work.\"""
    return "done"

"""
PART = """
from a2a_grpc.testing import assert_state, running

@agent.skill()
async def work(turn: Turn) -> str:
    \"""Do the work.\"""
{}
    return "done"

async def main() -> None:
    async with running(agent) as client:
        assert_state(await client.send("go"), "COMPLETED", "done")

asyncio.run(main())
"""
ELSEWHERE = ("parsed", "log line", "played by")
"""What says that a block is checked by other tests than that of its page."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a page."""

    line: int
    how: str
    """What the comment before the block says; empty without one."""
    kind: str
    text: str

    @property
    def verb(self) -> str:
        return self.how.partition(":")[0]

    @property
    def name(self) -> str:
        return self.how.partition(":")[2].strip()


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page in order."""
    text = page.read_text()
    return [
        Block(text.count("\n", 0, found.start("kind")) + 1, found["how"] or "", found["kind"], found["text"])
        for found in BLOCK.finditer(text)
    ]


class Player:
    """Plays one page in a folder. Use it as a context; leaving it ends the servers of the page."""

    def __init__(self, folder: Path, database: str = "") -> None:
        """Play in a folder. `database` is the URL of an empty database, for pages that need one."""
        self._folder = folder
        self._database = database
        self._ports: dict[str, str] = {}
        self._servers: dict[str, subprocess.Popen[str]] = {}
        self._variables = {
            "A2A_GRPC_AGENT": self._free("127.0.0.1:50051"),
            "A2A_GRPC_LISTEN": self._free("127.0.0.1:50051"),
            "A2A_GRPC_HTTP_LISTEN": self._free("127.0.0.1:8080"),
            "A2A_GRPC_STORE": os.environ.get("A2A_GRPC_STORE", "memory:"),
            "COLUMNS": "120",
        }
        for name in ("servers", "clients"):
            (folder / name).symlink_to(ROOT / name)
        self._shell = Shell(folder, **self._variables)
        self._printed = ""
        self._ids: dict[str, str] = {}
        """The id of a task for each id of the page."""

    def __enter__(self) -> "Player":
        return self

    def __exit__(self, *_: object) -> None:
        self._shell.close()
        for server in self._servers.values():
            self._stop(server)

    def play(self, page: Path) -> list[str]:
        """Do what each block says. Return what did not go as the page says, each with its line."""
        if not re.search(r":80\d\d", page.read_text()):
            self._variables["A2A_GRPC_HTTP_LISTEN"] = "off"  # the page does not show a card, and this starts faster
        return [f"{page.name}:{block.line}: {wrong}" for block in blocks(page) for wrong in self._do(block)]

    def _do(self, block: Block) -> Iterator[str]:
        text = self._free(block.text)
        match block.kind, block.verb:
            case _, "not run":
                yield from _checked(block.kind, text) if block.name else ["the comment has to give the reason"]
            case _, verb if verb in ELSEWHERE:
                pass
            case _, "file":
                self._save(block.name, text)
                yield from _checked(block.kind, text)
            case "python", "serve":
                yield from self._serve(f"a2a-grpc serve {self._save(block.name, text)}")
            case "python", "handler":
                yield from self._serve(f"a2a-grpc serve {self._save('agent.py', AGENT + text)}")
            case "python", "run":
                yield from self._run(self._save("program.py", text))
            case "python", "run with":
                shutil.copy(ROOT / block.name, self._folder)
                yield from self._run(self._save("program.py", text))
            case "python", "in a handler":
                lines = textwrap.indent(f"{block.name}\n{text}", " " * 4)
                yield from self._run(self._save("program.py", AGENT + PART.format(lines)))
            case "python", "call of serve":
                address = self._variables["A2A_GRPC_LISTEN"]
                program = AGENT + SERVED + text.replace("0.0.0.0:50051", address)
                yield from self._start(address, self._save("program.py", program))
            case "python", "client":
                whole = self._free(CLIENT).format(textwrap.indent(text, " " * 8))
                yield from self._run(self._save("program.py", whole))
            case "python", "test":
                options = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "--rootdir=.")
                yield from self._run(*options, self._save(block.name, text))
            case "python", _:
                yield "a comment before the block has to say how it is tested"
            case "sh", _:
                yield from self._type(text)
            case "console", _:
                for command, shown in commands(text):
                    printed = self._shell.run(self._with_ids(command))
                    if not self._is_shown(printed, shown):
                        yield f"$ {command}\n{printed}"
            case "", "prints":
                if not self._is_shown(self._printed, text):
                    yield f"printed {self._printed!r}"
            case "", "drawing" | "haproxy" | "nginx":
                pass
            case "", _:
                yield "a comment before the block has to say what it is: prints, drawing, or not run"
            case _:
                yield from _checked(block.kind, text)

    def _is_shown(self, printed: str, shown: str) -> bool:
        """Return True if a page shows what was printed. Remember the printed ids of tasks."""
        found = matches(printed, self._with_ids(shown))
        self._ids |= found or {}
        return found is not None

    def _with_ids(self, text: str) -> str:
        """Return a text with the ids of tasks in the place of those of the page."""
        return TASK_ID.sub(lambda found: self._ids.get(found[0], found[0]), text)

    def _type(self, text: str) -> Iterator[str]:
        lines = text.replace("\\\n", " ").strip().splitlines()
        if not any(line.startswith(("a2a-grpc serve ", "a2a-grpc sentinel")) for line in lines):
            printed = self._shell.run(text)
            yield from (f"{failed} in: {printed}" for failed in self._shell.failed)
            return
        for line in lines:  # each in a terminal of its own
            if line.startswith("a2a-grpc serve "):
                yield from self._serve(line)
            elif line.startswith("a2a-grpc sentinel"):
                yield from self._serve(self._free(f"{line} --listen 127.0.0.1:8000 --http-listen 127.0.0.1:8500"))
            else:
                yield from self._type(line)

    def _run(self, *arguments: str) -> Iterator[str]:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self._folder,
            env={**os.environ, **self._variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        self._printed = done.stdout
        if done.returncode:
            yield f"ended with {done.returncode}: {done.stdout}"

    def _serve(self, command: str) -> Iterator[str]:
        arguments = shlex.split(command)[1:]
        listen = next((value for flag, value in pairwise(arguments) if flag == "--listen"), "")
        key = listen or self._variables["A2A_GRPC_LISTEN"]
        if listen and "--http-listen" not in arguments:
            arguments += ["--http-listen", "off"]
        yield from self._start(key, "-m", "a2a_grpc", *arguments)

    def _start(self, key: str, *arguments: str) -> Iterator[str]:
        """Start a server in the place of the one that has this key, and wait until it is ready."""
        if (before := self._servers.pop(key, None)) is not None:
            self._stop(before)
        server = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self._folder,
            env={**os.environ, **self._variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._servers[key] = server
        assert server.stdout is not None
        said = ""
        for line in server.stdout:
            said += line
            if line.startswith("Ready"):
                self._printed = said
                return
        yield f"the server has ended: {said}"

    def _stop(self, server: subprocess.Popen[str]) -> None:
        server.kill()
        server.communicate()

    def _save(self, name: str, text: str) -> str:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return name

    def _free(self, text: str) -> str:
        """Return a text with a free port in the place of each port of a page."""

        def free(found: re.Match[str]) -> str:
            return self._ports.setdefault(found[0].replace("localhost", "127.0.0.1"), free_address())

        return ADDRESS.sub(free, text).replace(DATABASE, self._database or DATABASE)


def _checked(kind: str, text: str) -> Iterator[str]:
    """Check the syntax of a block, by its language."""
    try:
        match kind:
            case "python":
                compile(text, "block", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            case "json":
                json.loads(text)
            case "toml":
                tomllib.loads(text)
            case "yaml":
                list(yaml.safe_load_all(text))
            case "ini":
                configparser.ConfigParser(strict=False, interpolation=None).read_string(text)
            case "sh":
                done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
                if done.returncode:
                    yield done.stderr
            case "console":
                for command, _ in commands(text):
                    yield from _checked("sh", command)
            case "dockerfile":
                lines = text.replace("\\\n", " ").splitlines()
                yield from (line for line in lines if line and not re.match(r"([A-Z]+ |#)", line))
            case "conf":
                if text.count("{") != text.count("}"):
                    yield "the braces do not match"
            case "csv" | "py" | "text" | "":
                pass
            case _:
                yield f"there is no check for the language '{kind}'"
    except (SyntaxError, ValueError, yaml.YAMLError, configparser.Error) as error:
        yield str(error)


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
