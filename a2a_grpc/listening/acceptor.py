"""Accept HTTP connections: a bounded number, of which the oldest is closed for a new one, and some without
descriptors."""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress

from a2a_grpc.listening.descriptors import Reserve
from a2a_grpc.throttle import Throttle

logger = logging.getLogger("a2a_grpc.listening")

BACKLOG = 128
BUFFER_BYTES = 16 * 1024
"""Received bytes of a connection that may wait in the kernel. Linux counts twice.

Requests are small, and all bytes that wait are handled in one step of the event loop."""
AT_ONCE = 16
"""Connections that are accepted from one socket before the event loop does other work."""
PAUSE_S = 0.5
"""Seconds in which no connection is accepted after the last descriptor is used. New connections wait in the system."""
TLS_HANDSHAKE_S = 10.0
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """Accepts connections of one listening socket and gives them to protocols.

    Guarantees:

    - At most `limit` connections are open, and some more for a moment. Over the limit `give_up` is called first.
    - If no descriptor is left, connections are accepted with those of a reserve, while it has some. The log has a line
      about this at most once in ten seconds.
    - A connection that fails, in a TLS handshake or before, leaves no task and no line in the log.
    """

    def __init__(
        self,
        protocol: Callable[[], asyncio.Protocol],
        *,
        limit: int,
        count: Callable[[], int],
        give_up: Callable[[], None],
    ) -> None:
        self._protocol = protocol
        self._limit = limit
        self._count = count
        self._give_up = give_up
        self._reserve = Reserve()
        self._throttle = Throttle(logger, 10.0)
        self._sockets: list[socket.socket] = []
        self._tls: Callable[[], ssl.SSLContext] | None = None
        self._beginning: dict[asyncio.Task[None], None] = {}
        self._accepting: list[asyncio.Task[None]] = []

    def start(self, sockets: Sequence[socket.socket], tls: Callable[[], ssl.SSLContext] | None) -> None:
        """Listen on bound sockets, which the acceptor closes. Ask `tls` for the context of each connection."""
        self._tls = tls
        self._reserve.fill()
        for listening in sockets:
            listening.setblocking(False)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)  # accepted sockets inherit it
            listening.listen(BACKLOG)
            self._sockets.append(listening)
            accepting = self._accept(listening)
            self._accepting.append(asyncio.create_task(accepting, name="a2a-grpc:http-accept"))

    async def stop(self) -> None:
        """Stop accepting, and end connections that have just begun."""
        if ending := [*self._accepting, *self._beginning]:
            for task in ending:
                task.cancel()
            await asyncio.wait(ending)
        self._accepting.clear()
        for listening in self._sockets:
            listening.close()
        self._sockets.clear()
        self._reserve.close()

    async def _accept(self, listening: socket.socket) -> None:
        """Accept the connections of one socket until canceled.

        `add_reader` of the event loop would be cheaper, but Windows does not have it.
        """
        while True:
            for _ in range(AT_ONCE):
                try:
                    connected = await self._accepted(listening)
                except ConnectionAbortedError:
                    continue
                except Exception as error:
                    self._throttle.error("accept", "HTTP connections cannot be accepted error=%s", error)
                    await asyncio.sleep(PAUSE_S)
                    continue
                self._make_room()
                task = asyncio.create_task(self._begin(connected), name="a2a-grpc:http-connection")
                self._beginning[task] = None
                task.add_done_callback(lambda done: self._beginning.pop(done, None))
            await asyncio.sleep(0)

    def _make_room(self) -> None:
        """Close the oldest connection if there are too many. If most are in their TLS handshake, close one of those."""
        if self._count() + len(self._beginning) < self._limit:
            return
        if len(self._beginning) > self._count():
            next(iter(self._beginning)).cancel()
            return
        self._give_up()

    async def _accepted(self, listening: socket.socket) -> socket.socket:
        """Wait for a connection and accept it, with a descriptor of the reserve if necessary."""
        loop = asyncio.get_running_loop()
        try:
            connected, _ = await loop.sock_accept(listening)
            self._reserve.fill()
        except OSError as error:
            if error.errno not in EXHAUSTED or not self._reserve.give():
                raise
            self._throttle.error("reserve", "no file descriptor is left; probes are served from a reserve")
            connected, _ = await loop.sock_accept(listening)
        return connected

    async def _begin(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        with suppress(OSError):  # ssl.SSLError is one
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connected,
                ssl=self._tls() if self._tls else None,
                ssl_handshake_timeout=TLS_HANDSHAKE_S if self._tls else None,
            )
        except OSError:  # ssl.SSLError, ConnectionError and TimeoutError are
            connected.close()
        except asyncio.CancelledError:
            connected.close()
            raise
