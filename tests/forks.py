"""Run Python programs without starting Python for each: a process that has imported what they need forks for each.

To start Python and to import gRPC takes ten times longer than what most programs do. A fork has its own arguments,
environment, standard streams and exit code, and ends as a process of Python ends. PYTHONPATH counts as in a process of
its own. A program that depends on how Python itself starts (another variable of Python, an option) is run in the
ordinary way.

Commands of `a2a-grpc` in tests/cli are always forks. Other programs are forks in `make test`, which sets TESTS_FORK=1.
`make test-all` sets TESTS_FORK=again: there Python is started for the first run of each program.
"""

import asyncio
import atexit
import gc
import hashlib
import importlib
import io
import json
import os
import pkgutil
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

LIBRARIES = (
    "aiohttp", "aiohttp.web", "alembic.command", "argparse", "concurrent.futures.thread",
    "cryptography.hazmat.primitives.ciphers.aead", "cryptography.hazmat.primitives.serialization.ssh", "encodings.idna",
    "google.rpc.error_details_pb2", "grpc.aio", "importlib.metadata", "jwt", "pydantic.plugin._loader", "rich.console",
    "rich.markdown", "rich.progress", "rich.table", "sqlalchemy.dialects.mysql", "sqlalchemy.dialects.sqlite",
    "sqlite3", "typer._adapters", "typer.rich_utils",
)  # fmt: skip
NOT_IMPORTED = (".__main__", ".adapters", ".contract", ".migrations.env", ".testing", ".versions.")
"""Parts of the names of our modules that do something when they are imported, or that few programs import."""
AS_ON_WINDOWS = ("-m", "tests.programs.as_on_windows")
"""It takes names away from modules of Python, before our modules look for them when they are imported."""
MESSAGE_BYTES = 1 << 16
OUTPUT_BYTES = 1 << 26
"""How much of the output of a program may wait to be read."""


class Forked:
    """A program at work. It has what tests need of `asyncio.subprocess.Process`."""

    stdin = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
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
            with suppress(ProcessLookupError):  # the program has ended, and its exit code is on its way
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    async def communicate(self) -> tuple[bytes, bytes]:
        """Return the rest of both outputs, when the program has ended."""
        out, err = [await output.read() if output else b"" for output in (self.stdout, self.stderr)]
        await self.wait()
        return out, err


class Forks:
    """The process that forks, as the tests see it. There is one for each process of pytest."""

    _only: "Forks | None" = None

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forks", str(theirs.fileno())],
            cwd=ROOT,
            env={
                **{name: value for name, value in os.environ.items() if not _counts_at_the_start(name)},
                **AT_THE_START,
                "GRPC_ENABLE_FORK_SUPPORT": "0",  # as `a2a-grpc` says before it imports gRPC
            },
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._begun: list[asyncio.Future[Forked]] = []
        self._running: dict[int, Forked] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._hear)
        atexit.register(self._close)

    @classmethod
    def open(cls) -> "Forks":
        """Return the process that forks, which is started at the first call."""
        if cls._only is None:
            cls._only = cls()
        return cls._only

    async def run(self, command: Sequence[str], env: dict[str, str], descriptors: list[int]) -> Forked:
        """Begin a program with standard input, output and error."""
        begun: asyncio.Future[Forked] = self._loop.create_future()
        self._begun.append(begun)
        socket.send_fds(self._socket, [_request(command, env)], descriptors)
        return await begun

    async def run_piped(
        self, command: Sequence[str], env: dict[str, str], *, stdin: int = 0, stderr: int | None = None
    ) -> Forked:
        """Begin a program whose outputs are read by the tests, except for standard error if a descriptor is given."""
        out, out_end = os.pipe()
        err, err_end = (-1, stderr) if stderr is not None else os.pipe()
        try:
            forked = await self.run(command, env, [stdin, out_end, err_end])
        finally:
            os.close(out_end)
            if stderr is None:
                os.close(err_end)
        forked.stdout = await self._reader(out)
        forked.stderr = await self._reader(err) if stderr is None else None
        return forked

    async def _reader(self, descriptor: int) -> asyncio.StreamReader:
        reader = asyncio.StreamReader(limit=OUTPUT_BYTES)
        await self._loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
        )
        return reader

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


STARTED = "TESTS_STARTED"
"""The variable with the folder that has a file for each program for which a process of pytest has started Python."""


def is_fork(command: Sequence[str], env: dict[str, str]) -> bool:
    """Return True if a program is to be a fork now, as TESTS_FORK in its environment says."""
    wanted = env.get("TESTS_FORK", "")
    if wanted != "again":
        return wanted != ""
    program = " ".join(command[:3]) if command[0] == "-m" else command[0]
    try:
        Path(os.environ[STARTED], hashlib.sha256(program.encode()).hexdigest()).touch(exist_ok=False)
    except FileExistsError:
        return True
    return False


def can_fork(command: Sequence[str], env: dict[str, str]) -> bool:
    """Return False for a program that depends on the start of Python, and for a very long command line."""
    is_program = command[0] == "-m" or command[0].endswith(".py")
    is_program &= tuple(command[:2]) != AS_ON_WINDOWS
    is_ordinary = {name: value for name, value in env.items() if _counts_at_the_start(name)} == AT_THE_START
    return is_program and is_ordinary and len(_request(command, env)) < MESSAGE_BYTES


def _request(command: Sequence[str], env: dict[str, str]) -> bytes:
    return json.dumps([list(command), env]).encode()


def _counts_at_the_start(name: str) -> bool:
    return name.startswith(("PYTHON", "LC_", "LANG", "GRPC_")) and name != "PYTHONPATH"


AT_THE_START = {name: value for name, value in os.environ.items() if _counts_at_the_start(name)}
"""Variables that Python and gRPC read when they are started or imported."""


# -- the process that forks


def main(ours: socket.socket) -> None:
    """Fork for each request until the tests have gone. In a fork, return once it is ready to be the program."""
    for name in (*LIBRARIES, *our_modules()):
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
            command, env = json.loads(request)
            become(command, env, descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        ours.send(json.dumps([pid, None]).encode())


def our_modules() -> list[str]:
    """The names of the modules of the package that programs import sooner or later."""
    found = pkgutil.walk_packages([str(ROOT / "a2a_grpc")], "a2a_grpc.")
    return [module.name for module in found if not any(part in f"{module.name}." for part in NOT_IMPORTED)]


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


def become(command: list[str], env: dict[str, str], descriptors: list[int]) -> None:
    """Make this process what a fresh one would be."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(env)
    random.seed()
    gc.unfreeze = _stay_frozen  # a server that starts looks at all objects, here at those that are its own
    sys.orig_argv = [sys.executable, *command]
    if command[0] == "-m":
        sys.argv = command[1:]
    else:
        sys.argv = command
        sys.path[0] = str(Path(command[0]).resolve().parent)
    sys.path[1:1] = [folder for folder in env.get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.stdin = stream(0)
    sys.stdout = stream(1)
    sys.stderr = stream(2, errors="backslashreplace", line_buffering=True)


_unfreeze = gc.unfreeze


def _stay_frozen() -> None:
    """Take the place of `gc.unfreeze` for one call."""
    gc.unfreeze = _unfreeze


def stream(number: int, errors: str = "strict", line_buffering: bool = False) -> Any:
    """A standard stream as Python makes it."""
    raw = open(number, "rb" if number == 0 else "wb", closefd=False)  # noqa: SIM115
    is_terminal = os.isatty(number)
    return io.TextIOWrapper(raw, errors=errors, line_buffering=line_buffering or is_terminal)


def play() -> None:
    """Be the program to its end. Of the end of Python only what users see is done: to take apart everything that was
    imported takes longer than the program."""
    code: Any = 0
    try:
        if sys.orig_argv[1] == "-m":
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as ended:
        code = ended.code
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
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
