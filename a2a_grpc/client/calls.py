"""The calls of a client: deadlines, retries, and what the client has found out about its agent."""

import asyncio
import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeAlias

import grpc.aio
from google.protobuf.message import Message as ProtobufMessage

from a2a_grpc.client.connection import Connection, Link
from a2a_grpc.client.contact import Contact
from a2a_grpc.client.disconnects import Passing, is_refused_for_now, is_unsent
from a2a_grpc.client.errors import ConnectionLostError
from a2a_grpc.client.extended import Extended
from a2a_grpc.client.extensions import Extensions
from a2a_grpc.client.failures import Failures, is_canceled
from a2a_grpc.client.headers import Headers, Metadata
from a2a_grpc.client.identity import Identity
from a2a_grpc.client.offers import check_offered
from a2a_grpc.client.responses import accepted, is_of_task
from a2a_grpc.client.retry import RetryPolicy
from a2a_grpc.client.security import Given
from a2a_grpc.client.spans import Spans, UnarySpan, open_spans
from a2a_grpc.errors import DeadlineExceededError, ResourceExhaustedError, UnauthenticatedError, UnavailableError
from a2a_grpc.protocol import IDEMPOTENT_SEND_EXTENSION, Key
from a2a_grpc.wire import AgentCard, GetExtendedAgentCardRequest

logger = logging.getLogger("a2a_grpc.client")

StreamCall: TypeAlias = "grpc.aio.UnaryStreamCall[Any, Any]"

LATE_S = 0.01
"""A call with fewer seconds left counts as late. The agent may report the deadline a little before the client."""


class Calls:
    """Makes the calls of one client.

    Guarantees:

    - Every call carries `a2a-version` and the interface's tenant (OP-3); metadata of the caller is merged, never
      overwritten.
    - A call is tried again if no agent has answered it (`origin`), or if the agent answers UNAVAILABLE. A send is tried
      again only if that cannot make a second task.
    - Any call is tried again if the agent answers RESOURCE_EXHAUSTED and says when to come back.
    - A call that the agent refuses with UNAUTHENTICATED is tried again once, if there are other credentials by then.
    - If the Python task that awaits a call is canceled, the RPC is canceled, and nothing else.
    - Each failure is raised as an A2AError, or as a ConfigurationError if the configuration is wrong.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        credentials: Given | None,
        metadata: Metadata = (),
        extensions: Sequence[str] = (),
    ) -> None:
        self.connection = connection
        self.settings = connection.settings
        self.contact = Contact(connection)
        self._identity = Identity(connection, credentials)
        self.headers = Headers(connection, self._identity, metadata, extensions)
        self.failures = Failures(self.contact, self._identity)
        self.extensions = Extensions(connection, self.headers, self.failures)
        self._extended = Extended(self.contact)
        self._streams_sends = self._streams_tasks = True

    async def unary(
        self,
        method: str,
        request: Any,
        *,
        metadata: Metadata = (),
        is_safe: bool = True,
        retry: RetryPolicy | None = None,
    ) -> Any:
        """Return the response to a unary call, tried again while there is no answer of the agent.

        All tries together have `timeout_s`; if the caller gives a policy, each try has, and the policy says how
        long there are tries. A call that is not safe to repeat is repeated only if that has no second effect.
        """
        if self.spans is None:
            return await self._unary(method, request, metadata, is_safe=is_safe, retry=retry)
        with UnarySpan(self.spans, method, request, metadata) as span:
            response = await self._unary(method, request, span.metadata, is_safe=is_safe, retry=retry)
            span.answered(response)
            return response

    @cached_property
    def spans(self) -> Spans | None:
        """What begins the spans of the calls. None if the program wanted none at the time of the first call."""
        return open_spans(self.connection, self.headers.names)

    async def _unary(
        self, method: str, request: Any, metadata: Metadata, *, is_safe: bool, retry: RetryPolicy | None
    ) -> Any:
        timeout_s = self.settings.timeout_s
        retry = retry or self.retry_policy()
        is_keyed = any(key == Key.IDEMPOTENCY for key, _ in metadata)
        refused: Passing | None = None
        sent: list[tuple[str, str]] = []
        fresh: list[tuple[str, str]] | None = None
        may_renew = True
        while True:
            link = await self._open_for(request)
            try:
                sent = []
                sent, fresh = fresh or await self.headers.merged(metadata), None
                left_s = timeout_s if retry.left_s is None else max(retry.left_s, 0.001)
                return await self._once(link, method, request, sent, left_s)
            except (UnavailableError, ResourceExhaustedError) as error:
                if not await self.may_repeat(error, retry, is_safe=is_safe, is_keyed=is_keyed):
                    raise
                refused = error
            except DeadlineExceededError as error:
                if refused is not None:
                    error.say(f"{error.message}; before, it answered: {refused.message}")
                raise
            except UnauthenticatedError:
                fresh = await self.headers.renewed(sent, metadata) if sent and may_renew else None
                if fresh is None:
                    raise
                may_renew = False

    async def card(self) -> AgentCard | None:
        """Return the card that the agent shows to this caller; None if the target is an address.

        It is the extended card if the client has one and the public card is still of the same version (XCRD-5).
        """
        public = await self.connection.card()
        return public if public is None else self._extended.in_place_of(public)

    def retry_policy(self) -> RetryPolicy:
        """Return the policy of one unary call."""
        return RetryPolicy(self.contact, within_s=self.settings.timeout_s, max_retries=self.settings.max_retries)

    async def may_repeat(self, error: Passing, retry: RetryPolicy, *, is_safe: bool, is_keyed: bool = True) -> bool:
        """Wait until the next try of a call. Return False if the next try could have the same effect twice.

        A call that is not safe to repeat may be repeated if it is a send with an idempotency key, and the agent honours
        the key. Raise the error, or UnreachableError, if there is no next try.
        """
        if isinstance(error, ResourceExhaustedError) and not is_refused_for_now(error):
            return False
        try:
            await retry.wait(error)
        except ResourceExhaustedError:
            if retry.may_have_acted and not is_safe:
                error.say(f"{error.message}; whether an earlier try has had its effect is not known")
            raise
        if is_safe or is_unsent(error) or (is_keyed and await self.extensions.offers(IDEMPOTENT_SEND_EXTENSION, retry)):
            return True
        if isinstance(error, ConnectionLostError):
            error.say(f"{error.message}; whether the call has had its effect is not known")
        return False

    async def may_stream(self, *, is_send: bool) -> bool:
        """Return False if the agent is known not to stream, by its card (CARD-10) or by experience."""
        streams = self._streams_sends if is_send else self._streams_tasks
        return streams and (await self._extended_link(await self.connection.open())).may_stream

    def found_not_streaming(self, *, is_send: bool) -> None:
        """Record that the agent does not stream, so that no stream is tried again.

        An agent that refuses only subscriptions may stream the answers to messages.
        """
        if self._streams_tasks:
            what = "streams" if is_send else "subscriptions"
            logger.debug(
                "agent does not stream, so its tasks are polled agent=%s refuses=%s", self.connection.target, what
            )
        self._streams_tasks = False
        self._streams_sends = self._streams_sends and not is_send

    async def stream(
        self, method: str, request: Any, *, metadata: Metadata = ()
    ) -> tuple[StreamCall, list[tuple[str, str]]]:
        """Begin a streaming call, which has no deadline. Return gRPC's call, and the metadata that was sent."""
        link = await self._open_for(request)
        sent = await self.headers.merged(metadata)
        call: StreamCall = link.pool.begin(method, request, metadata=sent)
        return call, sent

    def drop(self, call: Any) -> None:
        """Cancel a call that `stream` began, or one in its place, unless it has ended."""
        link = self.connection.link
        if self.connection.is_forked:
            return
        if link is None:
            call.cancel()
        else:
            link.pool.end(call)

    async def _open_for(self, request: ProtobufMessage) -> Link:
        """Return the link for a request that is about to be sent, if the agent offers the operation (CARD-10)."""
        link = await self.connection.open(request)
        if link.card is None or (isinstance(request, GetExtendedAgentCardRequest) and self._extended.is_used):
            return link
        if not isinstance(request, GetExtendedAgentCardRequest):
            link = await self._extended_link(link)
        if link.card is not None:
            check_offered(request, link.card, self.connection.target)
        return link

    async def _extended_link(self, link: Link) -> Link:
        """Return the link with the extended card, if the agent offers one and there are credentials."""
        return await self._extended.link(link, self.unary) if self._identity.is_given else link

    async def _once(self, link: Link, method: str, request: Any, metadata: Metadata, left_s: float) -> Any:
        now = asyncio.get_running_loop().time
        deadline = now() + left_s
        try:
            response = await link.pool.unary(method, request, metadata=metadata, timeout=left_s)
        except grpc.aio.AioRpcError as failure:
            is_late = deadline - now() < LATE_S
            error = self.failures.error_of(failure, is_late=is_late)
            if isinstance(error, DeadlineExceededError) and not error.reason and is_late:
                error.say(f"{link.address} did not answer {method} within {self.settings.timeout_s:g} s")
            try:
                raise error from failure
            finally:
                del error  # the traceback holds this frame, and the frame the request
        except asyncio.CancelledError:
            if is_canceled():
                raise
            raise self.failures.error_of_cancel() from None
        self.contact.answered()
        return is_of_task(accepted(method, response), getattr(request, "id", ""))
