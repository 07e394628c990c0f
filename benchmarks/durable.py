"""The cost of an event in a long task: 10,000 chunks of one artifact into SQLite, each durable before the next.

python benchmarks/durable.py

Prints the time and the bytes written for each thousand, compared with the first.
"""

import asyncio
import tempfile
import time
from pathlib import Path

from a2a_grpc import lifecycle
from a2a_grpc.store import Append, Record, TaskKey, open_store
from a2a_grpc.wire import Artifact, Part, StreamResponse, Task, TaskArtifactUpdateEvent, TaskStatus

CHUNKS = 10_000


async def long_task(folder: Path) -> None:
    """One task of many chunks, one after the other."""
    store = open_store(f"sqlite:///{folder / 'long.db'}")
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
    print(f"{CHUNKS} chunks, one by one, into SQLite: {CHUNKS / sum(spans):.0f} a second")
    for name, found in (("time", spans), ("bytes written", sizes)):
        print(f"{name:14} of each thousand, to the first: " + " ".join(f"{value / found[0]:.2f}" for value in found))


def written() -> int:
    """Bytes that this process has given to the operating system to write."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("wchar")))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(long_task(Path(folder)))
