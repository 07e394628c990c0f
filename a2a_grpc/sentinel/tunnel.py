"""An attached agent, as a sentinel calls it: gRPC channels whose connections run through pipes."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc.aio

from a2a_grpc.client.pool import Pool
from a2a_grpc.client.renewal import Renewal
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.config import for_grpc
from a2a_grpc.deadlines import time_limit
from a2a_grpc.errors import A2AError, InvalidRequestError, PermissionDeniedError, UnavailableError
from a2a_grpc.principal import Principal
from a2a_grpc.sentinel.pipe import CHUNK_BYTES, dropped, is_http2, join
from a2a_grpc.sentinel.upstream import RawStub, Upstream
from a2a_grpc.sentinel.wire import Dial, Drain, Hello, PipeFrame, SentinelFrame, parsed

DIAL_S = 10.0
"""Seconds in which an agent answers a Dial with a pipe."""

MAX_METADATA_BYTES = 1 << 20
"""The largest metadata of a response."""

MAX_UNREAD_FRAMES = 1000
"""Frames that an agent may leave unread."""

ACCEPTING_ROUNDS = 3
"""Rounds of the event loop in which asyncio accepts a connection. It loses one whose listener is closed meanwhile."""

RESERVED_CALLS = 0.9
"""The share of an agent's calls per connection that is used: gRPC lets further calls wait without an end."""


class Tunnel(Upstream):
    """An agent that is attached.

    Channels connect to a private socket of the sentinel. For each connection there the agent is asked for a pipe, and
    the bytes of the connection are carried by the pipe.

    Guarantees:

    - A Dial is answered by one pipe at most, of the same principal.
    - Once the tunnel is closed, all its calls end within a second, and nothing of it is left.
    - On no connection are more calls open than the agent's server accepts.

    Args:
        hello: What the agent said of itself.
        principal: The principal of the agent.
        path: The path of the private socket, in a folder that no other user can read.
        dials: The tunnels of all agents by the ids of their Dials that wait for a pipe.
        max_calls: The number of calls that may be open at the same time.
        max_response_bytes: The largest size of a response.
    """

    def __init__(
        self,
        hello: Hello,
        principal: Principal,
        path: Path,
        dials: "dict[str, Tunnel]",
        *,
        max_calls: int,
        max_response_bytes: int,
    ) -> None:
        super().__init__(hello.address, max_calls=max_calls)
        self.instance = hello.instance
        self.replaces = hello.replace
        self.store = hello.store
        self.principal = principal
        self.owner = principal.owner
        self.frames: asyncio.Queue[SentinelFrame] = asyncio.Queue()
        """The frames to send to the agent."""
        self.ended = asyncio.Event()
        """Set when the tunnel has to end."""
        self.fault: A2AError | None = None
        """Why the tunnel has to end, if the agent breaks the protocol."""
        self.cards = 0
        """The number of cards that the agent has sent."""
        self._path = path
        self._max_response_bytes = max_response_bytes
        self._calls_per_pipe = max(1, int(RESERVED_CALLS * min(max(hello.max_calls, 1), max_calls)))
        self._dials = dials
        self._dialed: dict[str, _Connection] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self._listening: asyncio.Server | None = None

    @property
    def pipes(self) -> int:
        """The number of pipes."""
        return len(self._writers)

    async def open(self) -> None:
        """Listen on the private socket."""
        self._listening = await asyncio.start_unix_server(self._accept, self._path, limit=CHUNK_BYTES)
        self._pool = Pool(self._channel, self._calls_per_pipe, Renewal(ClientSettings()), RawStub)

    def shares_with(self, other: "Tunnel") -> bool:
        """Return True if two agents have the same store, so that both can serve each task of the other one."""
        return bool(self.store) and self.store == other.store

    async def carry(
        self,
        dial: str,
        principal: Principal,
        read: Callable[[], Awaitable[Any]],
        write: Callable[[bytes], Awaitable[Any]],
    ) -> None:
        """Join a pipe that the agent has opened to the connection that it was asked for.

        Args:
            dial: The id that the agent gives.
            principal: The principal of the pipe.
            read: Reads the next message of the pipe.
            write: Writes a message to the pipe.

        Raises:
            PermissionDeniedError: The principal of the pipe is not that of the agent.
            InvalidRequestError: A message of the pipe is no PipeFrame, or its first bytes are not those of HTTP/2. The
                tunnel ends.
        """
        if principal.owner != self.principal.owner:
            raise PermissionDeniedError("this pipe was asked of another principal")
        del self._dials[dial]
        connection = self._dialed.pop(dial)
        connection.taken.set()
        try:
            await join(connection.reader, connection.writer, _of_http2(read), write)
        except InvalidRequestError as error:
            self._fail(error)
            raise
        finally:
            self.cuts += 1
            connection.writer.close()
            connection.done.set()

    def renew(self) -> None:
        """Have the agent attach again. Calls go through this tunnel until the new one is there."""
        self._say(SentinelFrame(drain=Drain()))

    def drain(self, *, replaced: bool = False) -> None:
        """Take no new calls, and have the agent attach again.

        Args:
            replaced: True if another agent has taken the address, so that this one must not attach again.
        """
        self.takes_calls = False
        self._say(SentinelFrame(drain=Drain(replaced=replaced)))

    async def finish(self, grace_s: float) -> None:
        """Wait until the calls in progress have ended, for `grace_s` at most, and end the tunnel."""
        await super().finish(grace_s)
        self.ended.set()

    async def close(self) -> None:
        """End all calls, and release everything."""
        self.is_gone, self.takes_calls = True, False
        self.ended.set()
        if self._listening is None:
            return
        self._path.unlink(missing_ok=True)
        try:
            for _ in range(ACCEPTING_ROUNDS):
                await asyncio.sleep(0)
        finally:
            self._listening.close()
        for connection in self._dialed.values():
            connection.taken.set()
        for writer in set(self._writers):
            dropped(writer)
        await super().close()

    def _fail(self, error: A2AError) -> None:
        """End the tunnel of an agent that breaks the protocol."""
        self.fault = self.fault or error
        self.ended.set()

    def _say(self, frame: SentinelFrame) -> None:
        """Say something to the agent. End the tunnel of an agent that does not read."""
        self.frames.put_nowait(frame)
        if self.frames.qsize() > MAX_UNREAD_FRAMES:
            self.ended.set()

    def _channel(self) -> grpc.aio.Channel:
        options = [
            ("grpc.use_local_subchannel_pool", 1),  # a closed channel closes its connection
            ("grpc.enable_retries", 0),  # the caller decides
            ("grpc.enable_http_proxy", 0),
            ("grpc.max_receive_message_length", for_grpc(self._max_response_bytes)),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", MAX_METADATA_BYTES),
            ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
            # With its defaults gRPC takes megabytes of a response that the caller does not read.
            ("grpc.http2.bdp_probe", 0),
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.min_reconnect_backoff_ms", int(1000 * DIAL_S)),  # also the time that an attempt may take
        ]
        return grpc.aio.insecure_channel(f"unix:{self._path}", options=options)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Ask the agent for a pipe for a connection of a channel. Wait until the connection has ended."""
        if self.is_gone:  # the connection came while the tunnel was closed
            dropped(writer)
            return
        dial = secrets.token_urlsafe(16)
        self._writers.add(writer)
        self._dials[dial] = self
        connection = self._dialed[dial] = _Connection(reader, writer)
        self._say(SentinelFrame(dial=Dial(id=dial)))
        try:
            async with time_limit(DIAL_S):
                await connection.taken.wait()
            if dial not in self._dialed:  # otherwise the tunnel was closed
                await connection.done.wait()
        except TimeoutError:
            self._fail(UnavailableError(f"the agent did not answer a Dial within {DIAL_S:g} s"))
        finally:
            self._writers.discard(writer)
            if self._dialed.pop(dial, None) is not None:  # no pipe has come
                self._dials.pop(dial, None)
                dropped(writer)


def _of_http2(read: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    """Return a function that reads the messages of a pipe. It raises InvalidRequestError if they carry no HTTP/2."""
    has_begun = False

    async def checked() -> Any:
        nonlocal has_begun
        raw = await read()
        if not has_begun and raw is not grpc.aio.EOF and (data := parsed(PipeFrame, raw).data):
            has_begun = True
            if not is_http2(data):
                raise InvalidRequestError("the first bytes of the pipe are not HTTP/2")
        return raw

    return checked


class _Connection:
    """A connection to the private socket."""

    __slots__ = ("done", "reader", "taken", "writer")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.taken = asyncio.Event()
        """Set once a pipe carries the connection, or the tunnel is closed."""
        self.done = asyncio.Event()
        """Set once the pipe has ended."""
