"""Runs commands without starting Python for each: a process that has imported what they need forks for every one.

To start Python and to import gRPC takes ten times longer than what most commands do. A fork has its own arguments,
environment, standard streams and exit code, and ends as a process of Python ends. What depends on how Python itself
starts (a variable of Python's, another program) is run in the ordinary way.
"""

import asyncio
import atexit
import gc
import importlib
import io
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from contextlib import suppress
from typing import Any

from tests.harness import ROOT

LIBRARIES = (
    "a2a_grpc.client", "a2a_grpc.cli.app", "a2a_grpc.engine", "a2a_grpc.server", "aiohttp", "alembic", "grpc.aio",
    "google.rpc.error_details_pb2", "rich.console", "rich.progress", "rich.table",
    "sqlalchemy.dialects.sqlite", "typer._adapters", "pydantic.plugin._loader", "a2a_grpc.cli.verb",
    "a2a_grpc.cli.follow", "importlib.metadata",
)  # fmt: skip
MESSAGE_BYTES = 1 << 16


class Forked:
    """A command at work; has what is needed of `asyncio.subprocess.Process`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()

    def end(self, code: int) -> None:
        self.returncode = code
        self._ended.set()

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forks:
    """The process that forks, as the tests see it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.forks", str(theirs.fileno())], cwd=ROOT, pass_fds=[theirs.fileno()]
        )
        theirs.close()
        self._begun: list[asyncio.Future[Forked]] = []
        self._running: dict[int, Forked] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._hear)
        atexit.register(self._close)

    @staticmethod
    def can_run(arguments: tuple[str, ...], env: dict[str, str]) -> bool:
        """False for what depends on the start of Python, and for very long command lines."""
        is_ordinary = all(env.get(name) == os.environ.get(name) for name in (*env, *os.environ) if _is_pythons(name))
        return is_ordinary and len(_request(arguments, env)) < MESSAGE_BYTES

    async def run(self, arguments: tuple[str, ...], env: dict[str, str], descriptors: list[int]) -> Forked:
        """Begin a command with standard input, output and error."""
        begun: asyncio.Future[Forked] = self._loop.create_future()
        self._begun.append(begun)
        socket.send_fds(self._socket, [_request(arguments, env)], descriptors)
        return await begun

    def _hear(self) -> None:
        try:
            heard = self._socket.recv(MESSAGE_BYTES)
        except ConnectionResetError:
            heard = b""
        if not heard:
            self._loop.remove_reader(self._socket)
            for begun in self._begun:
                begun.set_exception(RuntimeError("the process that forks has ended; it says why on standard error"))
            return
        pid, code = json.loads(heard)
        if code is None:
            self._running[pid] = forked = Forked(pid)
            self._begun.pop(0).set_result(forked)
        else:
            self._running.pop(pid).end(code)

    def _close(self) -> None:
        self._socket.close()
        self._process.wait()


def _request(arguments: tuple[str, ...], env: dict[str, str]) -> bytes:
    return json.dumps([arguments, env]).encode()


def _is_pythons(name: str) -> bool:
    return name.startswith(("PYTHON", "LC_", "LANG"))


# -- the process that forks


def main(ours: socket.socket) -> None:
    """Fork for each request until the tests have gone. In a fork, return once it is ready to be the command."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a fork shares the memory of what is there as long as it is not looked at
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    while True:
        ready, _, _ = select.select([ours.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            for pid, code in ended():
                ours.send(json.dumps([pid, code]).encode())
            continue
        request, descriptors, _, _ = socket.recv_fds(ours, MESSAGE_BYTES, 3)
        if not request:
            os._exit(0)
        if (pid := os.fork()) == 0:
            signal.set_wakeup_fd(-1)
            for descriptor in (ours.detach(), woken, wake):
                os.close(descriptor)
            arguments, env = json.loads(request)
            become(arguments, env, descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        ours.send(json.dumps([pid, None]).encode())


def ended() -> list[tuple[int, int]]:
    """The forks that have ended, with their exit codes."""
    found: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        found.append((pid, os.waitstatus_to_exitcode(status)))


def become(arguments: list[str], env: dict[str, str], descriptors: list[int]) -> None:
    """Make this process what a fresh one would be."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(env)
    random.seed()
    sys.argv = ["a2a-grpc", *arguments]
    sys.stdin = stream(0)
    sys.stdout = stream(1)
    sys.stderr = stream(2, errors="backslashreplace", line_buffering=True)


def stream(number: int, errors: str = "strict", line_buffering: bool = False) -> Any:
    """A standard stream as Python makes it."""
    raw = open(number, "rb" if number == 0 else "wb", closefd=False)  # noqa: SIM115
    is_terminal = os.isatty(number)
    return io.TextIOWrapper(raw, errors=errors, line_buffering=line_buffering or is_terminal)


def play() -> None:
    """Be the command to its end. Of Python's own end only what users see is done: to take apart everything that was
    imported takes longer than the command."""
    code: Any = 0
    try:
        runpy.run_module("a2a_grpc", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for written in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            written.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
    play()
