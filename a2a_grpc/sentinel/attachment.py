"""The agent's side: stay attached to one sentinel or several, and join pipes to the agent's own gRPC server."""

import asyncio
import secrets
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from a2a_grpc.address import join_address
from a2a_grpc.client.channel import open_channel
from a2a_grpc.client.pool import Pool
from a2a_grpc.client.renewal import Renewal
from a2a_grpc.client.target import Address, grpc_address
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError, UnavailableError
from a2a_grpc.logical import logical
from a2a_grpc.sentinel.agent_settings import AttachSettings
from a2a_grpc.sentinel.attach_loop import AttachLoop, failure_of
from a2a_grpc.sentinel.attach_stream import AttachStream
from a2a_grpc.sentinel.outgoing import client_of, renamed, token_in
from a2a_grpc.sentinel.pipes import Streams
from a2a_grpc.sentinel.signed_callers import SignedCallers
from a2a_grpc.sentinel.wire import AgentFrame, Described, Drain, Hello

LASTING = frozenset([
    grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
])  # fmt: skip
"""The statuses of a first attempt that a further one does not change. Later ones may: tokens are replaced."""


class Attachment:
    """Keeps an agent attached to one sentinel, or to several at once, while the block runs.

    Guarantees:

    - After a cut the agent attaches again, after a random delay of two seconds at most.
    - If a sentinel drains, or a tunnel has its largest age, a new tunnel is there before the former one ends.
    - If a sentinel is silent for two heartbeats, the tunnel counts as lost.
    - The loss of one of several sentinels does not touch the tunnels to the others.
    - Only a sentinel that the settings name reaches the agent's private socket through a tunnel.

    Example:
        async with Attachment(AttachSettings(attach="127.0.0.1:8000", address="greeter@example")) as attachment:
            public, tenant = await attachment.welcome()
            settings = ServerSettings(advertise=public, tenant=tenant)
            async with Server(agent, settings, private_socket=path, private_callers=attachment.callers) as server:
                attachment.serve(path)
                await server.serve_forever()

    Args:
        settings: The sentinels, and the address of the agent.
        max_calls: The number of calls that the agent's server accepts on one connection.

    Raises:
        ConfigurationError: The address of the sentinel or of the agent is wrong.

    Attributes:
        callers: The authenticator for the calls that come through the tunnels.
    """

    def __init__(self, settings: AttachSettings, *, max_calls: int = 100) -> None:
        self._settings = settings
        self._address = logical("address", settings.address)
        self._token = ""
        self._metadata()  # raises for a file that cannot be read
        self._client = client_of(settings, "attach")
        self._hello = Hello(
            address=self._address,
            instance=secrets.token_urlsafe(16),
            replace=settings.replace,
            max_calls=max_calls,
            store=settings.shared_store,
        )
        self.callers = SignedCallers(self._address)
        loop = asyncio.get_running_loop()
        self._welcome: asyncio.Future[tuple[str, str]] = loop.create_future()
        self._socket: asyncio.Future[Path] = loop.create_future()
        self._failed: asyncio.Future[BaseException] = loop.create_future()
        self._is_draining = False
        self._described: Described | None = None
        self._loops = [self._loop_at(sentinel) for sentinel in sentinels_of(settings.attach)]
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        for loop in self._loops:
            running = asyncio.create_task(loop.run(), name="a2a-grpc:attach")
            running.add_done_callback(self._ended)
            self._running.append(running)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for running in self._running:
            running.remove_done_callback(self._ended)
            running.cancel()
        await asyncio.wait(self._running)
        await asyncio.gather(*(loop.close() for loop in self._loops))
        self._socket.cancel()
        self._welcome.cancel()

    async def welcome(self) -> tuple[str, str]:
        """Wait until the agent is attached for the first time. Return its public address and its tenant.

        Both are those of the sentinel that was the first to answer.

        Raises:
            A2AError: Each sentinel refuses the agent for good, or, with `fail_fast`, each first attempt has failed.
            ConfigurationError: The file with root certificates cannot be used.
        """
        either: list[asyncio.Future[Any]] = [self._welcome, self._failed]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self._welcome.done():
            raise self._failed.result()
        return self._welcome.result()

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

    def describe(self, card: bytes) -> None:
        """Tell the sentinel the card of the agent, now and whenever the agent attaches again.

        The sentinel serves the card over HTTP. Call this method again if the card has changed.

        Args:
            card: The card in JSON, byte for byte as the agent serves it, so that its signatures stay valid.
        """
        self._described = Described(card=card)
        for loop in self._loops:
            loop.send(AgentFrame(described=self._described))

    def drain(self) -> None:
        """Have the sentinel refuse new calls. Calls in progress go on."""
        self._is_draining = True
        for loop in self._loops:
            loop.send(AgentFrame(drain=Drain()))

    def _loop_at(self, sentinel: Address) -> AttachLoop:
        loop = AttachLoop(
            sentinel, self._address, self._new_stream, self._first_frames, self._gives_up,
            max_age_s=self._settings.attach_max_age_s,
        )  # fmt: skip
        loop.welcome.add_done_callback(lambda welcome: self._welcomed(loop))
        return loop

    def _welcomed(self, loop: AttachLoop) -> None:
        """Note the first sentinel that the agent is attached to."""
        if loop.welcome.cancelled() or self._welcome.done():
            return
        welcome = loop.welcome.result()
        public = welcome.public_address or join_address(loop.sentinel.host, loop.sentinel.port)
        self._welcome.set_result((public, welcome.tenant))

    def _first_frames(self) -> list[AgentFrame]:
        """Return what the agent says on each new tunnel."""
        frames = [] if self._described is None else [AgentFrame(described=self._described)]
        return [*frames, AgentFrame(drain=Drain())] if self._is_draining else frames

    def _gives_up(self, loop: AttachLoop, error: A2AError, is_final: bool) -> bool:
        """Return True if an agent does not try again to attach to a sentinel. Fail if there is no other sentinel."""
        is_first = not loop.welcome.done()
        is_lasting = is_final or (is_first and error.code in LASTING)
        loop.is_stuck = is_lasting or (is_first and self._settings.fail_fast)
        if (is_final or all(one.is_stuck for one in self._loops)) and not self._failed.done():
            self._failed.set_result(error)
        return is_lasting or self._failed.done()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """Note that the agent is not attached any more because of an error."""
        error = failure_of(task)
        if error is not None and not self._failed.done():
            self._failed.set_result(error)

    def _new_stream(self, sentinel: Address) -> AttachStream:
        def open_one() -> grpc.aio.Channel:
            try:
                return open_channel(sentinel, self._client)
            except ConfigurationError as error:
                said = renamed(error, "attach")
                if self._welcome.done():  # the files are being replaced
                    raise UnavailableError(str(said)) from None
                raise said from None

        pool = Pool(open_one, self._client.calls_per_connection, Renewal(self._client), Streams)
        return AttachStream(self._hello, pool, self._metadata(), self._socket, self.callers)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the credentials of the agent. The file is read each time, since tokens are replaced."""
        if self._settings.attach_token_file is None:
            return ()
        try:
            self._token = token_in("attach_token_file", self._settings.attach_token_file)
        except ConfigurationError:
            if not self._token:  # otherwise the file is being replaced
                raise
        return (("authorization", f"Bearer {self._token}"),)


def sentinels_of(text: str) -> list[Address]:
    """Return the addresses of sentinels. Raise ConfigurationError if one of them is wrong, or named twice.

    Args:
        text: HOST:PORT of each sentinel, with commas between them.
    """
    sentinels: list[Address] = []
    for part in text.split(","):
        try:
            sentinel = grpc_address(part.strip())
        except ConfigurationError as error:
            raise ConfigurationError(f"attach is '{text}': {error}") from None
        if sentinel in sentinels:
            raise ConfigurationError(f"attach is '{text}'; it names {sentinel} twice")
        sentinels.append(sentinel)
    return sentinels
