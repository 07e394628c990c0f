"""The agent's side: attach to a sentinel, stay attached, and join pipes to the agent's own gRPC server."""

import asyncio
import logging
import secrets
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from a2a_grpc.address import join_address
from a2a_grpc.backoff import Backoff
from a2a_grpc.client.channel import open_channel
from a2a_grpc.client.pool import Pool
from a2a_grpc.client.renewal import Renewal
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.status import to_error
from a2a_grpc.client.target import Address, grpc_address
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError, InvalidRequestError, UnavailableError
from a2a_grpc.harmless import one_line
from a2a_grpc.logical import logical
from a2a_grpc.sentinel.pipe import BROKEN, CHUNK_BYTES, dropped, join
from a2a_grpc.sentinel.settings import AttachSettings
from a2a_grpc.sentinel.wire import (
    ATTACH,
    PIPE,
    AgentFrame,
    Bye,
    Drain,
    Heartbeat,
    Hello,
    PipeFrame,
    SentinelFrame,
    Welcome,
    parsed,
)

logger = logging.getLogger("a2a_grpc.sentinel")

WELCOME_S = 10.0
"""Seconds in which a sentinel answers Hello."""
RETRY_INITIAL_S, RETRY_MAXIMUM_S = 0.2, 2.0
"""Seconds before the first and the later attempts to attach again."""
MAX_PIPES = 1000
"""Pipes that may be open at the same time; a sentinel that asks for more breaks the protocol."""
LEAVE_S = 1.0
"""Seconds for the last words to a sentinel."""

BROKEN_OFF = "the connection to the sentinel is broken"

LASTING = frozenset([
    grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
])  # fmt: skip
"""The statuses of a first attempt that a further one does not change. Later ones may: tokens are replaced."""


class Attachment:
    """Keeps an agent attached to a sentinel while the block runs.

    Guarantees:

    - After a cut the agent attaches again, after a random delay that grows up to two seconds.
    - If the sentinel drains, the agent attaches again before the former tunnel ends.
    - If the sentinel is silent for two heartbeats, the tunnel counts as lost.
    - Only the sentinel that the settings name reaches the agent's private socket through a tunnel.

    Example:
        async with Attachment(AttachSettings(attach="127.0.0.1:8000", address="greeter@example")) as attachment:
            welcome = await attachment.welcome()

    Args:
        settings: The sentinel, and the address of the agent.
        max_calls: The number of calls that the agent's server accepts on one connection.

    Raises:
        ConfigurationError: The address of the sentinel or of the agent is wrong.
    """

    def __init__(self, settings: AttachSettings, *, max_calls: int = 100) -> None:
        self._settings = settings
        self._address = logical("address", settings.address)
        try:
            self._sentinel: Address = grpc_address(settings.attach)
        except ConfigurationError as error:
            raise ConfigurationError(f"attach is '{settings.attach}': {error}") from None
        self._token = ""
        self._metadata()  # raises for a file that cannot be read
        self._client = ClientSettings(plaintext=settings.attach_plaintext, ca_cert=settings.attach_ca_cert)
        self._hello = Hello(
            address=self._address,
            instance=secrets.token_urlsafe(16),
            replace=settings.replace,
            max_calls=max_calls,
        )
        loop = asyncio.get_running_loop()
        self._welcome: asyncio.Future[Welcome] = loop.create_future()
        self._socket: asyncio.Future[Path] = loop.create_future()
        self._tunnels: set[_Tunnel] = set()
        self._keeping: asyncio.Task[None] | None = None
        self._is_draining = False
        self._failed: asyncio.Future[BaseException] = loop.create_future()

    async def __aenter__(self) -> Self:
        self._keeping = asyncio.create_task(self._keep(), name="a2a-grpc:attach")
        self._keeping.add_done_callback(self._kept)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._keeping is not None
        self._keeping.remove_done_callback(self._kept)
        self._keeping.cancel()
        await asyncio.wait([self._keeping])
        await asyncio.gather(*(tunnel.close() for tunnel in set(self._tunnels)))
        self._socket.cancel()
        self._welcome.cancel()

    async def welcome(self) -> tuple[str, str]:
        """Wait until the agent is attached for the first time. Return its public address and its tenant.

        Raises:
            A2AError: The sentinel refuses the agent for good. With `fail_fast`, the first attempt has failed.
            ConfigurationError: The file with root certificates cannot be used.
        """
        either: list[asyncio.Future[Any]] = [self._welcome, self._failed]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self._welcome.done():
            raise self._failed.result()
        welcome = self._welcome.result()
        return welcome.public_address or join_address(self._sentinel.host, self._sentinel.port), welcome.tenant

    async def wait_failed(self) -> BaseException:
        """Wait until the agent cannot be attached any more. Return the reason."""
        return await asyncio.shield(self._failed)

    def serve(self, path: Path) -> None:
        """Join pipes to the socket of the agent's gRPC server from now on. Pipes that came before have waited.

        Args:
            path: The path of the socket.
        """
        if not self._socket.done():
            self._socket.set_result(path)

    def drain(self) -> None:
        """Have the sentinel refuse new calls. Calls in progress go on."""
        self._is_draining = True
        for tunnel in self._tunnels:
            tunnel.say(AgentFrame(drain=Drain()))

    async def _keep(self) -> None:
        """Attach, and attach again whenever the current tunnel is lost or drains."""
        backoff = Backoff(RETRY_INITIAL_S, RETRY_MAXIMUM_S)
        said = ""
        while True:
            tunnel = self._new()
            try:
                welcome = await tunnel.open()
                logger.info("attached address=%s sentinel=%s", self._address, self._sentinel)
                backoff.reset()
                said = ""
                if not self._welcome.done():
                    self._welcome.set_result(welcome)
                if self._is_draining:
                    self.drain()
                await tunnel.leaving()  # raises if the tunnel was lost
            except A2AError as error:
                where = (self._address, self._sentinel, one_line(error.message))
                is_first = not self._welcome.done()
                is_lasting = error.code in LASTING or self._settings.fail_fast
                if tunnel.was_replaced or (is_first and is_lasting):
                    if not is_first:
                        logger.error("no longer attached address=%s sentinel=%s reason=%s", *where)
                    self._failed.set_result(error)
                    return
                if error.message != said:
                    said = error.message
                    logger.warning("not attached address=%s sentinel=%s reason=%s; trying again", *where)
            await asyncio.sleep(backoff.next_s())

    def _kept(self, task: "asyncio.Task[None]") -> None:
        """Note that the agent is not attached any more because of an error."""
        error = UnavailableError(BROKEN_OFF) if task.cancelled() else task.exception()
        if error is None:
            return
        if not isinstance(error, ConfigurationError):
            logger.error("attaching failed", exc_info=error)
        if not self._failed.done():
            self._failed.set_result(error)

    def _new(self) -> "_Tunnel":
        """Return a new tunnel. It is forgotten once it has ended: one that drains has calls in progress."""
        tunnel = _Tunnel(self._hello, self._open_pool(), self._metadata(), self._socket)
        self._tunnels.add(tunnel)
        tunnel.ending.add_done_callback(lambda done: self._tunnels.discard(tunnel))
        return tunnel

    def _open_pool(self) -> Pool:
        client, sentinel = self._client, self._sentinel

        def open_one() -> grpc.aio.Channel:
            return open_channel(sentinel, client)

        return Pool(open_one, client.calls_per_connection, Renewal(client), _Streams)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the credentials of the agent. The file is read each time, since tokens are replaced."""
        if self._settings.attach_token_file is None:
            return ()
        try:
            token = Path(self._settings.attach_token_file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeError):
            if self._token:
                return (("authorization", f"Bearer {self._token}"),)  # the file is being replaced
            raise ConfigurationError(
                f"attach_token_file '{self._settings.attach_token_file}' cannot be read as a token"
            ) from None
        self._token = token
        return (("authorization", f"Bearer {token}"),)


class _Streams:
    """The streams of the sentinel's service on one channel, with messages as bytes."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.attach: Any = channel.stream_stream(ATTACH)
        self.pipe: Any = channel.stream_stream(PIPE)


class _Tunnel:
    """One Attach stream, with its pipes."""

    def __init__(
        self, hello: Hello, pool: Pool, metadata: tuple[tuple[str, str], ...], socket: "asyncio.Future[Path]"
    ) -> None:
        self._hello = hello
        self._pool = pool
        self._metadata = metadata
        self._socket = socket
        self._frames: asyncio.Queue[AgentFrame] = asyncio.Queue()
        self._pipes: set[asyncio.Task[None]] = set()
        self._attach: Any = None
        self._heartbeat_s = WELCOME_S
        self._drained = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self.was_replaced = False
        """True once another agent has taken the address."""
        self.ending: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the tunnel has ended and everything of it is released."""

    async def open(self) -> Welcome:
        """Say Hello. Return the answer. Raise the error of a sentinel that refuses, or does not answer."""
        try:
            async with asyncio.timeout(WELCOME_S):
                self._attach = self._pool.begin("attach", None, metadata=self._metadata)
                await self._attach.write(AgentFrame(hello=self._hello).SerializeToString())
                frame = await self._read()
        except TimeoutError:
            await self._end()
            raise UnavailableError(f"the sentinel did not answer within {WELCOME_S:g} s") from None
        except A2AError:
            await self._end()
            raise
        except BROKEN as error:
            failure = await self._failure(error)
            await self._end()
            raise failure from None
        if frame is None or frame.WhichOneof("frame") != "welcome" or not 0 < frame.welcome.heartbeat_s <= 3600:
            await self._end()
            raise InvalidRequestError("the first frame of the sentinel is no proper Welcome")
        self._heartbeat_s = frame.welcome.heartbeat_s
        self._running = asyncio.create_task(self._run(), name="a2a-grpc:tunnel")
        return frame.welcome

    async def leaving(self) -> None:
        """Wait until the sentinel drains. Raise the error if the tunnel is lost before."""
        assert self._running is not None
        drained = asyncio.create_task(self._drained.wait(), name="a2a-grpc:drained")
        try:
            both: list[asyncio.Future[Any]] = [drained, self._running]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            drained.cancel()
        if self.was_replaced:
            raise UnavailableError("another agent has taken the address")
        if self._running.done():
            self._running.result()

    def say(self, frame: AgentFrame) -> None:
        """Say something to the sentinel."""
        self._frames.put_nowait(frame)

    async def close(self) -> None:
        """Say Bye, and end everything."""
        if self._running is None:
            await self._end()
            return
        self.say(AgentFrame(bye=Bye(reason="the agent stops")))
        await asyncio.wait([self._running], timeout=LEAVE_S)
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        """Serve the tunnel until its end. Raise the error of a tunnel that was lost."""
        ways = [asyncio.create_task(way, name="a2a-grpc:tunnel") for way in (self._tell(), self._hear())]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if not self._drained.is_set():
                # gRPC raises CancelledError in a way whose call the other way has canceled.
                errors = [UnavailableError(BROKEN_OFF) if way.cancelled() else way.exception() for way in done]
                error = min(errors, key=lambda error: not isinstance(error, A2AError))
                if error is not None:
                    raise await self._failure(error) if isinstance(error, BROKEN) else error
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            await self._end()
        if not self._drained.is_set():
            raise UnavailableError("the sentinel has ended the tunnel")

    async def _tell(self) -> None:
        """Say what is to be said, and a heartbeat if there is nothing. Return after Bye."""
        while True:
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    frame = await self._frames.get()
            except TimeoutError:
                frame = AgentFrame(heartbeat=Heartbeat())
            await self._attach.write(frame.SerializeToString())
            if frame.WhichOneof("frame") == "bye":
                return

    async def _hear(self) -> None:
        """Do what the sentinel says. Return at the end of the stream."""
        while True:
            try:
                async with asyncio.timeout(2 * self._heartbeat_s):
                    frame = await self._read()
            except TimeoutError:
                raise UnavailableError("the sentinel was silent for two heartbeats") from None
            if frame is None:
                return
            match frame.WhichOneof("frame"):
                case "heartbeat":
                    pass
                case "dial":
                    if len(self._pipes) >= MAX_PIPES:
                        raise InvalidRequestError(f"the sentinel asks for more than {MAX_PIPES} pipes")
                    pipe = asyncio.create_task(self._pipe(frame.dial.id), name="a2a-grpc:pipe")
                    self._pipes.add(pipe)
                    pipe.add_done_callback(self._pipes.discard)
                case "drain":
                    self.was_replaced = frame.drain.replaced
                    self._drained.set()
                case "bye":
                    return
                case _:
                    raise InvalidRequestError("the sentinel's frame is of no known kind")

    async def _pipe(self, dial: str) -> None:
        """Open a pipe, and join it to a connection to the agent's server."""
        call = self._pool.begin("pipe", None, metadata=self._metadata)
        writer: asyncio.StreamWriter | None = None
        try:
            path = await asyncio.shield(self._socket)
            await call.write(PipeFrame(dial=dial).SerializeToString())  # first, so that a failure is known at once
            reader, writer = await asyncio.open_unix_connection(path, limit=CHUNK_BYTES)
            await join(reader, writer, call.read, call.write, call.done_writing)
        except BROKEN as error:
            logger.debug("a pipe ended: %r", error)
        except A2AError as error:
            logger.warning("a pipe was ended address=%s reason=%s", self._hello.address, one_line(error.message))
        finally:
            self._pool.end(call)
            if writer is not None:
                dropped(writer)

    async def _read(self) -> SentinelFrame | None:
        """Return the next frame; None at the end of the stream."""
        raw = await self._attach.read()
        return None if raw is grpc.aio.EOF else parsed(SentinelFrame, raw)

    async def _failure(self, error: BaseException) -> A2AError:
        """Return the error that the failed stream stands for."""
        if not isinstance(error, grpc.aio.AioRpcError):
            try:
                async with asyncio.timeout(LEAVE_S):
                    code, said = await self._attach.code(), await self._attach.details()
                    trailers = await self._attach.trailing_metadata()
            except TimeoutError:
                return UnavailableError(BROKEN_OFF)
            error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, said)
        if error.code() is grpc.StatusCode.CANCELLED:  # by this side, after a heartbeat that did not come
            return UnavailableError(BROKEN_OFF)
        return to_error(error)

    async def _end(self) -> None:
        """End all pipes and the stream, and close the connections."""
        for pipe in self._pipes:
            pipe.cancel()
        if self._pipes:
            await asyncio.wait(set(self._pipes))
        if self._attach is not None:
            self._pool.end(self._attach)
        await self._pool.close()
        if not self.ending.done():
            self.ending.set_result(None)
