"""Several processes that serve on one port, looked after by a process that serves nothing itself."""

import asyncio
import json
import logging
import socket
import sys
import time
from collections.abc import Coroutine
from contextlib import ExitStack, suppress
from typing import Any

from a2a_grpc.backoff import Backoff
from a2a_grpc.config import ConfigurationError
from a2a_grpc.listening.ports import check_free, held
from a2a_grpc.server.settings import ServerSettings
from a2a_grpc.server.suspended import watched
from a2a_grpc.server.worker import Orders, Reporter, report_if_read

logger = logging.getLogger("a2a_grpc.server")

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0
"""How long a worker that ended waits to be started again."""

STEADY_S = 30.0
"""A worker that lived so long is started again as quickly as the first time."""

MORE_DRAIN_S = 15.0
"""Seconds that a worker may take to drain, in addition to the grace."""

LAST_EVENTS_S = 1.0
"""Seconds to wait for the last events of a worker that has ended. Its socket stays open if a process that the worker
forked still has it."""

STARTS = 3
"""How often a worker is started that a signal ends before it is ready for the first time."""


class NeverReadyError(RuntimeError):
    """A worker ended before it was ready for the first time, by itself or `STARTS` times by a signal.

    Args:
        number: The number of the worker.
        code: Its exit code, in the form of `subprocess`.
        starts: The number of times that the worker was started.
    """

    def __init__(self, number: int, code: int, starts: int) -> None:
        times = f"{starts} times " if starts > 1 else ""
        super().__init__(f"worker {number} ended {times}({how_ended(code)}) before it was ready")
        self.code = code
        """The exit code of the worker; a negative number is that of a signal."""


class Workers:
    """The workers of one server, from their start to their end.

    Guarantees:

    - This process holds the ports before the first worker starts, and until the last worker has ended.
    - The other workers start when the first one is ready. So an error that all workers would have is printed once.
    - A worker that was ready and ends is started again. The pause before grows if workers end soon after their start.
    - A worker that a signal ends before it is ready is started again, too, but only twice.
    - Once all workers were ready, a worker that the system cannot start again is tried again. The others go on.
    - A worker that SIGSTOP has stopped is replaced after some seconds, because the kernel still gives it connections.
    - If this process ends in any way, the workers drain. A worker that takes too long to drain is killed.

    Each worker runs the command of this program again, and is not a fork, because a fork does not have the threads of
    gRPC. Each worker has a session of its own, so that Ctrl-C reaches only this process.
    """

    def __init__(self, settings: ServerSettings, *, report: Reporter) -> None:
        self._settings = settings
        self._report = report
        self._drain_s = settings.drain_grace_s + MORE_DRAIN_S
        self._ordered: dict[str, Any] = {}
        self._ready = {number: asyncio.Event() for number in range(1, settings.workers + 1)}
        self._stopped: set[int] = set()
        self._addresses: dict[str, Any] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._processes: set[asyncio.subprocess.Process] = set()

    async def run(self, signaled: "asyncio.Future[str]") -> None:
        """Serve until a signal comes, then drain.

        Args:
            signaled: The name of the signal, once it has come.

        Raises:
            ListenError: A port is taken.
            NeverReadyError: A worker ended before it was ready for the first time.
        """
        with ExitStack() as ports:
            self._take_ports(ports)
            never_ready: NeverReadyError | None = None
            try:
                async with asyncio.TaskGroup() as group:
                    self._spawn(group, self._start(group), "a2a-grpc-workers")
                    await asyncio.wait([signaled])
                    report_if_read(self._report, "draining", {"signal": signaled.result()})
                    for task in self._tasks:
                        task.cancel()
            except* NeverReadyError as errors:
                never_ready = next(error for error in errors.exceptions if isinstance(error, NeverReadyError))
            if never_ready is not None:
                raise never_ready
        report_if_read(self._report, "stopped", {})

    def kill(self) -> None:
        """Kill all workers."""
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
        """Start the workers. Report "ready" when all of them are."""
        for number, ready in self._ready.items():
            self._spawn(group, self._keep(number), f"a2a-grpc-worker-{number}")
            if number == 1:
                await ready.wait()
        for ready in self._ready.values():
            await ready.wait()
        self._report("ready", {**self._addresses, "workers": len(self._ready)})

    async def _keep(self, number: int) -> None:
        """Start a worker, and start it again each time that it ends."""
        backoff = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S)
        ended = ""
        starts = 0
        while True:
            began = time.monotonic()
            starts += 1
            self._stopped.discard(number)
            try:
                code = await self._run_one(number, ended)
            except OSError as error:  # too little memory, or too many processes or files
                if not all(ready.is_set() for ready in self._ready.values()):
                    raise
                logger.error("cannot start a worker again yet worker=%d reason=%s", number, error)
            else:
                by_signal = code < 0 or number in self._stopped
                if not self._ready[number].is_set() and not (by_signal and starts < STARTS):
                    raise NeverReadyError(number, code, starts)
                ended = how_ended(code)
            if time.monotonic() - began >= STEADY_S:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())

    async def _run_one(self, number: int, before: str) -> int:
        """Run a worker until it ends. Return its exit code. If canceled, let the worker drain."""
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_unix_connection(sock=ours)
            orders = Orders(theirs.fileno(), self._ordered, self._drain_s)
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, *sys.orig_argv[1:],
                    stdin=asyncio.subprocess.DEVNULL, pass_fds=[orders.line], env=orders.environment(),
                    start_new_session=True,
                )  # fmt: skip
            except BaseException:
                writer.close()
                raise
        self._processes.add(process)
        listening = asyncio.create_task(self._listen(number, reader), name=f"a2a-grpc-worker-{number}-events")
        try:
            if before:
                report_if_read(self._report, "restarted", {"worker": number, "ended": before})
            async with watched(process.pid, number):
                return await process.wait()
        finally:
            await self._end(process)
            self._processes.remove(process)
            await asyncio.wait([listening], timeout=LAST_EVENTS_S)
            listening.cancel()
            writer.close()

    async def _listen(self, number: int, reader: asyncio.StreamReader) -> None:
        """Read the events of a worker. Report those of the first worker until it is ready for the first time."""
        async for line in reader:
            values = json.loads(line)
            event = values.pop("event")
            if event == "ready":
                self._addresses = values
                self._ready[number].set()
            elif event == "stopped":  # by a signal, also during the start
                self._stopped.add(number)
            elif number == 1 and not self._ready[number].is_set():
                self._report(event, values)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        try:
            process.terminate()
            async with asyncio.timeout(self._drain_s):
                await process.wait()
        except ProcessLookupError:
            return  # it has ended
        except TimeoutError:
            process.kill()
            await process.wait()


def check_workers(settings: ServerSettings, *, store: str) -> None:
    """Raise ConfigurationError if workers cannot share the ports, or the store that the settings name."""
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
    """Return how a process ended, for its exit code in the form of `subprocess`."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"
