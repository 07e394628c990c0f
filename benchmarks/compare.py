"""Run one job with poll, subscribe and callback, and print what each pattern costs. Each cell is measured.

The worker (servers/worker.py) is a process of its own. Proxies count bytes and connections. The last two rows kill the
worker, and the requester, in the middle of a job. A run takes about a minute.
"""

import argparse
import asyncio
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # gRPC would warn of each process that is started

import grpc.aio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "clients"))
from started import end, free_address, start

from a2a_grpc import Agent, Client, Server, ServerSettings, Task, connect, data_of
from a2a_grpc.agent import Callback, CallbackTask

PATTERNS = ("poll", "subscribe", "callback")
SETTLE_S = 0.3
"""Seconds for the last bytes of a call, such as acknowledgements of settings."""
JOBS = 20
"""The number of jobs for the lag."""
LIMIT_S = 60
"""Seconds in which a result has to come after a restart."""
QUIET = ["-o", "json", "--http-listen=off", "--drain-grace-s=0"]


class Meter:
    """A TCP proxy that counts bytes and connections."""

    def __init__(self, target: str) -> None:
        self._target = target.rpartition(":")
        self._ways: set[asyncio.Task[None]] = set()
        self.bytes = self.open = 0
        self.address = ""

    async def __aenter__(self) -> "Meter":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for way in self._ways:
            way.cancel()
        await asyncio.gather(*self._ways, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way = asyncio.current_task()
        assert way is not None
        self._ways.add(way)
        self.open += 1
        ends = [writer]
        try:
            host, _, port = self._target
            there, there_writer = await asyncio.open_connection(host, int(port))
            ends.append(there_writer)
            await asyncio.gather(self._pump(reader, there_writer), self._pump(there, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            self._ways.discard(way)
            for one in ends:
                one.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while chunk := await source.read(65536):
            self.bytes += len(chunk)
            sink.write(chunk)
            await sink.drain()
        sink.close()


class Unary(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    """Counts the calls of a client that have one response."""

    count = 0

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        self.count += 1
        return await continuation(details, request)


class Streams(grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[misc]
    """Counts the streams of a client."""

    count = 0

    async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        self.count += 1
        return await continuation(details, request)


class Requester:
    """An agent that notes when results arrive."""

    def __init__(self) -> None:
        self.agent = Agent("Requester", "Takes results.")
        self.agent.on_callback(self.finished)
        self.arrived: dict[str, asyncio.Future[float]] = {}
        self.calls = 0

    async def finished(self, callback: Callback) -> None:
        """Take the result of a task of another agent."""
        self.calls += 1
        self.of(callback.task_id).set_result(time.time() - finished_at(callback.parts))

    def of(self, task_id: str) -> "asyncio.Future[float]":
        return self.arrived.setdefault(task_id, asyncio.get_running_loop().create_future())


def finished_at(result: Any) -> float:
    """Return when the worker was finished, as its result says."""
    found = data_of(result)
    assert isinstance(found, dict)
    return float(str(found["finished"]))


@dataclass
class Run:
    """What one job has cost."""

    calls: int = 0
    bytes: int = 0
    while_working: int = 0
    connections: int = 0
    lags: list[float] = field(default_factory=list)


@dataclass
class Rig:
    """The worker with its proxy, and the requester with its own."""

    worker: str
    to_worker: Meter
    to_requester: Meter
    requester: Requester
    interval_s: float

    def wish(self) -> CallbackTask:
        """Return what asks for a callback through the proxy."""
        issued = self.requester.agent.callbacks.issue()
        return CallbackTask(f"grpc://{self.to_requester.address}", issued.headers)

    @property
    def bytes(self) -> int:
        return self.to_worker.bytes + self.to_requester.bytes

    @property
    def open(self) -> int:
        return self.to_worker.open + self.to_requester.open


@asynccontextmanager
async def client_at(rig: Rig, *interceptors: grpc.aio.ClientInterceptor) -> AsyncIterator[Client]:
    async with connect(rig.to_worker.address, interceptors=interceptors) as client:
        yield client


async def job(rig: Rig, pattern: str, seconds: float, run: Run) -> None:
    """Run one job, and count what it costs."""
    unary, streams, before, taken = Unary(), Streams(), rig.bytes, rig.requester.calls
    working = asyncio.create_task(asyncio.sleep(0))
    if pattern == "callback":
        async with client_at(rig, unary, streams) as client:
            started = await begin(client, seconds, rig.wish())
        await asyncio.sleep(SETTLE_S)
        working = asyncio.create_task(watch(rig, seconds, run))
        await rig.requester.of(started.id)
    else:
        async with client_at(rig, unary, streams) as client:
            started = await begin(client, seconds)
            waiting = asyncio.create_task(wait(client, started, pattern, rig.interval_s))
            await asyncio.sleep(SETTLE_S)
            working = asyncio.create_task(watch(rig, seconds, run))
            await waiting
    await working
    await asyncio.sleep(SETTLE_S)
    run.calls = unary.count + streams.count + rig.requester.calls - taken
    run.bytes = rig.bytes - before


async def watch(rig: Rig, seconds: float, run: Run) -> None:
    """Count what is sent, and which connections there are, from now until shortly before the job is done."""
    before = rig.bytes
    await asyncio.sleep(seconds / 2)
    run.connections = rig.open
    await asyncio.sleep(seconds / 2 - 3 * SETTLE_S)
    run.while_working = rig.bytes - before


async def begin(client: Client, seconds: float, wish: CallbackTask | None = None) -> Task:
    options = {"callback": wish} if wish else {}
    started = await client.start({"seconds": seconds}, **options)  # type: ignore[arg-type]
    assert isinstance(started, Task)
    return started


async def wait(client: Client, started: Task, pattern: str, interval_s: float) -> float:
    """Wait by a pattern. Return the seconds between the end of the job and the result."""
    if pattern == "poll":
        task = await client.wait(started, strategy="poll", poll_s=interval_s)
    else:
        task = await client.wait(started, strategy="subscribe")
    return time.time() - finished_at(task)


async def lags(rig: Rig, pattern: str) -> list[float]:
    """Return the lag of several jobs, which end at different times."""
    chance = random.Random(1)
    async with client_at(rig) as client:

        async def one() -> float:
            seconds = rig.interval_s * (1 + chance.random())
            await asyncio.sleep(chance.random() * rig.interval_s)
            if pattern != "callback":
                return await wait(client, await begin(client, seconds), pattern, rig.interval_s)
            return await rig.requester.of((await begin(client, seconds, rig.wish())).id)

        return list(await asyncio.gather(*(one() for _ in range(JOBS))))


# -- restarts


class Worker:
    """The worker as a process, which can be killed and started again at the same address, with the same store."""

    def __init__(self, folder: str, stack: ExitStack) -> None:
        self.address = free_address(stack)
        self._stack = stack
        self._options = [f"--store=sqlite:///{folder}/worker.db", "--lease-s=1", "--push-allow=127.0.0.0/8", *QUIET]
        self._process = self._started()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        self._process = self._started()

    def _started(self) -> "subprocess.Popen[str]":
        command = ["servers/worker.py", f"--listen={self.address}", *self._options]
        process = start(command, self._stack, stdout=subprocess.PIPE)
        if not is_ready(process):
            sys.exit("Error: the worker does not start")
        return process


def is_ready(process: "subprocess.Popen[str]") -> bool:
    """Wait until a server is ready. Return False if it has ended instead."""
    return any('"ready"' in line for line in process.stdout or ())


async def survives_worker(rig: Rig, worker: Worker, pattern: str) -> str:
    """Kill the worker in the middle of a job, and start it again. Return whether the result came, and how often."""
    seconds, taken = 2.0, rig.requester.calls
    async with client_at(rig) as client:
        started = await begin(client, seconds, rig.wish() if pattern == "callback" else None)
        result: asyncio.Future[float] = (
            rig.requester.of(started.id)
            if pattern == "callback"
            else asyncio.ensure_future(wait(client, started, pattern, rig.interval_s))
        )
        await asyncio.sleep(seconds / 2)
        await asyncio.to_thread(worker.kill)
        await asyncio.to_thread(worker.restart)
        async with asyncio.timeout(LIMIT_S):
            await result
    await asyncio.sleep(SETTLE_S)
    count = rig.requester.calls - taken if pattern == "callback" else 1
    return "result once" if count == 1 else f"result {count} times"


async def survives_requester(rig: Rig, worker: Worker, pattern: str, folder: str, stack: ExitStack) -> str:
    """Kill the requester in the middle of a job. Start it again when the job is done. Return whether it has the result.

    A requester that polls or subscribes has to keep the id of the task. The one that is called back keeps nothing.
    """
    if pattern == "callback":
        return await _called_back_later(worker, folder, stack)
    async with connect(worker.address) as client:
        started = await begin(client, 3.0)
    command = ["-m", "a2a_grpc", "wait", started.id, f"--agent={worker.address}", f"--strategy={pattern}"]
    first = start(command, stack, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    await asyncio.sleep(1.5)
    first.kill()
    await asyncio.sleep(2.0)
    again = start(command, stack, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, _ = await asyncio.to_thread(again.communicate)
    return "with the id of the task" if "done in 3s" in said else "no"


async def _called_back_later(worker: Worker, folder: str, stack: ExitStack) -> str:
    address = free_address(stack)
    command = ["clients/requester.py", f"--listen={address}", f"--store=sqlite:///{folder}/requester.db", *QUIET]
    first = start(command, stack, stdout=subprocess.PIPE)
    if not is_ready(first):
        sys.exit("Error: the requester does not start")
    async with connect(address) as requester, connect(worker.address) as client:
        invited = data_of(await requester.send({"correlation_id": "compare"}))
        assert isinstance(invited, dict)
        started = await begin(client, 1.0, CallbackTask(**invited))  # type: ignore[arg-type]
    first.kill()
    await asyncio.sleep(1.5)
    again = start(command, stack, stdout=subprocess.PIPE)
    lines = []
    async with asyncio.timeout(LIMIT_S):
        while not lines or started.id not in lines[-1]:
            lines.append(await asyncio.to_thread((again.stdout or sys.stdin).readline))
    await asyncio.sleep(SETTLE_S)
    end(again)
    count = sum(started.id in line for line in lines)
    return "result once" if count == 1 else f"result {count} times"


# -- the table


def table(rows: list[tuple[str, list[str]]]) -> str:
    """Return rows as a table of Markdown."""
    lines = [("", list(PATTERNS)), *rows]
    widths = [max(len(name) for name, _ in lines)]
    widths += [max(len(cells[place]) for _, cells in lines) for place in range(len(PATTERNS))]
    shown = [
        " | ".join(cell.ljust(width) for cell, width in zip([name, *cells], widths, strict=True))
        for name, cells in lines
    ]
    shown.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in shown)


async def measure(options: argparse.Namespace, folder: str, stack: ExitStack) -> str:
    """Run everything. Return the table."""
    worker, requester = await asyncio.to_thread(Worker, folder, stack), Requester()
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off")
    async with Server(requester.agent, settings) as server:
        async with Meter(worker.address) as to_worker, Meter(server.grpc_address) as to_requester:
            rig = Rig(worker.address, to_worker, to_requester, requester, options.interval)
            runs = {pattern: Run() for pattern in PATTERNS}
            for pattern, run in runs.items():
                print(f"measuring {pattern}", file=sys.stderr, flush=True)
                await job(rig, pattern, options.seconds, run)
                run.lags = await lags(rig, pattern)
            worker_rows, requester_rows = [], []
            for pattern in PATTERNS:
                print(f"restarting with {pattern}", file=sys.stderr, flush=True)
                worker_rows.append(await survives_worker(rig, worker, pattern))
                requester_rows.append(await survives_requester(rig, worker, pattern, folder, stack))
    said = list(runs.values())
    return table(
        [
            ("round trips", [str(run.calls) for run in said]),
            ("bytes, both directions", [str(run.bytes) for run in said]),
            ("bytes while the job works", [str(run.while_working) for run in said]),
            ("connections held", [str(run.connections) for run in said]),
            ("lag, median", [f"{statistics.median(run.lags) * 1000:.1f} ms" for run in said]),
            (f"lag, worst of {JOBS}", [f"{max(run.lags) * 1000:.1f} ms" for run in said]),
            ("worker killed and restarted", worker_rows),
            ("requester killed and restarted", requester_rows),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.5, help="length of the job; default: %(default)s")
    parser.add_argument("--interval", type=float, default=1, help="seconds between two polls; default: %(default)s")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C, so that no process stays
    try:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            print(f"a job of {options.seconds:g} s, polled every {options.interval:g} s")
            print(asyncio.run(measure(options, folder, stack)))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
