"""Accepting HTTP connections: a bounded number, the oldest given up for the newest, some even without descriptors."""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress

from a2a_grpc.server.descriptors import Reserve
from a2a_grpc.throttle import Throttle

logger = logging.getLogger("a2a_grpc.server")

BACKLOG = 128
AT_ONCE = 16
"""Connections accepted before the event loop does other work."""
PAUSE_S = 0.5
"""How long nothing is accepted once no descriptor is left; what waits stays in the system's queue."""
TLS_HANDSHAKE_S = 10.0
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """Accepts connections of one listening socket and hands them to protocols.

    Guarantees:

    - At most `limit` connections are open, and some more for a moment: over the limit `give_up` is called first.
    - Without a descriptor left, connections are accepted from a reserve as far as that goes. A line in ten seconds says
      that there are none.
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
        self._tls: ssl.SSLContext | None = None
        self._beginning: dict[asyncio.Task[None], None] = {}
        self._pauses: set[asyncio.TimerHandle] = set()

    def start(self, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None) -> None:
        """Listen on bound sockets, which belong to the acceptor from now on."""
        self._tls = tls
        self._reserve.fill()
        for listening in sockets:
            listening.setblocking(False)
            listening.listen(BACKLOG)
            self._sockets.append(listening)
            self._resume(listening)

    async def stop(self) -> None:
        """Accept no more; end connections that are just beginning."""
        for pause in self._pauses:
            pause.cancel()
        for listening in self._sockets:
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        self._sockets.clear()
        self._reserve.close()
        if beginning := list(self._beginning):
            for task in beginning:
                task.cancel()
            await asyncio.wait(beginning)

    def _resume(self, listening: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                connected = self._accepted(listening)
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._throttle.error("accept", "no HTTP connection can be accepted: %s", error.strerror)
                self._pause(listening)
                return
            self._make_room()
            task = asyncio.get_running_loop().create_task(self._begin(connected), name="a2a-grpc:http-connection")
            self._beginning[task] = None
            task.add_done_callback(lambda done: self._beginning.pop(done, None))

    def _make_room(self) -> None:
        """Over the limit, give up the oldest connection; one whose TLS handshake goes on, if those are the most."""
        if self._count() + len(self._beginning) < self._limit:
            return
        if len(self._beginning) > self._count():
            next(iter(self._beginning)).cancel()
            return
        self._give_up()

    def _accepted(self, listening: socket.socket) -> socket.socket:
        """Accept one connection, from the reserve if need be."""
        try:
            connected, _ = listening.accept()
            self._reserve.fill()
        except OSError as error:
            if error.errno not in EXHAUSTED or not self._reserve.give():
                raise
            self._throttle.error("reserve", "no file descriptor is left; probes are served from a reserve")
            connected, _ = listening.accept()
        return connected

    def _pause(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        self._pauses = {pause for pause in self._pauses if pause.when() > loop.time()}
        self._pauses.add(loop.call_later(PAUSE_S, self._resume, listening))

    async def _begin(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        with suppress(OSError):  # ssl.SSLError is one
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connected,
                ssl=self._tls,
                ssl_handshake_timeout=TLS_HANDSHAKE_S if self._tls else None,
            )
        except OSError:  # ssl.SSLError, ConnectionError and TimeoutError are
            connected.close()
        except asyncio.CancelledError:
            connected.close()
            raise
