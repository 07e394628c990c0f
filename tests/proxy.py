"""A TCP proxy that does to connections what networks do: it cuts, stalls, delays, and loses answers."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from tests.harness import stop_listening
from tests.ports import hold_port

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What every client's connection begins with in HTTP/2."""
HEADERS, RST_STREAM = 1, 3
"""Kinds of frames: a request or a response begins; a stream is broken off."""
CANCEL = 8
"""Why a stream was broken off: nobody wants it any more."""


def never(number: int) -> bool:
    return False


class Frames:
    """Finds the frames of HTTP/2 in bytes that come in pieces."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._skip = 0

    @property
    def at_boundary(self) -> bool:
        """Whether the bytes so far end with a whole frame."""
        return not self._bytes and not self._skip

    def feed(self, chunk: bytes) -> list[tuple[int, int]]:
        """The kind and the stream of each frame whose head is complete with this chunk."""
        found: list[tuple[int, int]] = []
        self._bytes += chunk
        while True:
            skipped = min(self._skip, len(self._bytes))
            del self._bytes[:skipped]
            self._skip -= skipped
            if len(self._bytes) < 9:
                return found
            found.append((self._bytes[3], int.from_bytes(self._bytes[5:9]) & 0x7FFFFFFF))
            self._skip = 9 + int.from_bytes(self._bytes[:3])


class Connection:
    """A connection from a client, with the one to the server that belongs to it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.begun = asyncio.Event()
        """The client has said something: until then the server's bytes wait."""
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.loses_answer = False
        self.bytes_left: int | None = None
        self.opening = bytearray()
        """The client's first bytes, until it is known whether they are the preface."""
        self.speaks_http2 = False
        self.asked = Frames()
        self.answered = Frames()
        self.last_stream = 0

    def abort(self) -> None:
        """Resets both connections: what is under way in them is lost."""
        for writer in (self.client, self.server):
            sever(writer)


def sever(writer: asyncio.StreamWriter) -> None:
    """Closes a connection with a RST."""
    if not writer.transport.is_closing():
        with contextlib.suppress(OSError):
            connected: socket.socket = writer.get_extra_info("socket")
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Proxy:
    """Forwards TCP connections to one address. What else it does is told when it is made, or while it runs.

    `cut_after` holds bytes from the server: the first connection is cut after the first number of them, the next after
    the next, later ones never. `loses_answer` says by a connection's number, from 1, whether it is cut at the moment
    when the server begins to answer a request, so that the request is served and its client hears nothing of it.
    `refuses` says so for connections that are cut as they are accepted. Each chunk of bytes waits for `delay_s`.
    `server_begins` is for protocols in which the server speaks first.

    Only connections that speak HTTP/2 have numbers: those by which a client finds out why it got none are forwarded.
    """

    def __init__(
        self,
        target: str,
        *,
        cut_after: Iterable[int] = (),
        loses_answer: Callable[[int], bool] = never,
        refuses: Callable[[int], bool] = never,
        delay_s: float = 0.0,
        server_begins: bool = False,
    ) -> None:
        self.target = target
        """Where new connections go."""
        self.delay_s = delay_s
        self._cut_after = iter(cut_after)
        self._loses_answer = loses_answer
        self._refuses = refuses
        self._server_begins = server_begins
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._open: set[Connection] = set()
        self._server: asyncio.Server
        self._is_closed = False
        self._closing: asyncio.Task[None] | None = None
        self._held: socket.socket
        """Keeps the port for this proxy while it is closed."""
        self.address = ""
        self.accepted = 0
        """Connections, of any kind."""
        self.connections = 0
        """Connections that speak HTTP/2."""
        self.requests = 0
        """Requests that went to the server."""
        self.answers_lost = 0
        """Connections cut when the server began to answer."""
        self.refused = 0
        """Connections cut as they were accepted."""
        self.cuts = 0
        """Connections cut after so many bytes, or by `cut`."""
        self.forwarded = 0
        """Bytes, in both directions."""
        self.forwarded_from_server = 0

    async def __aenter__(self) -> Self:
        self._held = hold_port()
        await self._listen(*self._held.getsockname())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closed = True
        if self._closing is not None:
            await self._closing
        await stop_listening(self._server)
        self._held.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        for connection in list(self._open):
            connection.abort()
            for writer in (connection.client, connection.server):
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    # -- faults

    def stall(self) -> None:
        """From now on nothing is forwarded, in either direction."""
        self._flowing.clear()

    def resume(self) -> None:
        """Forwards again, what waited first."""
        self._flowing.set()

    def stall_open(self) -> None:
        """From now on nothing is forwarded on the connections that are open, as after a firewall forgot them."""
        for connection in self._open:
            connection.flowing.clear()

    def cut(self) -> None:
        """Cuts every connection. New ones are accepted."""
        for connection in list(self._open):
            self.cuts += connection.speaks_http2
            connection.abort()

    def cut_after(self, points: Iterable[int]) -> None:
        """From now on connections are cut after so many bytes from the server; those that are open take the first."""
        self._cut_after = iter(points)
        for connection in self._open:
            connection.bytes_left = next(self._cut_after, None)

    def close(self) -> None:
        """Listens no more, then cuts every connection: a client that comes back at once finds that nothing listens."""
        self._is_closed = True
        self._closing = asyncio.create_task(self._close())

    async def _close(self) -> None:
        await stop_listening(self._server)
        self.cut()

    async def reopen(self) -> None:
        """Listens again, where it did."""
        if self._closing is not None:
            await self._closing
        host, _, port = self.address.rpartition(":")
        await self._listen(host, int(port))

    def reset_streams(self) -> None:
        """Breaks off the latest stream of every connection, and lets the connection live."""
        for connection in self._open:
            if connection.last_stream:
                assert connection.answered.at_boundary, "there is no room for a frame between the server's bytes"
                head = bytes((0, 0, 4, RST_STREAM, 0))
                connection.client.write(head + struct.pack(">II", connection.last_stream, CANCEL))

    # -- forwarding

    async def _listen(self, host: str, port: int) -> None:
        self._is_closed = False
        self._server = await asyncio.start_server(self._connect, host, port)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._refuses(self.accepted):
            self.refused += 1
            sever(writer)
            return
        host, _, port = self.target.rpartition(":")
        try:
            there_reader, there_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            sever(writer)
            return
        except BaseException:
            sever(writer)
            raise
        connection = Connection(writer, there_writer)
        if self._is_closed:
            connection.abort()
            return
        if self._server_begins:
            connection.begun.set()
        self._open.add(connection)
        for pump in (self._pump_up(connection, reader), self._pump_down(connection, there_reader)):
            task = asyncio.create_task(pump)
            self._pumps.add(task)
            task.add_done_callback(self._pumps.discard)

    async def _pump_up(self, connection: Connection, source: asyncio.StreamReader) -> None:
        """From the client to the server."""
        with contextlib.suppress(OSError):
            while chunk := await source.read(65536):
                await self._turn_of(connection)
                self._watch(connection, chunk)
                connection.begun.set()
                self.forwarded += len(chunk)
                connection.server.write(chunk)
                await connection.server.drain()
            await self._turn_of(connection)
            connection.server.close()
            return
        await self._turn_of(connection)
        connection.abort()  # one side was reset: so is the other

    async def _pump_down(self, connection: Connection, source: asyncio.StreamReader) -> None:
        """From the server to the client."""
        with contextlib.suppress(OSError):
            while chunk := await source.read(65536):
                await connection.begun.wait()
                await self._turn_of(connection)
                begins = any(kind == HEADERS for kind, _ in connection.answered.feed(chunk))
                if connection.loses_answer and begins:
                    self.answers_lost += 1
                    connection.abort()
                    break
                is_cut = connection.bytes_left is not None and connection.bytes_left <= len(chunk)
                if connection.bytes_left is not None:
                    chunk = chunk[: connection.bytes_left]
                    connection.bytes_left -= len(chunk)
                self.forwarded += len(chunk)
                self.forwarded_from_server += len(chunk)
                connection.client.write(chunk)
                await connection.client.drain()
                if is_cut:
                    self.cuts += 1
                    connection.abort()
                    break
            await self._turn_of(connection)
            connection.client.close()
            self._open.discard(connection)
            sever(connection.server)
            return
        await self._turn_of(connection)
        self._open.discard(connection)
        connection.abort()

    async def _turn_of(self, connection: Connection) -> None:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        await self._flowing.wait()
        await connection.flowing.wait()

    def _watch(self, connection: Connection, chunk: bytes) -> None:
        """Gives the connection its number and its fate once it is one of HTTP/2; counts requests."""
        if not connection.speaks_http2:
            connection.opening += chunk
            if not connection.opening.startswith(PREFACE):
                return
            connection.speaks_http2 = True
            self.connections += 1
            connection.loses_answer = self._loses_answer(self.connections)
            connection.bytes_left = next(self._cut_after, None)
            chunk = bytes(connection.opening[len(PREFACE) :])
            connection.opening.clear()
        for kind, stream in connection.asked.feed(chunk):
            if kind == HEADERS:
                self.requests += 1
                connection.last_stream = stream
