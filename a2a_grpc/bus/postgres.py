"""Wakes between processes through the notifications of a PostgreSQL database."""

import asyncio
import base64
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from hashlib import blake2b
from typing import Any

import asyncpg  # type: ignore[import-untyped]

from a2a_grpc.backoff import Backoff
from a2a_grpc.bus.shared import DIGEST_BYTES, SharedBus, joined
from a2a_grpc.config import ConfigurationError
from a2a_grpc.libpq import BadOption, connecting, schema_of
from a2a_grpc.masking import mask_url

logger = logging.getLogger("a2a_grpc.bus")

CHANNEL = "a2a_grpc"
NOTIFY = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload"
DIGESTS_A_NOTIFICATION = 7_900 // 4 * 3 // DIGEST_BYTES - 1
"""Digests of a payload. In base64 it holds less than 8,000 bytes with the tag of the sending process."""
PROBE_INTERVAL_S = 1.0
STOP_S = 1.0
"""How long the end of a bus, or of a connection, may take."""
AWAY_S = 0.05
"""How long the end of a connection may take if the database is away."""

FAULTS = (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""The errors of a database that is away, or going away. ValueError is raised for a URL that cannot be read."""
PASSING = {"08", "40", "53", "55", "57", "58", "XX"}
"""Classes of SQLSTATE that pass: connections, resources, shutting down or starting up, system."""


class PostgresBus(SharedBus):
    """Wakes listeners in this process, and in all that have a bus on the same database.

    Guarantees beyond those of every bus:

    - What is woken while a notification is under way goes into the next one, in one transaction.
    - A connection that is lost, also silently, is made again. The bus tries until that works. Then it wakes every
      listener, because it cannot know what was missed, and sends what it could not send meanwhile.
    - What waits for a database that is away is bounded. Beyond the bound, other processes wake every listener.

    It needs a direct connection: poolers that share connections between transactions pass no notifications on.
    """

    def __init__(self, url: str, *, timeout_s: float = 3.0) -> None:
        """Take a URL, and how long the database may take for an answer before a connection counts as lost."""
        super().__init__()
        self._url = url
        self._timeout_s = timeout_s
        self._channel = channel_of(url)
        self._tag = secrets.token_bytes(DIGEST_BYTES)
        self._is_listening = False
        self._close_s = STOP_S
        self._wanted = asyncio.Event()

    @property
    def is_healthy(self) -> bool:
        return super().is_healthy and self._is_listening

    async def start(self) -> None:
        """Begin to listen and to send. Raise ConfigurationError for a URL that the database refuses.

        A database that is away is reached later, in the background.
        """
        tried = asyncio.get_running_loop().create_future()
        self._is_started = True
        self._spawn("listen", self._keep_listening(tried))
        self._spawn("send", self._keep_sending())
        try:
            await asyncio.wait([tried, self._tasks["listen"]], return_when=asyncio.FIRST_COMPLETED)
            if tried.done() and (fault := tried.result()):
                self._refuse(fault)
        except BaseException:
            self._is_started = False
            await self._end_tasks()
            raise

    async def stop(self) -> None:
        if not self._is_started:
            return
        self._is_started = False
        self._wanted.set()
        if self._is_listening:
            await asyncio.wait([self._tasks["send"]], timeout=STOP_S)
        else:  # the database is away: drop the pending wakes, and do not say goodbye to the database
            self._close_s = AWAY_S
        await self._end_tasks()

    def _refuse(self, fault: Exception) -> None:
        """Raise ConfigurationError for a fault that does not pass."""
        if isinstance(fault, BadOption):
            raise ConfigurationError(f"bus is '{mask_url(self._url)}'; {fault}") from None
        if isinstance(fault, ValueError | asyncpg.InterfaceError):  # whose text may hold parts of the password
            raise ConfigurationError(f"bus is '{mask_url(self._url)}'; it cannot be read as a PostgreSQL URL") from None
        if isinstance(fault, asyncpg.PostgresError) and (fault.sqlstate or "XX")[:2] not in PASSING:
            raise ConfigurationError(
                f"bus is '{mask_url(self._url)}'; the database says: {mask_url(str(fault))}"
            ) from fault

    # -- hearing

    async def _keep_listening(self, tried: "asyncio.Future[Exception | None]") -> None:
        """Listen until the bus stops, and connect again after a fault. Set the outcome of the first try in `tried`."""
        backoff, is_lost = Backoff(0.1, 2.0), False
        while True:
            try:
                async with self._connection("listen") as connection:
                    gone = asyncio.Event()
                    connection.add_termination_listener(lambda _, gone=gone: gone.set())
                    with self._limited(connection):
                        await connection.add_listener(self._channel, self._notified)
                    logger.info("bus is listening channel=%s", self._channel)
                    backoff.reset()
                    is_lost = False
                    self._is_listening = True
                    self.wake_all()
                    if not tried.done():
                        tried.set_result(None)
                    try:
                        await self._probe(connection, gone)
                    finally:
                        self._is_listening = False
            except FAULTS as error:
                if not is_lost:
                    logger.warning(
                        "bus lost its connection, so this process polls the store until it is back error=%s",
                        described(error),
                    )
                    is_lost = True
                if not tried.done():
                    tried.set_result(error)
            await asyncio.sleep(backoff.next_s())

    async def _probe(self, connection: Any, gone: asyncio.Event) -> None:
        """Query the database now and then. Raise one of the faults once it does not answer."""
        while True:
            try:
                async with asyncio.timeout(PROBE_INTERVAL_S):
                    await gone.wait()
                raise ConnectionResetError("the database closed the connection")
            except TimeoutError:
                with self._limited(connection):
                    await connection.execute("SELECT 1")

    def _notified(self, connection: Any, pid: int, channel: str, payload: str) -> None:
        try:
            received = base64.b64decode(payload, validate=True)
        except ValueError:
            return  # another program uses the channel
        if received[:DIGEST_BYTES] != self._tag:  # listeners of this process were woken at once
            self._hear(received[DIGEST_BYTES:])

    # -- telling

    def _send_soon(self) -> None:
        self._wanted.set()

    async def _keep_sending(self) -> None:
        """Send the digests that wait, until the bus is stopped. Digests that come meanwhile wait for the next round."""
        backoff, is_lost, digests = Backoff(0.1, 2.0), False, list[bytes]()
        while self._is_started or self._outbox:
            try:
                async with self._connection("send") as connection:
                    connection.add_termination_listener(lambda _: self._wanted.set())
                    while self._is_started or self._outbox:
                        await self._wanted.wait()
                        self._wanted.clear()
                        digests = self._outbox.take()
                        if digests or connection.is_closed():
                            with self._limited(connection):
                                await connection.execute(NOTIFY, self._channel, self._payloads(digests))
                            backoff.reset()
                            is_lost, digests = False, []
            except FAULTS as error:
                if not is_lost:
                    logger.warning(
                        "bus cannot wake other processes for now, so they poll the store error=%s", described(error)
                    )
                    is_lost = True
                self._outbox.add(*digests)
                digests = []
                self._wanted.set()
                await asyncio.sleep(backoff.next_s())

    def _payloads(self, digests: list[bytes]) -> list[str]:
        return [base64.b64encode(self._tag + piece).decode() for piece in joined(digests, DIGESTS_A_NOTIFICATION)]

    # -- connections

    @asynccontextmanager
    async def _connection(self, what_for: str) -> AsyncIterator[Any]:
        """Open a connection that does not wait for the disk, because no notification has to be kept."""
        dsn, arguments, name, _ = connecting(self._url)
        connection = await asyncpg.connect(
            dsn,
            server_settings={"application_name": f"{name} bus {what_for}", "synchronous_commit": "off"},
            **{**arguments, "timeout": self._timeout_s},
        )
        try:
            yield connection
        finally:
            with suppress(*FAULTS):
                await connection.close(timeout=self._close_s)

    @contextmanager
    def _limited(self, connection: Any) -> Iterator[None]:
        """End the connection if the block takes too long. To cancel a statement would need an answer, too."""
        limit = asyncio.get_running_loop().call_later(self._timeout_s, connection.terminate)
        try:
            yield
        finally:
            limit.cancel()


def channel_of(url: str) -> str:
    """Return the channel of a schema. Agents that have schemas of their own do not wake each other."""
    schema = schema_of(url)
    return f"{CHANNEL}_{blake2b(schema.encode(), digest_size=8).hexdigest()}" if schema else CHANNEL


def described(error: Exception) -> str:
    """Return an error for the log, without the texts that may quote parts of a URL."""
    if isinstance(error, OSError | asyncpg.PostgresError):
        return f"{type(error).__name__}: {mask_url(str(error))}"
    return type(error).__name__
