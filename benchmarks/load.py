"""The load: calls of one kind at a time, as bytes, with nothing parsed that need not be.

    python benchmarks/load.py

Takes orders as JSON lines, {"do": NAME, "address": …, "token": …, "tenant": …, …}. Answers each order with a line of
what was measured. The line has the number of things that were `done` in `seconds`. `cpu` is the part of a core that
this process used meanwhile. `latency_s` is there if each thing has one.
"""

import asyncio
import itertools
import json
import sys
import time
import uuid

import grpc.aio
from a2a_grpc_pb import a2a_pb2 as a2a

SERVICE = "/lf.a2a.v1.A2AService/"
V1 = (("a2a-version", "1.0"),)
LIMIT_S = 120.0
CHANNEL = [("grpc.max_receive_message_length", 16 << 20), ("grpc.use_local_subchannel_pool", 1)]
TICK_S = 0.02


class Peer:
    """A server, over one connection."""

    def __init__(self, address: str, token: str, tenant: str) -> None:
        self.address = address
        self.token = token
        self.tenant = tenant
        self.metadata = (*V1, ("authorization", f"Bearer {token}")) if token else V1
        self.channel = grpc.aio.insecure_channel(address, options=CHANNEL)
        # Without functions that parse and serialise, bytes pass.
        self.send = self.channel.unary_unary(SERVICE + "SendMessage")
        self.get = self.channel.unary_unary(SERVICE + "GetTask")
        self.list = self.channel.unary_unary(SERVICE + "ListTasks")
        self.cancel = self.channel.unary_unary(SERVICE + "CancelTask")
        self.stream = self.channel.unary_stream(SERVICE + "SendStreamingMessage")
        self.subscribe = self.channel.unary_stream(SERVICE + "SubscribeToTask")

    async def start(self, text: str) -> str:
        """Start a task without waiting for it. Return its id."""
        answer = await self.send(self.message(text, at_once=True), metadata=self.metadata)
        return a2a.SendMessageResponse.FromString(answer).task.id

    def message(self, text: str, *, at_once: bool = False) -> bytes:
        request = a2a.SendMessageRequest(
            message=a2a.Message(message_id=str(uuid.uuid4()), role=a2a.ROLE_USER, parts=[a2a.Part(text=text)]),
            tenant=self.tenant,
        )
        request.configuration.return_immediately = at_once
        return request.SerializeToString()


async def rest_of(call) -> int:
    """Read a stream to its end, after a first `read`. Return the number of elements."""
    count = 0
    while await call.read() is not grpc.aio.EOF:
        count += 1
    return count


def is_canceled(element: bytes) -> bool:
    return a2a.StreamResponse.FromString(element).status_update.status.state == a2a.TASK_STATE_CANCELED


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def measured(done: int, seconds: float, latencies: list[float]) -> dict:
    found = {"done": done, "seconds": seconds}
    if latencies:
        found["latency_s"] = {
            "p50": percentile(latencies, 0.5),
            "p99": percentile(latencies, 0.99),
            "max": max(latencies),
        }
    return found


async def for_a_while(call, in_flight: int, seconds: float) -> dict:
    """Make one call after the other, `in_flight` at a time."""
    latencies: list[float] = []
    begin = time.perf_counter()
    until = begin + seconds

    async def one_after_the_other() -> None:
        now = time.perf_counter()
        while now < until:
            await call()
            ended = time.perf_counter()
            latencies.append(ended - now)
            now = ended

    await asyncio.gather(*(one_after_the_other() for _ in range(in_flight)))
    return measured(len(latencies), time.perf_counter() - begin, latencies)


async def unary(peer: Peer, text: str, in_flight: int, seconds: float, connections: int = 1) -> dict:
    request = peer.message(text)
    peers = itertools.cycle([peer, *(Peer(peer.address, peer.token, peer.tenant) for _ in range(connections - 1))])
    return await for_a_while(lambda: next(peers).send(request, metadata=peer.metadata), in_flight, seconds)


async def get(peer: Peer, in_flight: int, seconds: float) -> dict:
    answer = await peer.send(peer.message("task"), metadata=peer.metadata)
    request = a2a.GetTaskRequest(
        id=a2a.SendMessageResponse.FromString(answer).task.id, tenant=peer.tenant
    ).SerializeToString()
    return await for_a_while(lambda: peer.get(request, metadata=peer.metadata), in_flight, seconds)


async def pages(peer: Peer, in_flight: int, seconds: float, listed: int = 10_000) -> dict:
    """Read the first page, then the one in the middle, in turn."""
    request = a2a.ListTasksRequest(page_size=50)
    answer = a2a.ListTasksResponse.FromString(await peer.list(request.SerializeToString(), metadata=peer.metadata))
    if len(answer.tasks) != 50 or answer.total_size < listed:
        raise RuntimeError(f"a page has {len(answer.tasks)} tasks of {answer.total_size}")
    requests = [request.SerializeToString()]
    request.page_token = answer.next_page_token
    requests.append(request.SerializeToString())
    place = 0

    async def call() -> None:
        nonlocal place
        place += 1
        await peer.list(requests[place % 2], metadata=peer.metadata)

    return await for_a_while(call, in_flight, seconds)


async def stream(peer: Peer, chunks: int, in_flight: int, seconds: float) -> dict:
    """Read whole streams, one after the other, `in_flight` at a time. Count their elements."""
    request, elements = peer.message(f"stream {chunks}"), 0
    begin = time.perf_counter()

    async def one_after_the_other() -> None:
        nonlocal elements
        while True:
            count = 0
            async for _ in peer.stream(request, metadata=peer.metadata):
                count += 1
            if count < chunks:
                raise RuntimeError(f"a stream of {chunks} chunks ended after {count} elements")
            elements += count
            if time.perf_counter() - begin > seconds:
                return

    await asyncio.gather(*(one_after_the_other() for _ in range(in_flight)))
    return measured(elements, time.perf_counter() - begin, [])


async def first(peer: Peer, seconds: float) -> dict:
    """Measure the time from the call of a stream to its first element, one stream at a time."""
    request, latencies = peer.message("stream 3"), []
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        now = time.perf_counter()
        call = peer.stream(request, metadata=peer.metadata)
        await call.read()
        latencies.append(time.perf_counter() - now)
        await rest_of(call)
    return measured(len(latencies), time.perf_counter() - begin, latencies)


async def gated(peer: Peer, kind: str, count: int, chunks: int) -> tuple[str, list]:
    """`count` subscriptions to one task that waits for a gate, each past its first element."""
    name = str(uuid.uuid4())
    task_id = f"{name} {chunks}" if kind == "bare" else await peer.start(f"gated {name} {chunks}")
    request = a2a.SubscribeToTaskRequest(id=task_id).SerializeToString()
    calls = []
    for begin in range(0, count, 200):
        opened = [peer.subscribe(request, metadata=peer.metadata) for _ in range(begin, min(begin + 200, count))]
        await asyncio.gather(*(call.read() for call in opened))
        calls += opened
    return name, calls


async def followers(peer: Peer, kind: str, count: int, chunks: int) -> dict:
    """Count the elements of many followers of one task, from the opening of its gate to the last end."""
    name, calls = await gated(peer, kind, count, chunks)
    reading = [asyncio.ensure_future(rest_of(call)) for call in calls]
    begin = time.perf_counter()
    await peer.send(peer.message(f"open {name}"), metadata=peer.metadata)
    elements = await asyncio.gather(*reading)
    if min(elements) < chunks:
        raise RuntimeError(f"a follower of {chunks} chunks got {min(elements)} elements")
    return measured(sum(elements), time.perf_counter() - begin, [])


async def idle_open(peer: Peer, kind: str, count: int) -> dict:
    """Open subscribers that have nothing to read, and keep them open."""
    peer.idle = await gated(peer, kind, count, 1)
    return measured(count, 0.0, [])


async def idle_fire(peer: Peer) -> dict:
    """Send one event to all of them. The latency begins before the event is asked for."""
    name, calls = peer.idle
    latencies: list[float] = []

    async def read(call) -> None:
        while True:
            element = a2a.StreamResponse.FromString(await call.read())
            if element.HasField("artifact_update"):
                latencies.append(time.perf_counter() - begin)
                call.cancel()
                return

    reading = [asyncio.ensure_future(read(call)) for call in calls]
    await asyncio.sleep(0.2)
    begin = time.perf_counter()
    await peer.send(peer.message(f"open {name}"), metadata=peer.metadata)
    await asyncio.gather(*reading)
    return measured(len(latencies), time.perf_counter() - begin, latencies)


async def park(peer: Peer, count: int) -> dict:
    """Start tasks that wait for their user."""
    begin, request, left = time.perf_counter(), peer.message("ask"), count

    async def one_after_the_other() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await peer.send(request, metadata=peer.metadata)

    await asyncio.gather(*(one_after_the_other() for _ in range(32)))
    return measured(count, time.perf_counter() - begin, [])


async def cancel(peer: Peer, rounds: int, streams: int) -> dict:
    """Measure the time from a cancel to CANCELED on the task's stream, while other streams go on."""
    request = peer.message(f"ticks {TICK_S}")
    others = [peer.stream(request, metadata=peer.metadata) for _ in range(streams)]

    async def drain(call) -> None:
        async for _ in call:
            pass

    draining = [asyncio.ensure_future(drain(call)) for call in others]
    latencies = []
    begin = time.perf_counter()
    for _ in range(rounds):
        call = peer.stream(request, metadata=peer.metadata)
        task_id = a2a.StreamResponse.FromString(await call.read()).task.id
        await call.read()
        await call.read()  # it is at work
        asked = time.perf_counter()
        answering = asyncio.ensure_future(
            peer.cancel(a2a.CancelTaskRequest(id=task_id).SerializeToString(), metadata=peer.metadata)
        )
        while not is_canceled(await call.read()):
            pass
        latencies.append(time.perf_counter() - asked)
        await answering
    seconds = time.perf_counter() - begin
    for task in draining:
        task.cancel()
    await asyncio.gather(*draining, return_exceptions=True)
    return measured(rounds, seconds, latencies)


ORDERS = {
    order.__name__: order for order in (unary, get, pages, stream, first, followers, idle_open, idle_fire, park, cancel)
}


async def main() -> None:
    lines = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    peers: dict[str, Peer] = {}
    while line := await lines.readline():
        order = json.loads(line)
        name, address, token, tenant = (order.pop(key) for key in ("do", "address", "token", "tenant"))
        if address not in peers:
            peers[address] = Peer(address, token, tenant)
        peer = peers[address]
        began, spent = time.perf_counter(), time.process_time()
        try:
            async with asyncio.timeout(LIMIT_S):
                found = await ORDERS[name](peer, **order)
            found["cpu"] = (time.process_time() - spent) / (time.perf_counter() - began)
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    try:
        import uvloop
    except ModuleNotFoundError:
        asyncio.run(main())
    else:
        uvloop.run(main())  # the less the load costs, the more of the machine is the server's
