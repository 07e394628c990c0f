"""The registry of a sentinel with 10,000 agents: how long a search takes, and what 1,000 heartbeats a second cost.

python benchmarks/registry.py
python benchmarks/registry.py --store postgresql://user@host/db

Without --store the stores are memory and a file of SQLite, and a PostgreSQL if the tests would find one. The costs are
the CPU time of the process, in percent of one core. Beside them is the cost of as many calls of a bare grpc.aio server.
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
CONNECTIONS = 100
"""Connections of these agents together. Each agent has one in reality, which one process here could not serve."""
SECONDS = 5
ROUNDS = 3
"""The figure is that of the round that cost least."""

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


BARE = """
import asyncio, grpc
async def main():
    async def answer(request, context):
        return request
    class Any(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(answer)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Any(),))
    print("Ready grpc=127.0.0.1:%d" % server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()
asyncio.run(main())
"""
"""A server of grpc.aio that answers each request with its bytes."""


@contextmanager
def process(*command: str) -> Iterator[tuple[str, int]]:
    """A Python program that prints its address: the address, and the id of the process."""
    with subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            line = next(line for line in running.stdout if line.startswith("Ready"))
            yield line.split("grpc=")[1].split()[0], running.pid
        finally:
            running.terminate()
            running.communicate()


def registration(number: int) -> RegisterRequest:
    return RegisterRequest(name=f"beat-{number}", instance="i", url="http://agent.example", card=card(number))


async def heartbeats(url: str) -> None:
    """Print the share of a core that a sentinel takes for heartbeats, and a bare server for as many calls."""
    options = ["--listen", "127.0.0.1:0", "--http-listen", "off", "--store", url, "--registry-lease-s", "3600"]
    with process("-m", "a2a_grpc", "sentinel", *options) as (address, pid), process("-c", BARE) as (bare, bare_pid):
        async with stubs(address) as ours, stubs(bare) as others:
            for first in range(0, BEATING, 50):
                await asyncio.gather(
                    *(ours[n % CONNECTIONS].Register(registration(n)) for n in range(first, first + 50))
                )
            await asyncio.sleep(1)
            idle = await share(pid, 2)
            costs: dict[int, list[float]] = {pid: [], bare_pid: []}
            for _ in range(ROUNDS):  # in turns, since other programs may load the machine
                for measured, called in ((pid, ours), (bare_pid, others)):
                    costs[measured].append(await cost(measured, called))
    sentinel, server = (min(costs[one]) for one in (pid, bare_pid))
    print(
        f"  a heartbeat takes {1e6 * sentinel:.0f} µs of a core in the sentinel, and a call {1e6 * server:.0f} µs in a "
        f"bare server: {100 * BEATING * sentinel:.0f} % and {100 * BEATING * server:.0f} % at {BEATING:,} a second "
        f"(idle {100 * idle:.1f} %)",
        flush=True,
    )


@asynccontextmanager
async def stubs(address: str) -> AsyncIterator[list[RegistryStub]]:
    """Stubs with a connection each."""
    own = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(address, options=own) for _ in range(CONNECTIONS)]
    yield [RegistryStub(channel) for channel in channels]
    await asyncio.gather(*(channel.close() for channel in channels))


async def cost(pid: int, called: list[RegistryStub]) -> float:
    """Make as many calls a second as there are agents. Return the seconds of a core that one takes in a process."""
    begin, before, calls = time.perf_counter(), used(pid), set()
    failed = 0

    async def one(number: int) -> None:
        nonlocal failed
        try:
            await called[number % CONNECTIONS].Heartbeat(HeartbeatRequest(name=f"beat-{number}", instance="i"))
        except grpc.aio.AioRpcError:  # gRPC's core cancels calls if 1,000 wait for the process
            failed += 1

    for place in range(BEATING * SECONDS):
        await asyncio.sleep(max(0.0, begin + place / BEATING - time.perf_counter()))
        call = asyncio.create_task(one(place % BEATING))
        calls.add(call)
        call.add_done_callback(calls.discard)
    await asyncio.gather(*calls)
    late_s = time.perf_counter() - begin - SECONDS
    if late_s > 0.1 * SECONDS or failed:
        print(f"  the machine is too busy: {SECONDS} s took {late_s:.1f} s longer, {failed} calls failed", flush=True)
    return (used(pid) - before) / (BEATING * SECONDS)


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


async def measure(url: str, only: str) -> None:
    print(mask_url(url).partition("?")[0], flush=True)
    if only != "heartbeats":
        await find(url)
    if only != "find":
        await heartbeats(url)


async def main(url: str, only: str) -> None:
    if url:
        await measure(url, only)
        return
    await measure("memory:", only)
    with tempfile.TemporaryDirectory() as folder:
        await measure(f"sqlite:///{folder}/registry.db", only)
    async with postgres() as found:
        if found:
            await measure(found, only)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", default="", help="measure this store only")
    parser.add_argument("--only", default="", choices=["find", "heartbeats"], help="measure this only")
    given = parser.parse_args()
    asyncio.run(main(given.store, given.only))
