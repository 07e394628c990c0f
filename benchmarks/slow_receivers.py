"""Measure what a receiver of push notifications costs streams: python benchmarks/slow_receivers.py

The server (servers/scripted.py) and the receivers are processes of their own. In each round two tasks are streamed at
the same time: one with a push config, and one without. The receivers take turns, round by round: none, one that answers
at once, one that sleeps for 30 seconds, one that resets each connection, and one that answers 500. What they have left
undone goes on in later rounds. Prints the median time of the streams for each receiver, and the ratio to the streams
without a receiver. Takes about 70 seconds.
"""

import argparse
import asyncio
import json
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "clients"))
import grpc.aio
from started import start

from a2a_grpc.protocol import PROTOCOL_VERSION, Key
from a2a_grpc.wire import SERVICE_NAME, Message, SendMessageRequest

NONE = "none"
RECEIVERS = ("answers at once", "sleeps for 30 s", "resets", "answers 500")
ANSWERS = {"answers at once": b"204 No Content", "answers 500": b"500 Internal Server Error"}
SLEEP_S = 30.0
CHUNKS = 1500
"""Pieces of an artifact that a stream brings."""
METHOD = f"/{SERVICE_NAME}/SendStreamingMessage"


async def receive() -> None:
    """Be the receivers, each at a port of its own."""

    async def serve(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
                await reader.readexactly(int(fields[b"content-length"]))
                if name == "sleeps for 30 s":
                    await asyncio.sleep(SLEEP_S)
                if name == "resets":
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    return
                answer = ANSWERS.get(name, b"204 No Content")
                writer.write(b"HTTP/1.1 " + answer + b"\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    ports = {}
    for name in RECEIVERS:
        server = await asyncio.start_server(lambda *ends, name=name: serve(name, *ends), "127.0.0.1", 0)
        ports[name] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await asyncio.get_running_loop().create_future()


async def stream(channel: grpc.aio.Channel, url: str) -> float:
    """Stream a task to its end. Return the seconds that took."""
    message = Message(message_id=f"m-{time.monotonic_ns()}", role=1)
    steps = [{"status": "begun"}, {"chunks": {"count": CHUNKS}}, {"status": "almost done"}]
    message.parts.add().data.struct_value.update({"script": steps})
    request = SendMessageRequest(message=message)
    if url:
        request.configuration.task_push_notification_config.url = url
    begun = time.monotonic()
    call: Any = channel.unary_stream(METHOD)(request.SerializeToString(), metadata=((Key.VERSION, PROTOCOL_VERSION),))
    count = 0
    async for _ in call:
        count += 1
    assert count > CHUNKS, count
    return time.monotonic() - begun


async def measure(options: argparse.Namespace, folder: str, stack: ExitStack) -> None:
    receivers = start([__file__, "--receive"], stack, stdout=subprocess.PIPE)
    ports = json.loads((receivers.stdout or sys.stdin).readline())
    store = f"sqlite:///{folder}/tasks.db" if options.store == "sqlite" else "memory:"
    command = ["servers/scripted.py", "-o", "json", "--listen=127.0.0.1:0", "--http-listen=off", f"--store={store}"]
    server = start([*command, "--push", "--push-allow=127.0.0.0/8"], stack, stdout=subprocess.PIPE)
    ready = next(told for line in server.stdout or () if (told := json.loads(line))["event"] == "ready")
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    own_pool = [("grpc.use_local_subchannel_pool", 1)]
    async with (
        grpc.aio.insecure_channel(ready["grpc"], options=own_pool) as one,
        grpc.aio.insecure_channel(ready["grpc"], options=own_pool) as other,
    ):
        await asyncio.gather(stream(one, ""), stream(other, ""))
        end = time.monotonic() + options.seconds
        while time.monotonic() < end:
            for name in (NONE, *RECEIVERS):
                url = f"http://127.0.0.1:{ports[name]}/hook" if name != NONE else ""
                own, others = await asyncio.gather(stream(one, url), stream(other, ""))
                found["own", name].append(own)
                found["other", name].append(others)
    for whose in ("own", "other"):
        base = found[whose, NONE]
        for name in (NONE, *RECEIVERS):
            times = found[whose, name]
            ratio = statistics.median(now / before for now, before in zip(times, base, strict=True))
            median = statistics.median(times) * 1000
            print(f"{whose:5} stream, receiver {name:15} n={len(times)} median={median:.0f} ms ratio={ratio:.3f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="seconds in which rounds begin; default: %(default)s")
    parser.add_argument("--store", choices=("memory", "sqlite"), default="memory", help="default: %(default)s")
    parser.add_argument("--receive", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.receive:
        asyncio.run(receive())
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C, so that no process stays
    try:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            asyncio.run(measure(options, folder, stack))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
