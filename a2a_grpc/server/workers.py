"""Several processes that serve on one port, looked after by a process that serves nothing itself."""

import asyncio
import json
import socket
import sys
import time
from collections.abc import Coroutine, Mapping
from contextlib import ExitStack, suppress
from typing import Any

from a2a_grpc.backoff import Backoff
from a2a_grpc.config import ConfigurationError
from a2a_grpc.listening.ports import check_free, held
from a2a_grpc.server.settings import ServerSettings
from a2a_grpc.server.worker import Orders, Tell

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0
"""How long a worker that ended waits to be started again."""

STEADY_S = 30.0
"""A worker that lived so long is started again as quickly as the first time."""

PATIENCE_S = 15.0
"""How much longer than the grace a worker may take to drain."""

LAST_WORDS_S = 1.0
"""How long the events of a worker that ended may take to arrive; a process that it forked may hold the line."""


class NeverReadyError(RuntimeError):
    """A worker that ended before it was ready for the first time: another try would end the same way."""

    def __init__(self, number: int, code: int) -> None:
        super().__init__(f"worker {number} ended ({how_ended(code)}) before it was ready")
        self.code = code
        """Its exit code; a negative number is a signal's."""


class Workers:
    """The workers of one server, from their start to their end.

    Guarantees:

    - The ports are taken before the first worker starts, and until the last one has ended.
    - The first worker shows whether the others can start: what keeps it from serving is told once, by itself.
    - A worker that was ready and ends is started again, after a while that grows if it does not last.
    - However this process ends, its workers end too: they drain, and those that take longer than they may are killed.

    Each worker is this program's command once more, never a fork: gRPC has threads that a fork would not have. It has a
    session of its own, so that Ctrl-C reaches this process alone.
    """

    def __init__(self, settings: ServerSettings, *, tell: Tell) -> None:
        self._settings = settings
        self._tell = tell
        self._patience_s = settings.drain_grace_s + PATIENCE_S
        self._ordered: dict[str, Any] = {}
        self._ready = {number: asyncio.Event() for number in range(1, settings.workers + 1)}
        self._addresses: dict[str, Any] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._processes: set[asyncio.subprocess.Process] = set()

    async def run(self, told: "asyncio.Future[str]") -> None:
        """Serves until `told` names a signal, then drains. Raises ListenError for a port that is taken,
        NeverReadyError."""
        with ExitStack() as ports:
            self._take_ports(ports)
            never_ready: NeverReadyError | None = None
            try:
                async with asyncio.TaskGroup() as group:
                    self._spawn(group, self._start(group), "a2a-grpc-workers")
                    await asyncio.wait([told])
                    self._say("draining", {"signal": told.result()})
                    for task in self._tasks:
                        task.cancel()
            except* NeverReadyError as errors:
                never_ready = next(error for error in errors.exceptions if isinstance(error, NeverReadyError))
            if never_ready is not None:
                raise never_ready
        self._say("stopped", {})

    def kill(self) -> None:
        """Ends all workers at once."""
        for process in self._processes:
            with suppress(ProcessLookupError):  # it has just ended
                process.kill()

    def _take_ports(self, ports: ExitStack) -> None:
        self._ordered = {"workers": 1, "reuse_port": True}
        taken: dict[str, list[str]] = {}
        for listener in self._settings.listening:
            name, host, port = listener.setting, listener.host, listener.port
            if port and not self._settings.reuse_port:
                check_free(host, port, name)
            taken_port = ports.enter_context(held(host, port, name))
            taken.setdefault(name, []).append(listener._replace(port=taken_port).text)
        self._ordered |= {name: ",".join(addresses) for name, addresses in taken.items()}

    def _spawn(self, group: asyncio.TaskGroup, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(group.create_task(work, name=name))

    async def _start(self, group: asyncio.TaskGroup) -> None:
        """Starts the workers; tells it once all are ready."""
        for number, ready in self._ready.items():
            self._spawn(group, self._keep(number), f"a2a-grpc-worker-{number}")
            if number == 1:
                await ready.wait()
        for ready in self._ready.values():
            await ready.wait()
        self._tell("ready", {**self._addresses, "workers": len(self._ready)})

    async def _keep(self, number: int) -> None:
        """Keeps a worker running, until canceled."""
        backoff = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S)
        ended = ""
        while True:
            began = time.monotonic()
            code = await self._run_one(number, ended)
            if not self._ready[number].is_set():
                raise NeverReadyError(number, code)
            ended = how_ended(code)
            if time.monotonic() - began >= STEADY_S:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())

    async def _run_one(self, number: int, before: str) -> int:
        """One life of a worker: its exit code. Canceled, it lets the worker drain."""
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_unix_connection(sock=ours)
            orders = Orders(theirs.fileno(), self._ordered, self._patience_s)
            process = await asyncio.create_subprocess_exec(
                sys.executable, *sys.orig_argv[1:],
                stdin=asyncio.subprocess.DEVNULL, pass_fds=[orders.line], env=orders.environment(),
                start_new_session=True,
            )  # fmt: skip
        self._processes.add(process)
        listening = asyncio.create_task(self._listen(number, reader), name=f"a2a-grpc-worker-{number}-events")
        try:
            if before:
                self._say("restarted", {"worker": number, "ended": before})
            return await process.wait()
        finally:
            await self._end(process)
            self._processes.remove(process)
            await asyncio.wait([listening], timeout=LAST_WORDS_S)
            listening.cancel()
            writer.close()

    async def _listen(self, number: int, reader: asyncio.StreamReader) -> None:
        """Hears what a worker tells; the first one's is told further, until it is ready for the first time."""
        async for line in reader:
            values = json.loads(line)
            event = values.pop("event")
            if event == "ready":
                self._addresses = values
                self._ready[number].set()
            elif number == 1 and not self._ready[number].is_set():
                self._tell(event, values)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        try:
            process.terminate()
            async with asyncio.timeout(self._patience_s):
                await process.wait()
        except ProcessLookupError:
            return  # it has ended
        except TimeoutError:
            process.kill()
            await process.wait()

    def _say(self, event: str, values: Mapping[str, Any]) -> None:
        with suppress(OSError):  # the program that started this one may not read any more
            self._tell(event, values)


def check_workers(settings: ServerSettings, *, store: str) -> None:
    """Raises ConfigurationError for workers that could not share the ports, or a store that somebody has named."""
    if store.startswith("memory"):
        raise ConfigurationError(
            f"workers is {settings.workers}, store is '{store}': each worker would know its own tasks only; "
            "give a store that processes share, as --store sqlite:///tasks.db, or --workers 1"
        )
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigurationError(
            f"workers is {settings.workers}: processes cannot share a port on this platform (it has no SO_REUSEPORT); "
            "start servers on ports of their own, with a load balancer before them"
        )


def how_ended(code: int) -> str:
    """How a process ended, by its exit code as Python gives it."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"
