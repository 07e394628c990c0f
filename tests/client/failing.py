"""A scripted HTTP/2 server as the proxy: its first calls fail in a way that a test chooses, the others are answered."""

import socket
import struct
import threading
from collections.abc import Callable
from typing import TypeAlias

from google.protobuf.message import Message as ProtobufMessage

from tests.attacks import http2
from tests.attacks.http2 import Peer, ScriptedServer

Failure: TypeAlias = Callable[[Peer, int], bool]
"""Ends one call, whose stream is given. Returns False if the connection has ended with the call."""

GRPC = ("content-type", "application/grpc")


def response(stream: int, *fields: tuple[str, str], status: int = 200, end_stream: bool = False) -> bytes:
    """Return the headers of a response."""
    block = http2.indexed(http2.STATUS_200) if status == 200 else http2.literal(http2.STATUS_200, str(status))
    block += b"".join(http2.literal(name, value) for name, value in fields)
    return http2.headers(stream, block, end_stream=end_stream)


def element(stream: int, message: ProtobufMessage) -> bytes:
    return http2.data(stream, http2.message(message.SerializeToString()))


def trailers(stream: int, *fields: tuple[str, str]) -> bytes:
    return http2.headers(stream, b"".join(http2.literal(name, value) for name, value in fields), end_stream=True)


# -- ways to fail


def sends(make: Callable[[int], bytes], *, then_close: bool = False) -> Failure:
    """Send frames; the connection goes on, unless it is to be closed."""

    def fail(peer: Peer, stream: int) -> bool:
        peer.send(make(stream))
        return not then_close

    return fail


def resets_stream(code: int) -> Failure:
    return sends(lambda stream: http2.rst_stream(stream, code))


def page(status: int) -> Failure:
    """An HTML page, as proxies send it."""
    html = f"<html><body><h1>{status}</h1></body></html>".encode()
    head = (("content-type", "text/html"), ("content-length", str(len(html))), ("server", "proxy"))
    return sends(lambda stream: response(stream, *head, status=status) + http2.data(stream, html, end_stream=True))


def empty_page(status: int) -> Failure:
    return sends(lambda stream: response(stream, ("content-type", "text/html"), status=status, end_stream=True))


def bare(code: int, text: str = "upstream") -> Failure:
    """A gRPC status without details."""
    fields = (GRPC, ("grpc-status", str(code)), ("grpc-message", text))
    return sends(lambda stream: response(stream, *fields, end_stream=True))


def ends_without_status(stream: int) -> bytes:
    """Return a response of gRPC that ends as if its server had gone, as HAProxy sends it."""
    return response(stream, GRPC) + http2.data(stream, b"", end_stream=True)


def reset(peer: Peer, stream: int) -> bool:
    """Reset the TCP connection."""
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.socket.close()
    return False


def goes_away(code: int) -> Failure:
    """The server has taken no stream, and closes."""
    return sends(lambda stream: http2.goaway(0, code), then_close=True)


UNSENT: dict[str, Failure] = {
    "RST_STREAM 7": resets_stream(7),
    **{f"GOAWAY {code}": goes_away(code) for code in range(13)},
}
"""The server has not begun with the call: any call may be sent again.

Not GOAWAY 13 (HTTP_1_1_REQUIRED) and above: the core of grpcio 1.84 and 1.85 ends the process when it gets one.
"""

LOST: dict[str, Failure] = {
    **{f"RST_STREAM {code}": resets_stream(code) for code in range(14) if code != 7},
    **{f"HTTP {number}": page(number) for number in (408, 425, 429, 500, 502, 503, 504, 520, 524, 599)},
    **{f"HTTP {number}, empty": empty_page(number) for number in (408, 429, 500, 502, 503, 504)},
    "HTTP 200": page(200),
    **{f"status {code}": bare(code) for code in (1, 2, 4, 8, 10, 13, 14)},
    **{f"status {code} without text": bare(code, "") for code in (1, 2, 4, 8, 10, 13, 14)},
    "status 4 as gRPC says it": bare(4, "Deadline Exceeded"),
    "a status that is no number": sends(lambda stream: response(stream, GRPC, ("grpc-status", "x"), end_stream=True)),
    "no status": sends(ends_without_status),
    "no status in trailers": sends(lambda stream: response(stream, GRPC) + trailers(stream, ("x", "y"))),
    "the connection closed": sends(lambda stream: b"", then_close=True),
    "the connection closed after headers": sends(lambda stream: response(stream, GRPC), then_close=True),
    "the connection reset": reset,
    "GOAWAY, then closed": sends(lambda stream: http2.goaway(stream, 0), then_close=True),
    "GOAWAY INTERNAL_ERROR, then closed": sends(lambda stream: http2.goaway(stream, 2), then_close=True),
    "HTTP/1": sends(lambda stream: b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", then_close=True),
    "a frame that is none": sends(lambda stream: b"\0\0\1\0\0\0\0\0\0x", then_close=True),
}  # fmt: skip
"""The call may have reached the agent, and no agent has answered it."""


class FailingServer(ScriptedServer):
    """Ends the first `failures` calls with `failure`, and answers all others.

    The first call gets `before`, and then fails once the test has set `go`.
    """

    def __init__(
        self, failure: Failure, answer: ProtobufMessage, *, before: ProtobufMessage | None = None, failures: int = 2
    ) -> None:
        super().__init__(self._play)
        self._end, self._answer, self._before = failure, answer, before
        self._failing = failures
        self.calls = 0
        self.go = threading.Event()

    def _play(self, peer: Peer) -> None:
        for found in peer.frames(timeout_s=30.0):
            if found.kind not in (http2.DATA, http2.HEADERS) or not found.flags & http2.END_STREAM:
                continue
            self.calls += 1
            if self.calls > self._failing:
                answer = response(found.stream, GRPC) + element(found.stream, self._answer)
                peer.send(answer + trailers(found.stream, ("grpc-status", "0")))
                continue
            if self._before is not None and self.calls == 1:
                peer.send(response(found.stream, GRPC) + element(found.stream, self._before))
                self.go.wait(30.0)
            if not self._end(peer, found.stream):
                return
