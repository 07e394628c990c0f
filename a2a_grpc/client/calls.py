"""One call at a time: its metadata, its deadline, its retries, its failure as an error of the tree."""

import asyncio
import logging
import re
from collections.abc import Sequence
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import Message as ProtobufMessage

from a2a_grpc.backoff import Backoff
from a2a_grpc.client.connection import Connection, Link, closed
from a2a_grpc.client.credentials import Credentials, check_entry
from a2a_grpc.client.errors import UnreachableError
from a2a_grpc.client.offers import check_offered
from a2a_grpc.client.probe import ProbeFailure, explain
from a2a_grpc.client.responses import accepted, too_many_bytes
from a2a_grpc.client.status import explain_size, to_error
from a2a_grpc.errors import (
    A2AError,
    DeadlineExceededError,
    ResourceExhaustedError,
    UnavailableError,
    UnimplementedError,
)
from a2a_grpc.protocol import IDEMPOTENT_SEND_EXTENSION, PROTOCOL_VERSION, Key
from a2a_grpc.wire import ListTasksRequest

logger = logging.getLogger("a2a_grpc.client")

Metadata: TypeAlias = Sequence[tuple[str, str]]
StreamCall: TypeAlias = "grpc.aio.UnaryStreamCall[Any, Any]"

OWN_DEADLINE = ("Deadline Exceeded", "Stream removed (Deadline Exceeded)")
"""What gRPC says of a deadline that passed on this side."""

TOO_LARGE = "CLIENT: Received message larger than max"
"""What gRPC says of a response over `max_response_bytes`."""

NOT_SERVED = re.compile(
    "failed to connect to all addresses|DNS resolution failed|errors resolving|empty address list|"
    r"(Stream removed \()?(GOAWAY received|RST_STREAM \(Received RST_STREAM with error code 7\))"
)
"""How gRPC's own text begins if no server took the call: there was no connection, or the server refused the stream
(RFC 9113 §8.7: by REFUSED_STREAM, or by a GOAWAY with a lower stream)."""


SECOND_LOOK_S = 1.0
"""Time for finding out why an agent was not reached, where reaching for it took all the time there was."""


class Calls:
    """Makes the calls of one client.

    Guarantees:

    - Every call carries `a2a-version` and the interface's tenant (OP-3); metadata of the caller is merged, never
      overwritten.
    - Only UNAVAILABLE is tried again, and a send only where that cannot make a second task.
    - Canceling whoever awaits a call cancels the RPC, nothing else.
    - Whatever fails is raised as an A2AError, or as the ConfigurationError of who configured it.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        credentials: Credentials | None,
        metadata: Metadata = (),
        extensions: Sequence[str] = (),
    ) -> None:
        self.connection = connection
        self.settings = connection.settings
        self._credentials = credentials
        self._metadata = metadata
        self._extensions = extensions
        self._repeats_safely: bool | None = None
        self._streams_sends = self._streams_tasks = True
        self.was_reached = False
        """Whether the agent has answered, ever."""

    async def unary(self, method: str, request: Any, *, metadata: Metadata = (), is_send: bool = False) -> Any:
        """The response to a unary call, within `timeout_s`, tried again while the agent is unavailable."""
        timeout_s = self.settings.timeout_s
        patience = Patience(self, limit_s=timeout_s, max_retries=self.settings.max_retries)
        refused: UnavailableError | None = None
        while True:
            link = await self._open_for(request)
            call_metadata = await self.merged(metadata)
            try:
                return await self._once(link, method, request, call_metadata, max(patience.left_s, 0.001), timeout_s)
            except UnavailableError as error:
                await patience.wait(error)
                if is_send and not never_left(error) and not await self.repeats_safely(patience):
                    raise
                refused = error
            except DeadlineExceededError as error:
                if refused is not None:
                    error.say(f"{error.message}; before, it answered: {refused.message}")
                raise

    async def may_stream(self, *, is_send: bool) -> bool:
        """Return False if the agent is known not to stream, by its card (CARD-10) or by experience."""
        streams = self._streams_sends if is_send else self._streams_tasks
        return streams and (await self.open()).may_stream

    def found_not_streaming(self, *, is_send: bool) -> None:
        """Take note that the agent does not stream, so that no stream is tried again. An agent that refuses only
        subscriptions may stream the answers to messages."""
        if self._streams_tasks:
            what = "streams" if is_send else "subscriptions"
            logger.debug("agent=%s does not stream (%s): its tasks are asked for instead", self.connection.target, what)
        self._streams_tasks = False
        self._streams_sends = self._streams_sends and not is_send

    async def stream(self, method: str, request: Any, *, metadata: Metadata = ()) -> StreamCall:
        """A streaming call, begun. It has no deadline."""
        link = await self._open_for(request)
        call: StreamCall = link.pool.begin(method, request, metadata=await self.merged(metadata))
        return call

    def drop(self, call: Any) -> None:
        """Cancel a call that `stream` began, or one in its place, unless it has ended."""
        link = self.connection.link
        if self.connection.is_forked:
            return
        if link is None:
            call.cancel()
        else:
            link.pool.end(call)

    async def open(self, request: ProtobufMessage | None = None) -> Link:
        """The link; the request gets its tenant (SEL-2, TEN-2)."""
        link = await self.connection.open()
        if link.tenant and request is not None:
            request.tenant = link.tenant  # type: ignore[attr-defined]
        return link

    async def _open_for(self, request: ProtobufMessage) -> Link:
        """Return the link for a request that is about to be sent, if the agent offers the operation (CARD-10)."""
        link = await self.open(request)
        if link.card is not None:
            check_offered(request, link.card, self.connection.target)
        return link

    async def repeats_safely(self, patience: "Patience") -> bool:
        """Whether a send that was lost may be sent again, without making a second task: the card says so, or the agent
        does, when it is asked. Raises UnavailableError where it cannot be asked in time."""
        while self._repeats_safely is None:
            try:
                self._repeats_safely = await self._offers(IDEMPOTENT_SEND_EXTENSION)
            except UnavailableError as error:
                await patience.wait(error)
        return self._repeats_safely

    async def _offers(self, uri: str) -> bool:
        """Whether the agent offers an extension: it repeats those that are asked for and that it knows (OPEN-11)."""
        request = ListTasksRequest(page_size=1)
        link = await self.open(request)
        if link.card is not None:
            return any(extension.uri == uri for extension in link.card.capabilities.extensions)
        metadata = await self.merged([(Key.EXTENSIONS, uri)])
        call: Any = link.pool.begin("ListTasks", request, metadata=metadata, timeout=self.settings.timeout_s)
        try:
            await call
        except grpc.aio.AioRpcError as failure:
            error = self.failed(failure)
            if isinstance(error, UnavailableError):
                raise error from failure
        entries = (*(await call.initial_metadata() or ()), *(await call.trailing_metadata() or ()))
        return any(key == Key.EXTENSIONS and uri in map(str.strip, value.split(",")) for key, value in entries)

    def failed(self, failure: grpc.aio.AioRpcError) -> A2AError:
        """The error for a failed call; remembers whether the agent had a say in it."""
        error = to_error(failure)
        explain_size(error)
        if not isinstance(error, UnavailableError) or not never_left(error):
            self.was_reached = True
        if isinstance(error, ResourceExhaustedError) and not error.reason and TOO_LARGE in error.message:
            return too_many_bytes(error.message)
        if isinstance(error, UnimplementedError) and not error.reason:
            error.say(
                f"'{self.connection.target}' speaks gRPC, but is no A2A {PROTOCOL_VERSION} agent: {error.message}"
            )
        return error

    def canceled(self) -> Exception:
        """Why a call was canceled that nobody canceled: the client was closed, or the peer did it."""
        if self.connection.is_closed:
            return closed()
        error = A2AError("the agent, or a proxy before it, canceled the call")
        error.code = grpc.StatusCode.CANCELLED
        return error

    async def merged(self, metadata: Metadata = ()) -> list[tuple[str, str]]:
        """The metadata of one call: the caller's, the client's, then what neither of them gave."""
        entries = [(key.lower(), value) for key, value in (*metadata, *self._metadata)]
        given = {key for key, _ in entries}
        if Key.VERSION not in given:
            entries.append((Key.VERSION, PROTOCOL_VERSION))
        if self._extensions:  # one entry (META-3), with what the caller asks for as well
            asked = [value for key, value in entries if key == Key.EXTENSIONS]
            entries = [entry for entry in entries if entry[0] != Key.EXTENSIONS]
            entries.append((Key.EXTENSIONS, ",".join((*asked, *self._extensions))))
        if self._credentials is not None:
            key, secret = await self._credentials()
            if key.lower() not in given:
                entries.append((key.lower(), secret))
        for key, value in entries:
            check_entry(key, value)
        return entries

    async def _once(
        self, link: Link, method: str, request: Any, metadata: Metadata, left_s: float, timeout_s: float
    ) -> Any:
        try:
            response = await link.pool.unary(method, request, metadata=metadata, timeout=left_s)
        except grpc.aio.AioRpcError as failure:
            error = self.failed(failure)
            if isinstance(error, DeadlineExceededError) and error.message in OWN_DEADLINE:
                error.say(f"{link.address} did not answer {method} within {timeout_s:g} s")
            try:
                raise error from failure
            finally:
                del error  # the traceback holds this frame, and the frame the request
        except asyncio.CancelledError:
            if is_canceled():
                raise
            raise self.canceled() from None
        self.was_reached = True
        return accepted(method, response)

    async def unreachable(self, error: UnavailableError, timeout_s: float) -> UnreachableError:
        """Why the agent was not reached, found out by trying each step; raises it where waiting would not help."""
        link = await self.connection.open()
        if "http1.x server" in error.message:
            raise UnreachableError(
                f"{link.address} speaks HTTP/1, not gRPC; if it serves the agent's card, call http://{link.address}"
            ) from error
        try:
            await explain(link.address, self.settings, tls=link.tls, timeout_s=max(timeout_s, SECOND_LOOK_S))
        except ProbeFailure as failure:
            found = UnreachableError(str(failure))
            if failure.is_final:
                raise found from error
            return found
        return UnreachableError(f"{link.address} cannot be reached: {error.message}")


class Patience:
    """How long something is tried again.

    An agent that was never reached is waited for `connect_timeout_s`; one that was, for `limit_s` since the last
    contact, `max_retries` times at most.
    """

    def __init__(self, calls: Calls, *, limit_s: float, max_retries: int | None = None) -> None:
        settings = calls.settings
        self._calls = calls
        self._limit_s = limit_s
        self._max_retries = max_retries
        self._backoff = Backoff(settings.retry_initial_s, settings.retry_maximum_s)
        self._tries = 0
        self._now = asyncio.get_running_loop().time
        self._since: float | None = self._now()

    @property
    def left_s(self) -> float:
        """Seconds until the patience ends; a negative number once it has."""
        return self._limit_s if self._since is None else self._limit_s - (self._now() - self._since)

    def renew(self) -> None:
        """There was contact: all counts from the next failure."""
        self._since = None

    def progressed(self) -> None:
        """There was something new: the next delay is a short one."""
        self._tries = 0
        self._backoff.reset()

    async def wait(self, error: UnavailableError) -> None:
        """Waits until the next try; raises where there is none: the error itself, or UnreachableError."""
        calls, self._tries = self._calls, self._tries + 1
        since = self._since = self._now() if self._since is None else self._since
        delay_s = max(self._backoff.next_s(), error.retry_after_s or 0.0)
        if calls.was_reached:
            if delay_s > self.left_s or (self._max_retries is not None and self._tries > self._max_retries):
                raise error
        else:
            limit_s = min(calls.settings.connect_timeout_s, self._limit_s or calls.settings.connect_timeout_s)
            left_s = limit_s - (self._now() - since)
            is_last = delay_s > left_s
            if is_last or self._tries == 1:
                found = await calls.unreachable(error, left_s)
                if is_last:
                    raise found from error
        await asyncio.sleep(delay_s)


def never_left(error: UnavailableError) -> bool:
    """Return True if no server has begun with the call, so that the call may be sent again. The channel's state does
    not tell: the channel may have connected since."""
    return not error.reason and NOT_SERVED.match(error.message) is not None


def is_canceled() -> bool:
    """Whether somebody canceled the current asyncio task: a peer's CANCELLED can look the same."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
