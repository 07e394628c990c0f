"""What durability costs: our server on memory, SQLite, PostgreSQL, beside the official SDK on SQLite, as ratios.

python benchmarks/durable.py [--rounds 3] [--postgres URL]

Then the cost of an event in a long task: 10,000 chunks of one artifact into SQLite, the time and the bytes written for
each thousand, compared with the first.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc.aio
from a2a_grpc_pb.a2a_pb2_grpc import A2AServiceStub
from compare import Workload, gets, sends, stream

from a2a_grpc import lifecycle
from a2a_grpc.store import Append, Record, TaskKey, open_store
from a2a_grpc.wire import Artifact, Part, StreamResponse, Task, TaskArtifactUpdateEvent, TaskStatus

WORKLOADS: dict[str, tuple[Workload, int]] = {
    "SendMessage → Task completed, 32 in flight": (sends("task"), 320),
    "GetTask, 32 in flight": (gets, 320),
    "stream of 100 chunks": (stream(100), 1),
    "stream of 2,000 chunks": (stream(2_000), 1),
}
CHUNKS = 10_000


async def measure(options: argparse.Namespace, addresses: dict[str, str]) -> None:
    channels = {name: grpc.aio.insecure_channel(address) for name, address in addresses.items()}
    print(
        f"{'workload':44}"
        + "".join(f"{name + ' /s':>16}" for name in addresses)
        + f"{'sqlite/memory':>15}{'sqlite/sdk':>12}"
    )
    for workload_name, (workload, calls) in WORKLOADS.items():
        rates: dict[str, list[float]] = {name: [] for name in addresses}
        for turn in range(options.rounds + 1):
            for name, channel in channels.items():
                begin = time.perf_counter()
                done = await workload(A2AServiceStub(channel), calls)
                if turn:  # the first round warms up
                    rates[name].append(done / (time.perf_counter() - begin))
        median = {name: statistics.median(found) for name, found in rates.items()}
        ratios = f"{median['sqlite'] / median['memory']:15.2f}{median['sqlite'] / median['sdk-sqlite']:12.1f}"
        print(f"{workload_name:44}" + "".join(f"{rate:16.0f}" for rate in median.values()) + ratios, flush=True)
    for channel in channels.values():
        await channel.close()


async def long_task(folder: Path) -> None:
    """One task of many chunks, one after the other, each durable before the next."""
    file = folder / "long.db"
    store = open_store(f"sqlite:///{file}")
    await store.open()
    key = TaskKey("", "", "t-1")
    born = StreamResponse(task=Task(id=key.id, context_id="c", status=TaskStatus(state=lifecycle.WORKING)))
    epoch = await store.create(
        key, Record(1, born.SerializeToString(), lifecycle.WORKING, 1, 1), context_id="c", replica="r"
    )
    update = TaskArtifactUpdateEvent(
        task_id=key.id, context_id="c", artifact=Artifact(artifact_id="a", parts=[Part(text="x" * 20)]), append=True
    )
    event = StreamResponse(artifact_update=update).SerializeToString()
    spans, sizes, seq = [], [], 1
    for thousand in range(CHUNKS // 1000 + 1):
        begin, before = time.perf_counter(), written()
        for _ in range(1000):
            seq += 1
            await store.append(Append(key, Record(seq, event, lifecycle.WORKING, 1), epoch))
        if not thousand:
            continue  # it warms up
        spans.append(time.perf_counter() - begin)
        sizes.append(written() - before)
    await store.close()
    print(f"\n{CHUNKS} chunks, one by one, into SQLite: {CHUNKS / sum(spans):.0f} a second")
    for name, found in (("time", spans), ("bytes written", sizes)):
        print(f"{name:14} of each thousand, to the first: " + " ".join(f"{value / found[0]:.2f}" for value in found))


def written() -> int:
    """Bytes that this process has given to the operating system to write."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("wchar")))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--postgres", help="URL of an empty database, after `a2a-grpc db upgrade`")
    options = parser.parse_args()
    program = str(Path(__file__).with_name("contenders.py"))
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "memory": ["ours", "memory:"],
            "sqlite": ["ours", f"sqlite:///{folder}/ours.db"],
            **({"postgres": ["ours", options.postgres]} if options.postgres else {}),
            "sdk-sqlite": ["sdk", f"sqlite:///{folder}/sdk.db"],
        }
        servers = {
            name: subprocess.Popen([sys.executable, program, *command], stdout=subprocess.PIPE, text=True)
            for name, command in commands.items()
        }
        try:
            addresses = {name: server.stdout.readline().strip() for name, server in servers.items() if server.stdout}
            asyncio.run(measure(options, addresses))
            asyncio.run(long_task(Path(folder)))
        finally:
            for server in servers.values():
                server.kill()


if __name__ == "__main__":
    main()
