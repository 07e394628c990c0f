"""The command line as a user runs it: in a process of its own, at a terminal or between pipes, Ctrl-C at hand."""

import asyncio
import fcntl
import json
import os
import pty
import re
import shlex
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.forks import Forked, Forks, can_fork
from tests.harness import ROOT, Served

WITHIN_S = 30.0
"""How long anything may take that is waited for."""

AT_ONCE = 4
"""Commands that `run_all` runs at the same time: with more of them each takes longer, and all no less."""

A2A_GRPC = (sys.executable, "-m", "a2a_grpc")

ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07)")
"""The sequences by which a terminal is told colours, and where to write."""


def plain(text: str) -> str:
    """The words of what a terminal was told."""
    return ESCAPES.sub("", text).replace("\r\n", "\n")


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended. At a terminal `out` holds all, as the terminal got it; `err` is the same."""

    code: int
    out: str
    err: str


class Written(asyncio.Protocol):
    """What a program has written so far to one of its outputs."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._more = asyncio.Event()
        self.is_over = False

    @property
    def text(self) -> str:
        return self._bytes.decode(errors="replace")

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        self._more.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True
        self._more.set()

    async def until(self, words: str | Callable[[str], Any]) -> str:
        """Waits until these words, or a text for which this holds, have been written; an AssertionError if they never
        are."""
        holds = words if callable(words) else lambda text: words in text
        try:
            async with asyncio.timeout(WITHIN_S):
                while not holds(self.text):
                    assert not self.is_over, f"the program ended after writing: {self.text}"
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"{words!r} was not written, but: {self.text}") from None
        return self.text

    async def ended(self) -> str:
        """All that was written, once nothing more can come."""
        while not self.is_over:
            self._more.clear()
            await self._more.wait()
        return self.text


@dataclass(slots=True)
class Running:
    """A command at work."""

    process: asyncio.subprocess.Process | Forked
    out: Written
    err: Written
    reader: asyncio.ReadTransport

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def stop_reading(self) -> None:
        """Closes standard output where it is read, as `| head` does when it has enough."""
        self.reader.close()

    async def finished(self, within_s: float = WITHIN_S) -> Done:
        """How it ends by itself."""
        async with asyncio.timeout(within_s):
            code = await self.process.wait()
            out, err = await self.out.ended(), await self.err.ended()
        return Done(code, out, err)


def environment(given: dict[str, str] | None = None) -> dict[str, str]:
    """The variables of a user who has set none of this project's, and no taste for colours."""
    ours = {name: text for name, text in os.environ.items() if not name.startswith("A2A_GRPC_")}
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        ours.pop(name, None)
    return {**ours, "TERM": "xterm-256color", **(given or {})}


@asynccontextmanager
async def running(
    *arguments: str,
    stdin: str | bytes = "",
    terminal: bool | str = False,
    env: dict[str, str] | None = None,
    program: tuple[str, ...] = A2A_GRPC,
) -> AsyncIterator[Running]:
    """`a2a-grpc ARGUMENTS`, begun; killed at the end of the block if it still runs.

    With `terminal` both its outputs are one terminal of 120 columns, with `terminal="err"` standard error alone; the
    rest are pipes. `stdin` is all of its input.
    """
    loop = asyncio.get_running_loop()
    written: list[Written] = []
    transports: list[asyncio.ReadTransport] = []
    ends: list[int] = []
    for is_terminal in {False: (False, False), True: (True,), "err": (False, True)}[terminal]:
        ours, theirs = _terminal() if is_terminal else os.pipe()
        ends.append(theirs)
        transport, protocol = await loop.connect_read_pipe(Written, os.fdopen(ours, "rb", 0))
        written.append(protocol)
        transports.append(transport)
    theirs, ours = os.pipe()
    feeding, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(ours, "wb", 0))
    try:
        process = await _started(program, arguments, environment(env), [theirs, ends[0], ends[-1]])
    finally:
        for end in (theirs, *ends):
            os.close(end)
    feeding.write(stdin.encode() if isinstance(stdin, str) else stdin)
    feeding.close()
    try:
        yield Running(process, written[0], written[-1], transports[0])
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        for transport in transports:
            transport.close()


async def _started(
    program: tuple[str, ...], arguments: tuple[str, ...], env: dict[str, str], descriptors: list[int]
) -> asyncio.subprocess.Process | Forked:
    """Begin a command: our programs in a fork of a process that has imported them, others in the ordinary way."""
    command = (*program[1:], *arguments)
    if program[0] == sys.executable and can_fork(command, env):
        return await Forks.open().run(command, env, descriptors)
    stdin, stdout, stderr = descriptors
    return await asyncio.create_subprocess_exec(
        *program, *arguments, cwd=ROOT, env=env, stdin=stdin, stdout=stdout, stderr=stderr
    )


def _terminal() -> tuple[int, int]:
    """A pseudo-terminal: our end, the program's end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    return ours, theirs


async def run(
    *arguments: str, stdin: str | bytes = "", terminal: bool | str = False, env: dict[str, str] | None = None
) -> Done:
    """`a2a-grpc ARGUMENTS`, to its end."""
    async with running(*arguments, stdin=stdin, terminal=terminal, env=env) as command:
        return await command.finished()


@asynccontextmanager
async def running_line(line: str) -> AsyncIterator[Running]:
    """A line as a user types it, or copies it from what a command printed, begun by a shell.

    Of a line that is one command of `a2a-grpc`, the shell makes the words, and the command is run as others are.
    """
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    if is_one_command(line):
        async with running("-c", rf"printf '%s\0' {line}", env={"PATH": path}, program=("/bin/sh",)) as shell:
            _, *words, _ = (await shell.finished()).out.split("\0")
        async with running(*words) as command:
            yield command
        return
    async with running("-c", line, env={"PATH": path}, program=("/bin/sh",)) as command:
        yield command


def is_one_command(line: str) -> bool:
    """Return True if a line has `a2a-grpc` and its arguments, and nothing else for the shell to do."""
    words = list(shlex.shlex(line, posix=True, punctuation_chars=True))
    return words[0] == "a2a-grpc" and not any(set(word) <= set("();<>|&") for word in words)


async def run_line(line: str) -> Done:
    """Such a line, run to its end."""
    async with running_line(line) as command:
        return await command.finished()


async def run_all(*commands: tuple[str, ...], env: dict[str, str] | None = None) -> list[Done]:
    """Several commands, `AT_ONCE` at the same time, to the end of all. If one fails to end in time, all are killed."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(command: tuple[str, ...]) -> Done:
        async with turns:
            return await run(*command, env=env)

    async with asyncio.TaskGroup() as group:
        ends = [group.create_task(one(command)) for command in commands]
    return [end.result() for end in ends]


def at(served: Served) -> str:
    """The option that names the agent."""
    return f"--agent={served.server.grpc_address}"


def script(*steps: object) -> str:
    """What the scripted agent is to do, as a user writes it after --data."""
    return json.dumps({"script": list(steps)})


def objects(out: str) -> list[dict[str, Any]]:
    """The lines of an output that has one JSON object a line."""
    return [json.loads(line) for line in out.splitlines()]


def command_in(text: str) -> str:
    """The command that a message says to run: from its name to the end of the line."""
    commands = re.findall(r"\ba2a-grpc [a-z]+ .*", plain(text))
    assert commands, f"no command is told in: {text}"
    return str(commands[-1])


def error_of(done: Done, code: int) -> str:
    """The error of a command that failed with this exit code: one line on standard error, and nothing else."""
    assert (done.code, done.out) == (code, ""), done
    assert done.err.startswith("Error: "), done.err
    assert len(done.err.splitlines()) == 1, done.err
    return done.err.removeprefix("Error: ").removesuffix("\n")
