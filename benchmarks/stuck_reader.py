"""Measure what one reader that stops reading costs the other calls of a tunnel: python benchmarks/stuck_reader.py

Starts a sentinel and an attached agent, each a process of its own. Rounds with a stuck reader and rounds without take
turns, so that both see the same machine. In each round calls are made one after another, while a second client streams
small events through the same tunnel. The stuck reader has taken one MiB of a stream of 100 and reads no more. Prints
one line of JSON with the medians over all rounds, for the calls and for the events: p50 and p99 with and without the
stuck reader, and the ratios. The line also says how much the sentinel has grown.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import grpc  # noqa: E402
import grpc.aio  # noqa: E402

from a2a_grpc.wire import SERVICE_NAME, GetTaskRequest, SubscribeToTaskRequest  # noqa: E402
from tests.attacks.good import quantile  # noqa: E402
from tests.attacks.rig import MiB, Process  # noqa: E402

ADDRESS = "stuck@bench.example"
LARGE = 100
"""Elements of a MiB that the stream of the stuck reader has."""
EVENTS = 200
"""Events that the second client gets in a round, one in each `PAUSE_S`."""
PAUSE_S = 0.005
SETTLE_S = 0.5


async def agent(at: str) -> None:
    """Be the agent, a bare server of grpc.aio."""
    from a2a_grpc.sentinel import Attachment, AttachSettings

    async def get(request: bytes, context: Any) -> bytes:
        return request

    async def subscribe(request: bytes, context: Any) -> None:
        if SubscribeToTaskRequest.FromString(request).id == "large":
            for _ in range(LARGE):
                await context.write(bytes(MiB))
            return
        for _ in range(EVENTS):
            await asyncio.sleep(PAUSE_S)
            await context.write(str(time.monotonic()).encode())

    handlers = {
        "GetTask": grpc.unary_unary_rpc_method_handler(get),
        "SubscribeToTask": grpc.unary_stream_rpc_method_handler(subscribe),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "agent.sock")
        server = grpc.aio.server(options=[("grpc.max_concurrent_streams", 100)])
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, handlers),))
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        async with Attachment(AttachSettings(attach=at, address=ADDRESS, fail_fast=True)) as attachment:
            await attachment.welcome()
            attachment.serve(path)
            print(json.dumps({"event": "ready"}), flush=True)
            await asyncio.get_running_loop().create_future()


def channel(at: str) -> grpc.aio.Channel:
    """Return a channel with a connection of its own."""
    return grpc.aio.insecure_channel(at, options=[("grpc.use_local_subchannel_pool", 1)])


def subscribe(on: grpc.aio.Channel, task_id: str) -> Any:
    request = SubscribeToTaskRequest(tenant=ADDRESS, id=task_id).SerializeToString()
    return on.unary_stream(f"/{SERVICE_NAME}/SubscribeToTask")(request)


@asynccontextmanager
async def stuck_reader(at: str, is_there: bool) -> AsyncIterator[None]:
    """Have a reader that has stopped reading while the block runs, or none."""
    if not is_there:
        await asyncio.sleep(SETTLE_S)
        yield
        return
    async with channel(at) as own:
        call = subscribe(own, "large")
        await call.read()
        await asyncio.sleep(SETTLE_S)
        yield
        call.cancel()


async def timed(at: str) -> dict[str, list[float]]:
    """Make calls while events come. Return the milliseconds of each."""
    found: dict[str, list[float]] = {"call": [], "event": []}
    request = GetTaskRequest(tenant=ADDRESS, id="t").SerializeToString()
    async with channel(at) as calling, channel(at) as streaming:
        get = calling.unary_unary(f"/{SERVICE_NAME}/GetTask")
        await get(request)

        async def events() -> None:
            async for sent_at in subscribe(streaming, "small"):
                found["event"].append((time.monotonic() - float(sent_at)) * 1000)

        going = asyncio.create_task(events())
        while not going.done():
            begun = time.monotonic()
            await get(request)
            found["call"].append((time.monotonic() - begun) * 1000)
            await asyncio.sleep(PAUSE_S)
        await going
    return found


async def measured(rounds: int) -> dict[str, Any]:
    """Return the medians over all rounds."""
    seen: dict[tuple[str, bool], list[list[float]]] = defaultdict(list)
    grown: list[float] = []
    listen = ("--listen", "127.0.0.1:0", "--http-listen", "off")
    async with Process("-m", "a2a_grpc", "sentinel", "-o", "json", *listen) as sentinel:
        at = str(sentinel.ready["grpc"])
        async with Process(__file__, "--agent", at):
            await timed(at)
            for _ in range(rounds):
                for is_there in (False, True):
                    before = sentinel.rss_bytes()
                    async with stuck_reader(at, is_there):
                        for kind, milliseconds in (await timed(at)).items():
                            seen[kind, is_there].append(sorted(milliseconds))
                        if is_there:
                            grown.append((sentinel.rss_bytes() - before) / MiB)
    result: dict[str, Any] = {"rounds": rounds, "grown_mib": round(max(grown), 1)}
    for kind in ("call", "event"):
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            without, stuck = [
                statistics.median(quantile(one, share) for one in seen[kind, is_there]) for is_there in (False, True)
            ]
            result[f"{kind}_{name}_ms"] = [round(without, 2), round(stuck, 2)]
            result[f"{kind}_{name}_ratio"] = round(stuck / without, 2)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a stuck reader costs the other calls of a tunnel.")
    parser.add_argument("--rounds", type=int, default=10, help="number of rounds of each kind")
    parser.add_argument("--agent", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.agent:
        asyncio.run(agent(options.agent))
        return
    print(json.dumps(asyncio.run(measured(options.rounds))))


if __name__ == "__main__":
    main()
