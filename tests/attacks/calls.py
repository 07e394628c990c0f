"""Attacks that look like honest calls, as a program: python -m tests.attacks.calls NAME HOST:PORT CONNECTIONS SECONDS

They are played as those of `floods` are. `mixed` plays another one on each connection.
"""

import gzip
import itertools
import struct
import sys
import time
from collections.abc import Callable

from tests.attacks import floods, http2
from tests.attacks.floods import GET_TASK, GET_X, Attack, streams
from tests.attacks.http2 import Peer

BLOCK = http2.request_block(GET_TASK)
MiB = 1 << 20
PAUSE_S = 0.002
CANCELED_AFTER_S = 0.002
BATCH_BYTES = 1 << 15
AT_ONCE = 90


def each(call: Callable[[int], bytes], *, at_once: int = 50, pause_s: float = 0.0) -> Attack:
    """Return an attack that makes a call on one stream after another, some at once."""

    def play(peer: Peer, until: float) -> None:
        batch = bytearray()
        for count, stream in enumerate(streams(), 1):
            batch += call(stream)
            if count % at_once == 0 or len(batch) > BATCH_BYTES:
                peer.send(bytes(batch))
                peer.drain()
                batch.clear()
                time.sleep(pause_s)
                if time.monotonic() > until:
                    return

    return play


def reset_large(stream: int) -> bytes:
    """8 KB of a request of 1 MiB, and a reset."""
    begun = b"\0" + struct.pack(">I", MiB) + b"x" * 8000
    return http2.headers(stream, BLOCK) + http2.data(stream, begun) + http2.rst_stream(stream)


def cancel_later(peer: Peer, until: float) -> None:
    """Make whole calls, and cancel them all after 2 ms."""
    ids = iter(streams())
    while time.monotonic() < until:
        made = list(itertools.islice(ids, AT_ONCE))
        peer.send(b"".join(http2.request(stream, GET_TASK, b"\x12\x03t-1") for stream in made))
        peer.drain()
        time.sleep(CANCELED_AFTER_S)
        peer.send(b"".join(http2.rst_stream(stream) for stream in made))
        peer.drain()


def compressed(size: int) -> Callable[[int], bytes]:
    """Return a call whose request is gzip of so many zeros."""
    content = gzip.compress(bytes(size), 9)
    block = http2.request_block(GET_TASK, ("grpc-encoding", "gzip"))
    message = b"\1" + struct.pack(">I", len(content)) + content
    return lambda stream: http2.headers(stream, block) + http2.data(stream, message, end_stream=True)


def without_request(stream: int) -> bytes:
    return http2.headers(stream, BLOCK, end_stream=True)


def wide_metadata(stream: int) -> bytes:
    """A call with 15 KB of metadata."""
    return http2.headers(stream, WIDE_BLOCK) + http2.data(stream, GET_X, end_stream=True)


def unknown_method(stream: int) -> bytes:
    """A call of a method that does not exist, each of another name."""
    return http2.request(stream, f"/x.{time.monotonic_ns()}/Y{stream}", b"")


WIDE_BLOCK = http2.request_block(GET_TASK, ("x-wide", "w" * 15_000))
CALLS: dict[str, Attack] = {
    "reset_large": each(reset_large),
    "cancel_later": cancel_later,
    "gzip_4_mib": each(compressed(4_100_000), at_once=5, pause_s=0.01),
    "gzip_8_mib": each(compressed(8 * MiB), at_once=5, pause_s=0.01),
    "without_request": each(without_request, pause_s=PAUSE_S),
    "without_request_fast": each(without_request),
    "wide_metadata": each(wide_metadata, pause_s=PAUSE_S),
    "unknown_methods": each(unknown_method, pause_s=PAUSE_S),
}
_turn = itertools.cycle(list(CALLS.values()))


def mixed(peer: Peer, until: float) -> None:
    """Play the next one of the attacks."""
    next(_turn)(peer, until)


CALLS["mixed"] = mixed

if __name__ == "__main__":
    floods.ATTACKS.update(CALLS)
    floods.main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
