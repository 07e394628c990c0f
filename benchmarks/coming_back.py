"""1,000 agents that come back to a sentinel after its kill -9: when each is attached again, and what this costs.

python benchmarks/coming_back.py
python benchmarks/coming_back.py --agents 300 --away-s 5

The agents are attachments in four processes, each with a server that echoes. At the end each agent answers one call.
"""

import argparse
import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import grpc.aio

from a2a_grpc.sentinel import Attachment, AttachSettings
from a2a_grpc.wire import SERVICE_NAME, GetTaskRequest

ROOT = Path(__file__).resolve().parent.parent
PROCESSES = 4
LIMIT_S = 120.0
GET = f"/{SERVICE_NAME}/GetTask"
TICKS = os.sysconf("SC_CLK_TCK")


class Echo(grpc.GenericRpcHandler):
    """Answers each unary call with its request."""

    def service(self, handler_call_details):
        async def echo(request: bytes, context) -> bytes:
            return request

        return grpc.unary_unary_rpc_method_handler(echo)


class Tell(logging.Handler):
    """Prints when an agent has attached. CLOCK_MONOTONIC is one clock for all processes."""

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith("attached"):
            print(time.monotonic(), flush=True)


async def be_agents(sentinel: str, first: int, count: int) -> None:
    """Keep agents attached until the standard input ends."""
    log = logging.getLogger("a2a_grpc.sentinel")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(Tell())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "s")
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Echo(),))
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        async with AsyncExitStack() as stack:
            for number in range(first, first + count):
                settings = AttachSettings(attach=sentinel, address=address(number))
                attachment = await stack.enter_async_context(Attachment(settings))
                attachment.serve(path)
            await asyncio.to_thread(sys.stdin.read)
        await server.stop(None)


def address(number: int) -> str:
    return f"agent-{number}@load"


def used_s(pid: int) -> float:
    """Return the CPU time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def started(at: str) -> asyncio.subprocess.Process:
    """Start a sentinel, and wait until it is ready."""
    command = (sys.executable, "-m", "a2a_grpc", "sentinel", "--listen", at, "--http-listen", "off", "-o", "json")
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    while b'"ready"' not in (line := await process.stdout.readline()):
        assert line, "the sentinel has ended"
    return process


class Agents:
    """The processes of the agents, and the times at which agents have attached."""

    def __init__(self) -> None:
        self.processes: list[asyncio.subprocess.Process] = []
        self.times: list[float] = []
        self._came = asyncio.Event()
        self._reading: list[asyncio.Task[None]] = []

    async def start(self, at: str, count: int) -> None:
        for place in range(PROCESSES):
            first, last = count * place // PROCESSES, count * (place + 1) // PROCESSES
            command = (sys.executable, __file__, "--be", at, str(first), str(last - first))
            process = await asyncio.create_subprocess_exec(
                *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
            )
            self.processes.append(process)
            self._reading.append(asyncio.create_task(self._read(process)))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            self.times.append(float(line))
            self._came.set()

    async def attached(self, count: int) -> list[float]:
        """Wait until so many agents have attached. Return when, in order, and forget it."""
        async with asyncio.timeout(LIMIT_S):
            while len(self.times) < count:
                await self._came.wait()
                self._came.clear()
        times, self.times = sorted(self.times), []
        return times

    @property
    def cpu_s(self) -> float:
        return sum(used_s(process.pid) for process in self.processes)

    async def stop(self) -> None:
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.close()
        await asyncio.gather(*(process.wait() for process in self.processes), *self._reading)


async def answering(at: str, count: int) -> int:
    """Return the number of agents that answer a call through the sentinel."""
    async with grpc.aio.insecure_channel(at) as channel:
        get = channel.unary_unary(GET)
        answered = 0
        for number in range(count):
            request = GetTaskRequest(tenant=address(number), id="t").SerializeToString()
            answered += await get(request, timeout=30) == request
        return answered


async def measure(count: int, away_s: float) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        at = f"127.0.0.1:{free.getsockname()[1]}"
    sentinel, agents = await started(at), Agents()
    await agents.start(at, count)
    try:
        await agents.attached(count)
        print(f"{count} agents are attached")
        await asyncio.sleep(2)
        idle_s = used_s(sentinel.pid)
        await asyncio.sleep(5)
        print(f"idle: the sentinel takes {20 * (used_s(sentinel.pid) - idle_s):.1f} % of a core")
        sentinel.send_signal(signal.SIGKILL)
        await sentinel.wait()
        before_s = agents.cpu_s
        await asyncio.sleep(away_s)
        sentinel = await started(at)
        ready, ready_s = time.monotonic(), used_s(sentinel.pid)
        times = await agents.attached(count)
        sentinel_s, agents_s = used_s(sentinel.pid) - ready_s, agents.cpu_s - before_s
        after = [max(0.0, moment - ready) for moment in times]
        shown = ", ".join(
            f"{share} % {after[len(after) * share // 100 - 1]:.2f} s" for share in (1, 10, 50, 90, 99, 100)
        )
        print(f"attached again after the sentinel was ready: {shown}")
        begin = int(times[0])
        tenths = [0] * (int(10 * (times[-1] - begin)) + 1)
        for moment in times:
            tenths[int(10 * (moment - begin))] += 1
        print(f"most in a tenth of a second: {max(tenths)}")
        print(f"CPU until then: {sentinel_s:.2f} s in the sentinel, {agents_s:.2f} s in the processes of the agents")
        print(f"{await answering(at, count)} agents answer a call")
    finally:
        await agents.stop()
        if sentinel.returncode is None:
            sentinel.terminate()
        await sentinel.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--away-s", type=float, default=0.0, help="Seconds before the sentinel is started again.")
    parser.add_argument("--be", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be:
        asyncio.run(be_agents(options.be[0], int(options.be[1]), int(options.be[2])))
    else:
        asyncio.run(measure(options.agents, options.away_s))


if __name__ == "__main__":
    main()
