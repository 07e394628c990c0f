"""How long it takes from one replica to another, on one machine: of an event to a follower, of a cancel to the agent.

python benchmarks/replicas.py [--store sqlite|postgresql] [--tasks 1 50] [--rate 10] [--seconds 10] [--cancels 50]
                              [--at-once 1 30]

Starts two servers, A and B, on one store. On a new SQLite file the processes wake each other through sockets. On a new
PostgreSQL (of the system's packages) they do so by notifications. Tasks run at A with `--rate` events a second.
Every event carries the moment at which the agent gave it to its turn; it is followed on a stream of A and on one of B.
So a figure is the way from the agent, through the commit, to a client: `remote` is what B's clients wait longer for.
Then tasks at A are canceled at B, `--at-once` of them: the time from the call to the CancelledError in the agent, and
to the call's answer. The first round is reported apart, because both servers prepare their statements in it.

Moments are of the system's monotonic clock, which is the same in all processes.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import grpc.aio  # noqa: E402

from a2a_grpc import Agent, Turn  # noqa: E402
from a2a_grpc.cli import serve_command  # noqa: E402
from a2a_grpc.parts import to_dict, value  # noqa: E402
from a2a_grpc.store.sql.migrations import upgrade  # noqa: E402
from a2a_grpc.wire import (  # noqa: E402
    ROLE_USER,
    A2AServiceStub,
    CancelTaskRequest,
    Message,
    Part,
    SendMessageConfiguration,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
)

METADATA = (("a2a-version", "1.0"),)
STOPS = "A2A_GRPC_BENCHMARK_STOPS"
"""Names the file in which the agent writes down when it was stopped."""
WARM_UP_S = 2.0
PADDING = "x" * 300
"""So that an event has about 400 bytes."""

agent = Agent("Clock", "Tells the time, again and again.")


@agent.skill("tell")
async def tell(turn: Turn) -> str:
    """Tell the time at a rate, for some seconds."""
    plan: Any = turn.data
    try:
        for number in range(int(plan["rate"] * plan["seconds"])):
            await asyncio.sleep(1 / plan["rate"])
            await turn.artifact({"at": time.monotonic(), "padding": PADDING}, id="times", append=number > 0)
    except asyncio.CancelledError:
        assert turn.task is not None
        note_stop(turn.task.id, time.monotonic())
        raise
    return "done"


def note_stop(task_id: str, at: float) -> None:
    with Path(os.environ[STOPS]).open("a") as stops:
        stops.write(json.dumps([task_id, at]) + "\n")


def noted_stops(stops: Path) -> dict[str, float]:
    return dict(json.loads(line) for line in stops.read_text().splitlines())


@asynccontextmanager
async def store_of(kind: str, folder: Path) -> AsyncIterator[str]:
    """Give the URL of an empty store."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/tasks.db"
        return
    from tests.databases import Postgres

    async with Postgres() as server:
        await upgrade(server.url())
        yield server.url()


@asynccontextmanager
async def replica(store: str, stops: Path) -> AsyncIterator[Any]:
    """Start a server in a process of its own, and give its stub."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, "serve", "-o", "json", "--listen", "127.0.0.1:0", "--http-listen", "off"),
        *("--store", store, "--drain-grace-s", "0"),
        cwd=ROOT,
        env={**os.environ, STOPS: str(stops)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        while (event := json.loads(await process.stdout.readline()))["event"] != "ready":
            pass
        async with grpc.aio.insecure_channel(event["grpc"]) as channel:
            yield A2AServiceStub(channel)
    finally:
        process.terminate()
        await process.communicate()


async def start(stub: Any, *, rate: float, seconds: float) -> str:
    """Start a task, and return its id."""
    plan = value({"rate": rate, "seconds": seconds})
    message = Message(message_id=str(uuid.uuid4()), role=ROLE_USER, parts=[Part(data=plan)])
    configuration = SendMessageConfiguration(return_immediately=True)
    sent = await stub.SendMessage(SendMessageRequest(message=message, configuration=configuration), metadata=METADATA)
    task: Task = sent.task
    return task.id


async def delays(stub: Any, task_id: str, since: float) -> list[float]:
    """Return the delay of each event that was made after a moment, in milliseconds."""
    found = []
    async for element in stub.SubscribeToTask(SubscribeToTaskRequest(id=task_id), metadata=METADATA):
        for part in element.artifact_update.artifact.parts:
            told: Any = to_dict(part.data.struct_value)
            if "at" in told and told["at"] > since:
                found.append(1000 * (time.monotonic() - told["at"]))
    return found


async def measure_following(a: Any, b: Any, *, tasks: int, rate: float, seconds: float) -> None:
    ids = [await start(a, rate=rate, seconds=seconds + WARM_UP_S) for _ in range(tasks)]
    since = time.monotonic() + WARM_UP_S / 2
    both = await asyncio.gather(*(delays(stub, task_id, since) for stub in (a, b) for task_id in ids))
    for name, found in (("local", both[:tasks]), ("remote", both[tasks:])):
        show(f"{name}, {tasks} tasks, {tasks * rate:g} events/s", [delay for one in found for delay in one])


async def measure_cancels(a: Any, b: Any, stops: Path, count: int, at_once: int) -> None:
    begun: dict[str, float] = {}
    answered: list[float] = []

    async def cancel(task_id: str) -> None:
        begun[task_id] = time.monotonic()
        await b.CancelTask(CancelTaskRequest(id=task_id), metadata=METADATA)
        answered.append(1000 * (time.monotonic() - begun[task_id]))

    async def cancel_some() -> None:
        ids = [await start(a, rate=10, seconds=60) for _ in range(at_once)]
        await asyncio.sleep(0.1)
        await asyncio.gather(*map(cancel, ids))

    await cancel_some()
    show(f"first cancel to its answer, {at_once} at once", answered)
    begun.clear()
    answered.clear()
    for _ in range(max(count // at_once, 1)):
        await cancel_some()
    stopped = noted_stops(stops)
    show(
        f"cancel to the agent's end, {at_once} at once",
        [1000 * (stopped[task_id] - at) for task_id, at in begun.items()],
    )
    show(f"cancel to its answer, {at_once} at once", answered)


def show(name: str, found: list[float]) -> None:
    ordered = sorted(found)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    print(f"{name:44} median {statistics.median(found):7.1f} ms   p99 {p99:7.1f} ms   n {len(found)}", flush=True)


async def main(options: argparse.Namespace) -> None:
    for kind in options.store:
        print(f"-- {kind}", flush=True)
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            stops = folder / "stops"
            store = await stack.enter_async_context(store_of(kind, folder))
            a = await stack.enter_async_context(replica(store, stops))
            b = await stack.enter_async_context(replica(store, stops))
            for tasks in options.tasks:
                await measure_following(a, b, tasks=tasks, rate=options.rate, seconds=options.seconds)
            for at_once in options.at_once:
                await measure_cancels(a, b, stops, options.cancels, at_once)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        del sys.argv[1]
        serve_command(agent)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", nargs="+", default=["sqlite", "postgresql"], choices=["sqlite", "postgresql"])
    parser.add_argument("--tasks", nargs="*", type=int, default=[1, 50])
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--cancels", type=int, default=50)
    parser.add_argument("--at-once", nargs="+", type=int, default=[1, 30])
    asyncio.run(main(parser.parse_args()))
