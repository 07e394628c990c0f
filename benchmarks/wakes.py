"""Compare two ways to notice what another process has written to an SQLite file: sockets, and `PRAGMA data_version`.

A process writes records to tasks. Another one follows the tasks, with the bus that the package has (`bus/machine.py`),
or with a bus that polls `PRAGMA data_version`. The pragma says that some process has written, and not to which task. So
each change costs one statement that asks for the newest records of all followed tasks, as `Log.poll` does it.

The time goes from the end of a write to the record at its follower. The processor time is that of the following
process, while nothing happens and for each record. A run takes about a minute.
"""

import argparse
import asyncio
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from a2a_grpc.bus import Bus, LocalBus, open_bus
from a2a_grpc.lifecycle import WORKING
from a2a_grpc.log import Log
from a2a_grpc.store import Append, Create, Record, TaskKey, open_store
from a2a_grpc.wire import StreamResponse, Task, TaskStatus, TaskStatusUpdateEvent

INTERVALS_MS = (1, 5, 20)
"""The intervals of the pragma."""
FOLLOWED = 100
"""The number of followed tasks in the second half of each measurement."""
RECORDS = 150
EVERY_S = 0.01
"""Seconds between two records. The writes are uneven by up to this time, so that no interval fits them."""
IDLE_S = 2.0
READY_S = 0.5


class DataVersionBus(LocalBus):
    """A bus that finds out by polling whether another process has written to an SQLite file."""

    def __init__(self, file: str, interval_s: float) -> None:
        super().__init__()
        self._connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, isolation_level=None)
        self._interval_s = interval_s
        self.log: Log

    async def start(self) -> None:
        self._polling = asyncio.create_task(self._poll())

    async def stop(self) -> None:
        self._polling.cancel()
        await asyncio.wait([self._polling])
        self._connection.close()

    async def _poll(self) -> None:
        known = self._version()
        while True:
            await asyncio.sleep(self._interval_s)
            if (version := self._version()) != known:
                known = version
                await self.log.poll()

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])


def key_of(number: int) -> TaskKey:
    return TaskKey("", "", f"task-{number}")


def record_of(seq: int, event: StreamResponse) -> Record:
    return Record(seq, event.SerializeToString(), WORKING, 1)


@asynccontextmanager
async def opened(file: str, way: str) -> AsyncIterator[Log]:
    """Open a log on a file, whose bus is `machine` or the interval of the pragma in milliseconds."""
    url = f"sqlite:///{file}"
    store = open_store(url)
    await store.open()
    bus: Bus = open_bus("machine:", url) if way == "machine" else DataVersionBus(file, float(way) / 1000)
    log = Log(store, bus)
    if isinstance(bus, DataVersionBus):
        bus.log = log
    await bus.start()
    try:
        yield log
    finally:
        await bus.stop()
        await store.close()


async def write(file: str, way: str) -> None:
    """Create the tasks. Then append records for each line of standard input, and print when each append was done."""
    async with opened(file, way) as log:
        for number in range(FOLLOWED):
            key = key_of(number)
            task = Task(id=key.id, context_id="c", status=TaskStatus(state=WORKING))
            await log.write(Create(key, record_of(1, StreamResponse(task=task)), "c", "writer"))
        seqs = dict.fromkeys(range(FOLLOWED), 1)
        event = TaskStatusUpdateEvent(context_id="c")
        print("created", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            tasks, done = int(line), []
            for count in range(RECORDS):
                await asyncio.sleep(EVERY_S * (0.5 + (count * 0.618) % 1))
                number = count % tasks
                seqs[number] += 1
                await log.write(Append(key_of(number), record_of(seqs[number], StreamResponse(status_update=event)), 1))
                done.append((number, seqs[number], time.monotonic_ns()))
            print(json.dumps(done), flush=True)


async def follow(log: Log, number: int, arrived_ns: dict[tuple[int, int], int]) -> None:
    """Follow a task from its first record on. Note when each record came."""
    with log.follow(key_of(number), 1) as follower:
        async for record in follower:
            arrived_ns[number, record.seq] = time.monotonic_ns()


async def measure(way: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "tasks.db")
        writer = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--write", file, way, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert await writer.stdout.readline() == b"created\n"
        found: dict[str, float] = {}
        async with opened(file, way) as log:
            for tasks in (1, FOLLOWED):
                arrived_ns: dict[tuple[int, int], int] = {}
                async with AsyncExitStack() as stack:
                    group = await stack.enter_async_context(asyncio.TaskGroup())
                    followers = [group.create_task(follow(log, number, arrived_ns)) for number in range(tasks)]
                    await asyncio.sleep(READY_S)
                    began, cpu = time.monotonic(), time.process_time()
                    await asyncio.sleep(IDLE_S)
                    found[f"idle_{tasks}"] = 100 * (time.process_time() - cpu) / (time.monotonic() - began)
                    cpu = time.process_time()
                    writer.stdin.write(b"%d\n" % tasks)
                    done = json.loads(await writer.stdout.readline())
                    await asyncio.sleep(READY_S)
                    spent = time.process_time() - cpu
                    delays_ms = [(arrived_ns[number, seq] - done_ns) / 1e6 for number, seq, done_ns in done]
                    found[f"wake_us_{tasks}"] = 1e6 * spent / RECORDS
                    found[f"p50_{tasks}"] = statistics.median(delays_ms)
                    found[f"p99_{tasks}"] = statistics.quantiles(delays_ms, n=100)[98]
                    for follower in followers:
                        follower.cancel()
        writer.stdin.close()
        await writer.wait()
        return found


async def idle(way: str) -> float:
    """Return the share of a core that a process takes that follows no task, in percent."""
    with tempfile.TemporaryDirectory() as folder:
        async with opened(str(Path(folder) / "tasks.db"), way):
            began, cpu = time.monotonic(), time.process_time()
            await asyncio.sleep(IDLE_S)
            return 100 * (time.process_time() - cpu) / (time.monotonic() - began)


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", nargs=2, metavar=("FILE", "WAY"), help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    arguments = parser.parse_args()
    if arguments.write:
        await write(*arguments.write)
        return
    if not arguments.json:
        print("way              followers  p50 ms  p99 ms  CPU idle %  CPU us a record")
    for way in ("machine", *map(str, INTERVALS_MS)):
        name = way if way == "machine" else f"pragma, {way} ms"
        found = {"idle_0": await idle(way), **await measure(way)}
        if arguments.json:
            print(json.dumps({"way": name, **found}), flush=True)
            continue
        print(f"{name:15}  {0:9}  {'':6}  {'':6}  {found['idle_0']:10.2f}")
        for tasks in (1, FOLLOWED):
            print(
                f"{name:15}  {tasks:9}  {found[f'p50_{tasks}']:6.2f}  {found[f'p99_{tasks}']:6.2f}  "
                f"{found[f'idle_{tasks}']:10.2f}  {found[f'wake_us_{tasks}']:15.0f}",
                flush=True,
            )


if __name__ == "__main__":
    asyncio.run(main())
