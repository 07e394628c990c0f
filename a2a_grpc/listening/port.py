"""A gRPC port, which is bound again if gRPC's accept loop ends, and is closed without cutting calls."""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

import grpc
import grpc.aio

from a2a_grpc.address import join_address
from a2a_grpc.listening.ports import ListenError, cannot_listen, check_free
from a2a_grpc.listening.sockets import end_connections, limit_waiting, listeners, stop_listening
from a2a_grpc.rpc import AcceptingServer, Methods
from a2a_grpc.rpc.traffic import Traffic
from a2a_grpc.rpc.turns import Turns
from a2a_grpc.throttle import Throttle

logger = logging.getLogger("a2a_grpc.listening")

BIND_AGAIN_FOR_S = 1.0
"""Seconds for which a port that was lost is tried again, before the server counts as failed."""
BIND_AGAIN_EVERY_S = 0.02
OLD_CALLS_S = 600.0
"""Seconds for which calls that were open when the accept loop ended may continue."""
CALLS_S = 2.0
"""Seconds that calls that are open when a port is closed have to end."""
CLOSE_S = 1.0
"""Seconds that gRPC has to close connections without calls."""


class GrpcPort:
    """One address on which gRPC is served.

    Guarantees:

    - If gRPC's accept loop ends before `close`, the port is bound again at once, with the same methods. Calls that are
      open then may continue for ten minutes, and `on_bound_again` is called.
    - If the port cannot be bound again, `on_failure` is called once, with the reason.
    - After `close` no listener, connection or task of the port is left.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        setting: str,
        options: Sequence[tuple[str, Any]],
        credentials: Callable[[], grpc.ServerCredentials] | None,
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        shared: bool,
        on_failure: Callable[[str], None],
        on_bound_again: Callable[[], None],
        traffic: Traffic,
        max_streams: int,
    ) -> None:
        self._host = host
        self._port = port
        self._setting = setting
        self._options = options
        self._credentials = credentials
        self._bound_with: list[grpc.ServerCredentials] = []  # kept, because gRPC calls them at each handshake
        self._interceptors = interceptors
        self._shared = shared
        self._on_failure = on_failure
        self._on_bound_again = on_bound_again
        self._traffic = traffic
        self._max_streams = max_streams
        self._methods = Methods({})
        self._server: AcceptingServer | None = None
        self._listeners: frozenset[int] = frozenset()
        self._keeper: asyncio.Task[None] | None = None
        self._retired: set[asyncio.Task[None]] = set()
        self._throttle = Throttle(logger, 10.0)
        self.is_accepting = False
        """True while gRPC accepts calls on the port."""

    @property
    def address(self) -> str:
        return join_address(self._host, self._port)

    @property
    def number(self) -> int:
        """The number of the port."""
        return self._port

    @property
    def turns(self) -> Turns | None:
        """The accepted calls that wait to be begun. None before `bind`."""
        return self._server.turns if self._server is not None else None

    def bind(self) -> None:
        """Bind the port. If it is 0, a free one is chosen. Raise ListenError."""
        if self._port and not self._shared:
            check_free(self._host, self._port, self._setting)  # gRPC says that it could not bind, but not why
        self._server = self._bound()

    async def start(self, methods: Methods) -> None:
        """Begin to accept calls of these methods."""
        assert self._server is not None
        self._methods = methods
        self._server.serve(methods)
        await self._server.start()
        self.is_accepting = True
        self._keeper = asyncio.create_task(self._keep(), name=f"a2a-grpc:port:{self._port}")

    async def close(self, unread_by: Collection[str] = ()) -> None:
        """Wait two seconds at most for the open calls. Then end the connections and free the port.

        If a call is cut or comes too late, its client sees the end of the connection, which is UNAVAILABLE. Connections
        of the peers `unread_by` are left to gRPC, which ends their calls so that the client can still read what was
        written.
        """
        self.is_accepting = False
        if self._keeper is None:
            await self._free()
            return
        self._keeper.cancel()
        await asyncio.wait([self._keeper])
        spared = {int(peer.rpartition(":")[2]) for peer in unread_by}
        if self._server is not None:
            await self._server.wait_for_calls(CALLS_S)
        stop_listening(self._listeners)
        end_connections(self._port, self._listeners, spared)
        if self._server is not None:
            self._server.drop_calls()  # their clients have seen the end of the connection
        stopping = set(self._retired)
        for retired in stopping:
            retired.cancel()
        if self._server is not None:
            name = f"a2a-grpc:stop:{self._port}"
            stopping.add(asyncio.create_task(_stopped(self._server, CLOSE_S), name=name))
        await asyncio.sleep(0)  # gRPC has stopped listening
        end_connections(self._port, self._listeners, spared)  # those that came meanwhile
        await asyncio.gather(*stopping, return_exceptions=True)

    async def _free(self) -> None:
        """Free a port that was bound and never served, because gRPC keeps the port of a server that never started."""
        if self._server is not None:
            await self._server.start()
            await self._server.stop(None)

    def _bound(self) -> AcceptingServer:
        server = AcceptingServer(
            self._options, self._interceptors, traffic=self._traffic, max_streams=self._max_streams
        )
        before = listeners(self._port)
        try:
            if self._credentials is None:
                self._port = server.add_insecure_port(self.address)
            else:
                self._bound_with.append(self._credentials())
                self._port = server.add_secure_port(self.address, self._bound_with[-1])
        except RuntimeError as error:
            raise cannot_listen(self._host, self._port, self._setting, error) from error
        self._listeners = listeners(self._port) - before
        if size := dict(self._options).get("grpc.tcp_receive_buffer_size"):
            limit_waiting(self._port, self._listeners, size)
        return server

    async def _keep(self) -> None:
        """Start a new server each time that the accept loop of the last one has ended."""
        while True:
            assert self._server is not None
            error = await asyncio.shield(self._server.ended)
            self.is_accepting = False
            self._throttle.error(
                "ended", "gRPC's accept loop ended address=%s error=%r; the port is bound again", self.address, error
            )
            self._retire(self._server)
            self._server = None  # a server is stopped once: gRPC fails if the core's server is freed meanwhile
            try:
                self._server = await self._bound_again()
                self._server.serve(self._methods)
                await self._server.start()
            except Exception as failure:
                self._on_failure(f"gRPC does not accept calls on {self.address} any more: {failure}")
                return
            self.is_accepting = True
            self._on_bound_again()

    def _retire(self, server: AcceptingServer) -> None:
        """Free the port of a server, let its calls continue, and close it when they have ended."""
        retiring = asyncio.create_task(_stopped(server, OLD_CALLS_S), name=f"a2a-grpc:retired:{self._port}")
        self._retired.add(retiring)
        retiring.add_done_callback(self._retired.discard)

    async def _bound_again(self) -> AcceptingServer:
        """Bind the port, which the last server is about to free."""
        end = asyncio.get_running_loop().time() + BIND_AGAIN_FOR_S
        while True:
            await asyncio.sleep(BIND_AGAIN_EVERY_S)
            try:
                if not self._shared:
                    check_free(self._host, self._port, self._setting)
                return self._bound()
            except ListenError:
                if asyncio.get_running_loop().time() > end:
                    raise


async def _stopped(server: AcceptingServer, grace_s: float) -> None:
    """Stop a server. If canceled, do not wait for its calls."""
    try:
        await server.stop(grace_s)
    except asyncio.CancelledError:
        await server.stop(None)
