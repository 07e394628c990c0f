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
from a2a_grpc.client.target import Address, grpc_address
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError, UnavailableError
from a2a_grpc.harmless import one_line
from a2a_grpc.logical import logical
from a2a_grpc.sentinel.described import is_bad_card
from a2a_grpc.sentinel.link import BROKEN_OFF, Link, Streams
from a2a_grpc.sentinel.settings import AttachSettings
from a2a_grpc.sentinel.wire import AgentFrame, Described, Drain, Hello, Welcome

logger = logging.getLogger("a2a_grpc.sentinel")

RETRY_INITIAL_S, RETRY_MAXIMUM_S = 0.2, 2.0
"""Seconds before the first and the later attempts to attach again."""

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
            store=settings.shared_store,
        )
        loop = asyncio.get_running_loop()
        self._welcome: asyncio.Future[Welcome] = loop.create_future()
        self._socket: asyncio.Future[Path] = loop.create_future()
        self._tunnels: set[Link] = set()
        self._keeping: asyncio.Task[None] | None = None
        self._is_draining = False
        self._described: Described | None = None
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

    def describe(self, card: bytes) -> None:
        """Tell the sentinel the card of the agent, now and whenever the agent attaches again.

        The sentinel serves the card over HTTP. Call this method again if the card has changed.

        Args:
            card: The card in JSON, byte for byte as the agent serves it, so that its signatures stay valid.
        """
        self._described = Described(card=card)
        for tunnel in self._tunnels:
            tunnel.say(AgentFrame(described=self._described))

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
                if self._described is not None:
                    tunnel.say(AgentFrame(described=self._described))
                if self._is_draining:
                    self.drain()
                await tunnel.leaving()  # raises if the tunnel was lost
            except A2AError as error:
                where = (self._address, self._sentinel, one_line(error.message))
                is_first = not self._welcome.done()
                is_lasting = error.code in LASTING or self._settings.fail_fast
                if tunnel.was_replaced or is_bad_card(error) or (is_first and is_lasting):
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

    def _new(self) -> Link:
        """Return a new tunnel. It is forgotten once it has ended: one that drains has calls in progress."""
        tunnel = Link(self._hello, self._open_pool(), self._metadata(), self._socket)
        self._tunnels.add(tunnel)
        tunnel.ending.add_done_callback(lambda done: self._tunnels.discard(tunnel))
        return tunnel

    def _open_pool(self) -> Pool:
        client, sentinel = self._client, self._sentinel

        def open_one() -> grpc.aio.Channel:
            return open_channel(sentinel, client)

        return Pool(open_one, client.calls_per_connection, Renewal(client), Streams)

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
