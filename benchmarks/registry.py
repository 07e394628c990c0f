"""The registry of a sentinel with 10,000 agents: how long a search takes, and what 1,000 heartbeats a second cost.

python benchmarks/registry.py
python benchmarks/registry.py --store postgresql://user@host/db

Without --store the stores are memory and a file of SQLite, and a PostgreSQL if the tests would find one. The costs are
the CPU time of the process, in percent of one core. The lines also have the cost
of as many calls of a bare grpc.aio server.
"""

import argparse
import asyncio
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

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
LEASE_S = 3
"""The time of a lease, in which an agent sends three heartbeats."""
BATCH = 50
"""Agents that register at the same time."""
WARM_S, SECONDS = 3, 5
"""Seconds of heartbeats before those that are measured, and of these."""
ROUNDS = 3

Beat: TypeAlias = Callable[[int], Awaitable[None]]
"""Sends a heartbeat of an agent, given by its number."""
Beats: TypeAlias = Callable[[list[Any]], AbstractAsyncContextManager[Beat]]

_random = random.Random(18)
SPREAD = [_random.random() for _ in range(BEATING)]
OFFSETS = list(SPREAD)
"""When each agent sends its heartbeat in a second."""
WORDS = ["".join(_random.choices("abcdefghijklmnoprstu", k=_random.randint(3, 9))) for _ in range(3000)]


def card(number: int) -> bytes:
    """Return a card of three skills, of about 700 bytes."""
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
    async def read(requests, context):
        while await context.read() is not grpc.aio.EOF:
            pass
    class Any(grpc.GenericRpcHandler):
        def service(self, details):
            if details.method.endswith("s"):
                return grpc.stream_stream_rpc_method_handler(read)
            return grpc.unary_unary_rpc_method_handler(answer)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Any(),))
    print("Ready grpc=127.0.0.1:%d" % server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()
asyncio.run(main())
"""
"""A server of grpc.aio that answers each request of a call with its bytes, and reads the messages of streams."""


@contextmanager
def process(*command: str) -> Iterator[tuple[str, int]]:
    """Run a Python program that prints its address. Give the address, and the id of the process."""
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
    """Print the share of a core that a sentinel and a bare server take for heartbeats, on streams and by calls."""
    options = ["--listen", "127.0.0.1:0", "--http-listen", "off", "--store", url, "--registry-lease-s", str(LEASE_S)]
    with process("-m", "a2a_grpc", "sentinel", *options) as (address, pid), process("-c", BARE) as (bare, bare_pid):
        async with stubs(address) as ours, stubs(bare) as others:
            idle = await share(pid, 1)
            forms: dict[str, tuple[int, list[Any], Beats]] = {
                "on a stream": (pid, ours, streamed),
                "by a call": (pid, ours, called),
                "on a stream of a bare server": (bare_pid, others, streamed),
                "by a call of a bare server": (bare_pid, others, called),
            }
            found: dict[str, list[float]] = {form: [] for form in forms}
            memory = 0.0
            for _ in range(3 * ROUNDS):  # in turns, since other programs may load the machine
                for form, (measured, used_stubs, beats) in forms.items():
                    if len(found[form]) == ROUNDS:
                        continue
                    before = resident(measured)
                    if used_stubs is ours:
                        await register(ours)
                        before = resident(measured)
                    async with beats(used_stubs) as beat:
                        if (seconds := await cost(measured, beat, form)) is not None:
                            found[form].append(seconds)
                        if form == "on a stream":
                            memory = max(memory, (resident(measured) - before) / BEATING)
    for form, costs in found.items():
        if not costs:
            continue
        low, middle = (100 * BEATING * one for one in (min(costs), sorted(costs)[len(costs) // 2]))
        of = f"the median of {len(costs)} {middle:.1f} %"
        print(f"  {BEATING:,} heartbeats a second {form}: {low:.1f} % of a core, {of}")
    print(f"  a stream takes {memory / 1024:.0f} KiB; the sentinel without agents takes {100 * idle:.1f} %", flush=True)


async def register(called: list[Any]) -> None:
    """Register all agents. Renew the leases of the first ones meanwhile: SQLite takes most of a lease for all."""

    async def renew(number: int) -> None:
        await called[number % CONNECTIONS].Heartbeat(HeartbeatRequest(name=f"beat-{number}", instance="i"))

    renewed_at = time.monotonic()
    for first in range(0, BEATING, BATCH):
        batch = range(first, first + BATCH)
        await asyncio.gather(*(called[number % CONNECTIONS].Register(registration(number)) for number in batch))
        if time.monotonic() > renewed_at + LEASE_S / 3:
            renewed_at = time.monotonic()
            await asyncio.gather(*map(renew, range(first + BATCH)))


@asynccontextmanager
async def stubs(address: str) -> AsyncIterator[list[Any]]:
    """Give stubs with a connection each."""
    own = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(address, options=own) for _ in range(CONNECTIONS)]
    yield [RegistryStub(channel) for channel in channels]
    await asyncio.gather(*(channel.close() for channel in channels))


@asynccontextmanager
async def called(by: list[Any]) -> AsyncIterator[Beat]:
    """Give a function that sends a heartbeat as a call."""

    async def beat(number: int) -> None:
        await by[number % CONNECTIONS].Heartbeat(HeartbeatRequest(name=f"beat-{number}", instance="i"))

    yield beat


@asynccontextmanager
async def streamed(by: list[Any]) -> AsyncIterator[Beat]:
    """Give a function that sends a heartbeat on the stream of its agent."""
    calls: dict[int, Any] = {}
    answered: set[int] = set()

    async def run(number: int) -> None:
        """Beat at the moments that the sentinel names, and register again if the lease is lost, as agents do."""
        while True:
            calls[number] = call = by[number % CONNECTIONS].Heartbeats()
            try:
                await call.write(HeartbeatRequest(name=f"beat-{number}", instance="i"))
                while (answer := await call.read()) is not grpc.aio.EOF:
                    answered.add(number)
                    OFFSETS[number] = (time.monotonic() + answer.next_s) % 1
            except grpc.aio.AioRpcError:
                await by[number % CONNECTIONS].Register(registration(number))

    reading = [asyncio.create_task(run(number)) for number in range(BEATING)]

    async def beat(number: int) -> None:
        if number in answered:
            await calls[number].write(HeartbeatRequest())

    yield beat
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    for call in calls.values():
        call.cancel()
    OFFSETS[:] = SPREAD


async def cost(pid: int, beat: Beat, form: str) -> float | None:
    """Return the seconds of a core that one of so many heartbeats a second takes in a process.

    The heartbeats begin at once, so that no lease ends before them, and are measured after `WARM_S` seconds. Return
    None if the machine was too busy: heartbeats were late, or agents had lost their leases.
    """
    begin = math.ceil(time.monotonic())
    late_s, before, failed = 0.0, 0.0, 0
    tasks: set[asyncio.Task[None]] = set()

    async def one(number: int) -> None:
        nonlocal failed
        try:
            await beat(number)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):  # gRPC cancels calls if 1,000 wait for the process
            failed += 1

    for second in range(begin, begin + WARM_S + SECONDS):
        if second == begin + WARM_S:
            before, failed = used(pid), 0
        for at, number in sorted((at, number) for number, at in enumerate(OFFSETS)):
            if (wait_s := second + at - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            task = asyncio.create_task(one(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        late_s = time.monotonic() - second - 1
    if tasks:
        await asyncio.wait(tasks)
    if late_s > 0.1 * SECONDS or failed:
        print(f"  the machine is too busy: {late_s:.1f} s late, {failed} failed {form}", flush=True)
        return None
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


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@asynccontextmanager
async def postgres() -> AsyncIterator[str]:
    """Give the URL of a PostgreSQL of the tests; empty if there is none."""
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
