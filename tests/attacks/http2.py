"""HTTP/2 frames over plain sockets: what no well-behaved library sends.

with Peer.connect(address) as peer:
    peer.send(request(1, "/lf.a2a.v1.A2AService/GetTask"))
    for frame in peer.frames(timeout_s=1.0): ...

with ScriptedServer(script) as server: ...      script(peer) runs in a thread for each connection
"""

import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
"""Kinds of frames (RFC 9113 §6)."""

END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
"""Flags of frames."""

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)
"""Names of settings (RFC 9113 §6.5.2)."""

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, CANCEL, ENHANCE_YOUR_CALM = 0, 1, 2, 8, 11
"""Error codes (RFC 9113 §7)."""

POST, SCHEME_HTTP, STATUS_200 = 3, 6, 8
"""Places in HPACK's static table (RFC 7541, appendix A)."""
FIRST_DYNAMIC = 62
"""Place of the entry that was added to HPACK's dynamic table last."""

CONNECT_TIMEOUT_S = 10.0


class Frame(NamedTuple):
    """One frame, as it was read."""

    kind: int
    flags: int
    stream: int
    payload: bytes


# -- frames, as bytes


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Return one frame. Nothing is checked: the frame may be one that the protocol forbids."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    """Return SETTINGS with pairs of name and value."""
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", name, value) for name, value in pairs))


def settings_ack() -> bytes:
    return frame(SETTINGS, ACK)


def headers(stream: int, block: bytes, *, end_stream: bool = False, end_headers: bool = True) -> bytes:
    """Return HEADERS that carry an encoded header block, or its first part."""
    return frame(HEADERS, end_stream * END_STREAM | end_headers * END_HEADERS, stream, block)


def continuation(stream: int, block: bytes, *, end_headers: bool = False) -> bytes:
    return frame(CONTINUATION, end_headers * END_HEADERS, stream, block)


def data(stream: int, payload: bytes, *, end_stream: bool = False) -> bytes:
    return frame(DATA, end_stream * END_STREAM, stream, payload)


def ping(opaque: bytes = b"\0" * 8, *, ack: bool = False) -> bytes:
    return frame(PING, ack * ACK, payload=opaque)


def priority(stream: int, *, depends_on: int = 0, weight: int = 16) -> bytes:
    return frame(PRIORITY, stream=stream, payload=struct.pack(">IB", depends_on, weight))


def rst_stream(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, stream=stream, payload=struct.pack(">I", code))


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, stream=stream, payload=struct.pack(">I", increment))


def goaway(last_stream: int = 0, code: int = NO_ERROR, debug: bytes = b"") -> bytes:
    return frame(GOAWAY, payload=struct.pack(">II", last_stream, code) + debug)


# -- header blocks: HPACK without Huffman coding


def integer(value: int, prefix_bits: int, pattern: int = 0) -> bytes:
    """Return an HPACK integer (RFC 7541 §5.1); `pattern` holds the bits before the prefix."""
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes([pattern | value])
    encoded = bytearray([pattern | limit])
    value -= limit
    while value >= 128:
        encoded.append(value % 128 + 128)
        value //= 128
    encoded.append(value)
    return bytes(encoded)


def string(value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return integer(len(raw), 7) + raw


def literal(name: bytes | str | int, value: bytes | str, *, index: bool = False) -> bytes:
    """Return a literal field. `name` may be a place in the tables; `index` adds the field to the dynamic table."""
    prefix, pattern = (6, 0x40) if index else (4, 0x00)
    if isinstance(name, int):
        return integer(name, prefix, pattern) + string(value)
    return bytes([pattern]) + string(name) + string(value)


def indexed(place: int) -> bytes:
    """Return a field of the static or dynamic table: one byte, whatever the field's size."""
    return integer(place, 7, 0x80)


def table_size(size: int) -> bytes:
    """Return a change of the dynamic table's size."""
    return integer(size, 5, 0x20)


def request_block(path: bytes | str, *extra: tuple[bytes | str, bytes | str], authority: str = "localhost") -> bytes:
    """Return the header block of a gRPC request, in literals: its decoder's dynamic table stays as it is."""
    fields: list[tuple[bytes | str, bytes | str]] = [
        (":path", path),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("a2a-version", "1.0"),
        *extra,
    ]
    return indexed(POST) + indexed(SCHEME_HTTP) + b"".join(literal(name, value) for name, value in fields)


def message(payload: bytes) -> bytes:
    """Return a gRPC message: uncompressed, with its length before it."""
    return struct.pack(">BI", 0, len(payload)) + payload


def request(
    stream: int, path: bytes | str, payload: bytes | None = b"", *extra: tuple[bytes | str, bytes | str]
) -> bytes:
    """Return the frames of a whole unary gRPC request. `payload=None`: headers only, the request stays open."""
    block = request_block(path, *extra)
    if payload is None:
        return headers(stream, block)
    return headers(stream, block) + data(stream, message(payload), end_stream=True)


# -- connections


class Peer:
    """One end of an HTTP/2 connection over a blocking socket."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._buffer = bytearray()

    @classmethod
    def connect(
        cls, address: str, *pairs: tuple[int, int], greet: bool = True, tls: ssl.SSLContext | None = None
    ) -> Self:
        """Connect to HOST:PORT, with TLS as `localhost` if `tls` is given. Send preface and SETTINGS with these pairs,
        unless `greet` is False."""
        host, _, port = address.rpartition(":")
        peer = cls(socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S))
        peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            try:
                peer.socket = tls.wrap_socket(peer.socket, server_hostname="localhost")
            except OSError:
                peer.close()
                raise
        if greet:
            peer.send(PREFACE + settings(*pairs))
        return peer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. A thread that reads from the connection wakes."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def send(self, frames: bytes) -> None:
        """Send all of it. Raises OSError if the other side has gone, TimeoutError if the other side does not read."""
        self.socket.sendall(frames)

    def drain(self) -> int:
        """Throw away what can be read at once. Return the number of bytes. Raises ConnectionError at the end."""
        total = 0
        readable = select.poll()  # MSG_DONTWAIT would not help: Python waits for sockets that have a timeout
        try:
            readable.register(self.socket, select.POLLIN)
        except ValueError:  # its descriptor is -1
            raise ConnectionResetError("this side has closed") from None
        while readable.poll(0):
            chunk = self.socket.recv(1 << 16)
            if not chunk:
                raise ConnectionResetError("the other side has closed")
            total += len(chunk)
        return total

    def read_exactly(self, size: int) -> bytes:
        """Read so many bytes. Raises ConnectionError if the other side closes before."""
        while len(self._buffer) < size:
            chunk = self.socket.recv(1 << 16)
            if not chunk:
                raise ConnectionResetError("the other side has closed")
            self._buffer += chunk
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    def read_frame(self) -> Frame:
        """Read one frame. Raises ConnectionError, or TimeoutError after the socket's timeout."""
        while len(self._buffer) < 9 or len(self._buffer) < 9 + int.from_bytes(self._buffer[:3]):
            chunk = self.socket.recv(1 << 16)
            if not chunk:
                raise ConnectionResetError("the other side has closed")
            self._buffer += chunk
        head = self.read_exactly(9)
        payload = self.read_exactly(int.from_bytes(head[:3]))
        return Frame(head[3], head[4], int.from_bytes(head[5:9]) & 0x7FFFFFFF, payload)

    def frames(self, *, timeout_s: float = 5.0) -> Iterator[Frame]:
        """Iterate over what comes until the other side closes or is silent so long. Acknowledge SETTINGS and PING."""
        self.socket.settimeout(timeout_s)
        while True:
            try:
                found = self.read_frame()
                if found.kind == SETTINGS and not found.flags & ACK:
                    self.send(settings_ack())
                elif found.kind == PING and not found.flags & ACK:
                    self.send(ping(found.payload, ack=True))
            except OSError:  # TimeoutError and ConnectionError are
                return
            yield found

    def until(self, kinds: Iterable[int], *, timeout_s: float = 5.0) -> Frame | None:
        """Return the next frame of one of these kinds; None if the connection ends or is silent before."""
        wanted = set(kinds)
        return next((found for found in self.frames(timeout_s=timeout_s) if found.kind in wanted), None)


class ScriptedServer:
    """Listens on a free port of loopback and plays `script(peer)` in a thread for each connection.

    Preface and SETTINGS are exchanged before. The connection is closed when the script returns. `connections` counts.
    An OSError in the script is the client's leaving; any other exception is raised when the block is left.
    """

    def __init__(self, script: Callable[[Peer], None], *pairs: tuple[int, int]) -> None:
        self._script = script
        self._pairs = pairs
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._peers: set[Peer] = set()
        self._threads: list[threading.Thread] = []
        self._failures: list[Exception] = []
        self.connections = 0
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        accepting = threading.Thread(target=self._accept, name="scripted-server", daemon=True)
        accepting.start()
        self._threads.append(accepting)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for peer in list(self._peers):
            peer.close()
        for thread in self._threads:
            thread.join(5.0)
        if error is None and self._failures:
            raise self._failures[0]

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            peer = Peer(connected)
            self._peers.add(peer)
            serving = threading.Thread(target=self._serve, args=(peer,), name="scripted-server", daemon=True)
            serving.start()
            self._threads = [thread for thread in self._threads if thread.is_alive()] + [serving]

    def _serve(self, peer: Peer) -> None:
        try:
            peer.socket.settimeout(CONNECT_TIMEOUT_S)
            peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if peer.read_exactly(len(PREFACE)) == PREFACE:
                peer.send(settings(*self._pairs))
                self._script(peer)
        except OSError:
            pass
        except Exception as error:
            self._failures.append(error)
        finally:
            peer.close()
            self._peers.discard(peer)
