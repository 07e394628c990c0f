"""Long tasks on SQLite: streams of 2,000 chunks compared with the official SDK; then the cost of an event among 10,000.

python benchmarks/durable.py

Prints the ratio of each round; then the time and the bytes written for each thousand chunks of one artifact, each
durable before the next, compared with the first.
"""

import asyncio
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench import SDK_SQLITE, SQLITE, Contenders, Load, Row, Workload, in_words, stream

from a2a_grpc import lifecycle
from a2a_grpc.store import Append, Create, Record, TaskKey, open_store
from a2a_grpc.wire import Artifact, Part, StreamResponse, Task, TaskArtifactUpdateEvent, TaskStatus

CHUNKS = 10_000
ROUNDS = 2


def beside_the_sdk(folder: Path) -> None:
    """Measure streams of 2,000 chunks, in turn."""
    row = Row(Workload("stream of 2,000 chunks", {**stream(2_000), "seconds": 0}, unit="events/s"))
    with ExitStack() as stack:
        contenders, load = Contenders(stack, folder, ""), Load(stack)
        for place in range(ROUNDS + 1):
            for name in (SQLITE, SDK_SQLITE):
                found = load.do(contenders[name], name, row.workload.order)
                if place:  # the first round warms up
                    row.add(name, found)
    print(f"{row.workload.name}, {SQLITE} / {SDK_SQLITE}: {in_words(row.ratio(SQLITE, SDK_SQLITE))}", flush=True)


async def long_task(folder: Path) -> None:
    """Write one task of many chunks, one after the other."""
    store = open_store(f"sqlite:///{folder / 'long.db'}")
    await store.open()
    key = TaskKey("", "", "t-1")
    born = StreamResponse(task=Task(id=key.id, context_id="c", status=TaskStatus(state=lifecycle.WORKING)))
    epoch = await store.write(Create(key, Record(1, born.SerializeToString(), lifecycle.WORKING, 1, 1), "c", "r"))
    update = TaskArtifactUpdateEvent(
        task_id=key.id, context_id="c", artifact=Artifact(artifact_id="a", parts=[Part(text="x" * 20)]), append=True
    )
    event = StreamResponse(artifact_update=update).SerializeToString()
    spans, sizes, seq = [], [], 1
    for thousand in range(CHUNKS // 1000 + 1):
        begin, before = time.perf_counter(), written()
        for _ in range(1000):
            seq += 1
            await store.write(Append(key, Record(seq, event, lifecycle.WORKING, 1), epoch))
        if not thousand:
            continue  # it warms up
        spans.append(time.perf_counter() - begin)
        sizes.append(written() - before)
    await store.close()
    print(f"{CHUNKS} chunks, one by one, into SQLite: {CHUNKS / sum(spans):.0f} a second")
    for name, found in (("time", spans), ("bytes written", sizes)):
        print(f"{name:14} of each thousand, to the first: " + " ".join(f"{value / found[0]:.2f}" for value in found))


def written() -> int:
    """Return the bytes that this process has given to the operating system to write."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("wchar")))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        beside_the_sdk(Path(folder))
        asyncio.run(long_task(Path(folder)))
