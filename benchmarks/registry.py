"""The registry of a sentinel with 10,000 agents: how long a search takes, and what 1,000 heartbeats a second cost.

python benchmarks/registry.py
python benchmarks/registry.py --store postgresql://user@host/db

Without --store the stores are memory and a file of SQLite, and a PostgreSQL if the tests would find one.
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import grpc.aio

from a2a_grpc.masking import mask_url
from a2a_grpc.registry import Entry, EntryStore, Key, Search, open_entries
from a2a_grpc.registry.wire import HeartbeatRequest, RegisterRequest, RegistryStub
from a2a_grpc.wire import AgentCard, AgentSkill

ROOT = Path(__file__).resolve().parent.parent
AGENTS = 10_000
SEARCHES = 400
BEATING = 1_000
"""Heartbeats a second, one for each of so many agents."""
SECONDS = 10

_random = random.Random(18)
WORDS = ["".join(_random.choices("abcdefghijklmnoprstu", k=_random.randint(3, 9))) for _ in range(3000)]


def card(number: int) -> bytes:
    """A card of three skills, of about 700 bytes."""
    skills = [
        AgentSkill(
            id=f"skill-{_random.randrange(500)}",
            name=" ".join(_random.choices(WORDS, k=2)),
            description=" ".join(_random.choices(WORDS, k=15)),
            tags=_random.choices(WORDS[:200], k=3),
        )
        for _ in range(3)
    ]
    about = " ".join(_random.choices(WORDS, k=25))
    return AgentCard(name=f"Agent {number}", description=about, skills=skills).SerializeToString()


KINDS: dict[str, Callable[[], Search]] = {
    "skill": lambda: Search(skill=f"skill-{_random.randrange(500)}"),
    "tag": lambda: Search(tags=(_random.choice(WORDS[:200]),)),
    "one word": lambda: Search(words=(_random.choice(WORDS),)),
    "five words": lambda: Search(words=tuple(_random.choices(WORDS, k=5))),
}


async def searches(entries: EntryStore) -> None:
    """Print how long searches for a page of 50 agents take."""
    for kind, make in KINDS.items():
        spans = []
        for _ in range(SEARCHES):
            search, begin = make(), time.perf_counter()
            await entries.find(search, limit=50)
            spans.append(1000 * (time.perf_counter() - begin))
        spans.sort()
        print(f"  find by {kind:10}  p50 {spans[SEARCHES // 2]:5.1f} ms, p99 {spans[SEARCHES * 99 // 100]:5.1f} ms")


def entry(number: int) -> Entry:
    key = Key(f"agent-{number:05}", "i")
    return Entry(key=key, url="http://agent.example").with_card(card(number))


async def find(url: str) -> None:
    """Fill a store, and search it."""
    entries = open_entries(url, lease_s=3600)
    await entries.open()
    for first in range(0, AGENTS, 500):
        await asyncio.gather(*(entries.add(entry(number)) for number in range(first, first + 500)))
    await searches(entries)
    await renewals(entries)
    await entries.close()


async def renewals(entries: EntryStore) -> None:
    """Print the share of a core that the store takes for renewals, without gRPC."""

    async def run(renew: bool) -> float:
        begin, before, calls = time.perf_counter(), time.process_time(), []
        for place in range(BEATING * SECONDS):
            await asyncio.sleep(max(0.0, begin + place / BEATING - time.perf_counter()))
            if renew:
                calls.append(asyncio.create_task(entries.renew(Key(f"agent-{place % AGENTS:05}", "i"), "")))
        assert all(await asyncio.gather(*calls))
        return (time.process_time() - before) / (time.perf_counter() - begin)

    idle = await run(False)
    print(f"  {BEATING:,} renewals a second: {100 * (await run(True) - idle):.0f} % of a core in the store", flush=True)


@contextmanager
def sentinel(url: str) -> Iterator[tuple[str, int]]:
    """A sentinel in a process of its own: its address, and the id of the process."""
    command = [sys.executable, "-m", "a2a_grpc", "sentinel", "--listen", "127.0.0.1:0", "--http-listen", "off"]
    command += ["--store", url, "--registry-lease-s", "3600"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if line.startswith("Ready"))
            yield line.split("grpc=")[1].split()[0], process.pid
        finally:
            process.terminate()
            process.communicate()


def registration(number: int) -> RegisterRequest:
    return RegisterRequest(name=f"beat-{number}", instance="i", url="http://agent.example", card=card(number))


async def heartbeats(url: str) -> None:
    """Print the share of a core that a sentinel takes for heartbeats, over one gRPC channel."""
    with sentinel(url) as (address, pid):
        async with grpc.aio.insecure_channel(address) as channel:
            stub = RegistryStub(channel)
            await asyncio.gather(*(stub.Register(registration(number)) for number in range(BEATING)))
            await asyncio.sleep(1)
            idle = await share(pid, 2)
            beating = asyncio.create_task(beat(stub))
            busy = await share(pid, SECONDS)
            answered = await beating
    print(
        f"  {answered / SECONDS:,.0f} heartbeats a second: {100 * (busy - idle):.0f} % of a core in the sentinel "
        f"(idle {100 * idle:.1f} %)"
    )


async def beat(stub: RegistryStub) -> int:
    """Make as many calls a second as there are agents. Return how many were answered."""
    begin, calls = time.perf_counter(), set()
    answered = 0

    async def one(number: int) -> None:
        nonlocal answered
        await stub.Heartbeat(HeartbeatRequest(name=f"beat-{number}", instance="i"))
        answered += 1

    for place in range(BEATING * SECONDS):
        await asyncio.sleep(max(0.0, begin + place / BEATING - time.perf_counter()))
        call = asyncio.create_task(one(place % BEATING))
        calls.add(call)
        call.add_done_callback(calls.discard)
    await asyncio.gather(*calls)
    return answered


async def share(pid: int, seconds: float) -> float:
    """Return the share of a core that a process takes in so many seconds."""
    before = used(pid)
    begin = time.perf_counter()
    await asyncio.sleep(seconds)
    return (used(pid) - before) / (time.perf_counter() - begin)


def used(pid: int) -> float:
    """Return the seconds of a core that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def postgres() -> AsyncIterator[str]:
    """The URL of a PostgreSQL of the tests; empty if there is none."""
    sys.path.insert(0, str(ROOT))
    from tests.databases import Postgres
    from tests.tools import MissingProgram

    try:
        server = Postgres()
    except MissingProgram:
        yield ""
        return
    async with server:
        yield server.url()


async def measure(url: str) -> None:
    print(mask_url(url).partition("?")[0], flush=True)
    await find(url)
    await heartbeats(url)


async def main(url: str) -> None:
    if url:
        await measure(url)
        return
    await measure("memory:")
    with tempfile.TemporaryDirectory() as folder:
        await measure(f"sqlite:///{folder}/registry.db")
    async with postgres() as found:
        if found:
            await measure(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", default="", help="measure this store only")
    asyncio.run(main(parser.parse_args().store))
