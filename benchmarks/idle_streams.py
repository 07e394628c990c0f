"""Measure what idle subscriptions take in a sentinel: python benchmarks/idle_streams.py [--of KIND] [--first-call]

Starts a sentinel and an attached agent, each a process of its own, and opens subscriptions through the one tunnel. The
agent writes one small event to each and then nothing. Prints one line of JSON, with the resident memory of the sentinel
before and after, and the greatest while the streams were opened. The line has the growth in all and for each stream.

For comparison, KIND is `proxy` for a plain proxy of grpc.aio that dials the agent. With `server` it is the agent
itself, a bare server of grpc.aio, which takes the least that an idle stream can take. With --first-call each connection
of a client makes a call that ends before its streams. gRPC then knows how much memory a call needs, and takes it at
once.

The clients are plain sockets with HTTP/2 frames, so that ten thousand of them leave room for what is measured.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from a2a_grpc.wire import SERVICE_NAME, SubscribeToTaskRequest  # noqa: E402
from tests.attacks import http2  # noqa: E402
from tests.attacks.rig import MiB, Process  # noqa: E402

PATH, FIRST_PATH = f"/{SERVICE_NAME}/SubscribeToTask", f"/{SERVICE_NAME}/GetTask"
ADDRESS = "idle@bench.example"
EACH = 90
"""Streams on one connection of a client."""
SETTLE_S = 3.0
EVENT = b"\x0a\x20" + bytes(32)


def ready(address: str = "") -> None:
    print(json.dumps({"event": "ready", "grpc": address}), flush=True)


async def agent(at: str) -> None:
    """Be the agent, a bare server of grpc.aio that writes one event to each stream and keeps the stream open.

    The agent attaches to the sentinel at an address. With `-` it is called directly.
    """
    import grpc.aio

    from a2a_grpc.sentinel import Attachment, AttachSettings

    async def serve(request: bytes, context: Any) -> None:
        await context.write(EVENT)
        await asyncio.get_running_loop().create_future()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "agent.sock")
        server = grpc.aio.server(options=[("grpc.max_concurrent_streams", 100)] if at != "-" else [])
        handlers = {"SubscribeToTask": grpc.unary_stream_rpc_method_handler(serve)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, handlers),))
        server.add_insecure_port(f"unix:{path}")
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        if at == "-":
            ready(f"127.0.0.1:{port}")
            await asyncio.get_running_loop().create_future()
        async with Attachment(AttachSettings(attach=at, address=ADDRESS, fail_fast=True)) as attachment:
            await attachment.welcome()
            attachment.serve(path)
            ready()
            await asyncio.get_running_loop().create_future()


async def proxy(to: str) -> None:
    """Be a plain proxy."""
    import grpc.aio
    from contenders import Plain

    async with grpc.aio.insecure_channel(to) as channel:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Plain(channel),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        ready(f"127.0.0.1:{port}")
        await asyncio.get_running_loop().create_future()


def opened(at: str, streams: int, first_call: bool) -> list[http2.Peer]:
    """Open subscriptions on as many connections as they need. Return once each has its first event."""
    request = SubscribeToTaskRequest(tenant=ADDRESS, id="t").SerializeToString()
    peers = []
    while streams:
        number = min(EACH, streams)
        streams -= number
        peer = http2.Peer.connect(at)
        ids = range(3, 2 * number + 3, 2)
        if first_call:
            peer.send(http2.request(1, FIRST_PATH, request))
            next(frame for frame in peer.frames(timeout_s=30.0) if frame.flags & http2.END_STREAM and frame.stream == 1)
        for stream in ids:
            peer.send(http2.request(stream, PATH, request))
        waiting = set(ids)
        for frame in peer.frames(timeout_s=30.0):
            if frame.kind == http2.DATA:
                waiting.discard(frame.stream)
            if not waiting:
                break
        if waiting:
            raise SystemExit(f"{len(waiting)} streams of a connection got no event")
        peers.append(peer)
    return peers


@asynccontextmanager
async def running(kind: str) -> AsyncIterator[Process]:
    """Yield the process that is measured, with all that it needs."""
    if kind == "server":
        async with Process(__file__, "--agent", "-") as server:
            yield server
    elif kind == "proxy":
        async with Process(__file__, "--agent", "-") as server:
            async with Process(__file__, "--proxy", str(server.ready["grpc"])) as found:
                yield found
    else:
        listen = ("--listen", "127.0.0.1:0", "--http-listen", "off")
        async with Process("-m", "a2a_grpc", "sentinel", "-o", "json", *listen) as found:
            async with Process(__file__, "--agent", str(found.ready["grpc"])):
                yield found


async def measured(kind: str, streams: int, first_call: bool) -> dict[str, Any]:
    """Return what the process took."""
    async with running(kind) as process:
        at = str(process.ready["grpc"])
        kept = await asyncio.to_thread(opened, at, 1, first_call)
        await asyncio.sleep(SETTLE_S)
        before = peak = process.rss_bytes()
        opening = asyncio.create_task(asyncio.to_thread(opened, at, streams - 1, first_call))
        while not opening.done():
            await asyncio.wait([opening], timeout=0.1)
            peak = max(peak, process.rss_bytes())
        kept += await opening
        await asyncio.sleep(SETTLE_S)
        after = process.rss_bytes()
        for peer in kept:
            peer.close()
    return {
        "of": kind,
        "streams": streams,
        "before_mib": round(before / MiB, 1),
        "after_mib": round(after / MiB, 1),
        "peak_mib": round(peak / MiB, 1),
        "grown_mib": round((after - before) / MiB, 1),
        "kib_per_stream": round((after - before) / (streams - 1) / 1024, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what idle subscriptions take in a sentinel.")
    parser.add_argument("--streams", type=int, default=10_000, help="number of subscriptions")
    parser.add_argument("--of", choices=("sentinel", "proxy", "server"), default="sentinel", help="what is measured")
    parser.add_argument("--first-call", action="store_true", help="let each connection make a call first")
    parser.add_argument("--proxy", help=argparse.SUPPRESS)
    parser.add_argument("--agent", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.agent:
        asyncio.run(agent(options.agent))
        return
    if options.proxy:
        asyncio.run(proxy(options.proxy))
        return
    print(json.dumps(asyncio.run(measured(options.of, options.streams, options.first_call))))


if __name__ == "__main__":
    main()
