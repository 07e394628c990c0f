"""Relaying calls: the bytes of requests and responses, metadata and statuses, as they are."""

import asyncio
import re
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor

from a2a_grpc.errors import InvalidRequestError, UnimplementedError, Violation
from a2a_grpc.logical import FORM, is_logical
from a2a_grpc.principal import Principal
from a2a_grpc.protocol import Key
from a2a_grpc.rpc import Calls, Context, current_caller, invocation_metadata
from a2a_grpc.rpc.authentication import Metadata
from a2a_grpc.rpc.calls import Behavior
from a2a_grpc.rpc.other_versions import UNKNOWN
from a2a_grpc.rpc.status import end
from a2a_grpc.sentinel.errors import AgentGoneError, NotAttachedError, SentinelUnreachedError
from a2a_grpc.sentinel.peers import Peers
from a2a_grpc.sentinel.routes import Routes
from a2a_grpc.sentinel.rules import Rules
from a2a_grpc.sentinel.upstream import Upstream
from a2a_grpc.sentinel.wire import tenant_of
from a2a_grpc.telemetry import current, names
from a2a_grpc.wire import SERVICE, SERVICE_NAME

HOP = frozenset(["user-agent", "te", "content-type", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding"])
"""Metadata of one connection, which gRPC writes itself on the next one."""

LATER = re.compile(rf"/{re.escape(SERVICE_NAME)}/([A-Za-z_][A-Za-z0-9_]{{0,99}})")
"""The paths of methods that a later version of A2A may have."""
STREAM = SERVICE.methods_by_name["SubscribeToTask"]
"""A method whose form all unknown methods get: one request, and any number of responses."""


class Relay:
    """Passes calls on to the agents that their tenants name.

    Guarantees:

    - The bytes of requests and responses, the order of responses, initial and trailing metadata, and the status with
      its details are those that the caller, or the agent, has given.
    - A call that the caller ends, ends at the agent. The agent sees the caller's deadline.
    - At most one response of a call is kept here: the next one is read once the caller's window has taken it.
    - A call whose connection to the agent is lost ends with AgentGoneError. One that cannot reach the agent of a plain
      route ends with AgentUnreachableError.
    - A caller reaches only the agents that the rules allow. The answer for other addresses is the one for an address
      without agent.
    - A principal, or the mark of a hop, that the caller has sent is not passed on.
    - A call makes one hop to another sentinel at most.

    Args:
        routes: The agents by their addresses.
        calls: The calls in progress.
        rules: The rules that say which callers may call which agents.
        hidden: The names of the metadata that are not passed on.
        sign: A function that signs the principal of a caller for an address; None if principals are not signed.
        peers: The other sentinels of the store; None if there are none.
    """

    def __init__(
        self,
        routes: Routes,
        calls: Calls,
        rules: Rules,
        hidden: Collection[str],
        sign: Callable[[Principal, str], str] | None,
        peers: Peers | None = None,
    ) -> None:
        self._routes = routes
        self._calls = calls
        self._rules = rules
        self._hidden = HOP | {Key.PRINCIPAL, Key.HOP, *hidden}
        self._sign = sign
        self._peers = peers

    def handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Return the handlers of the A2A service."""
        return {f"/{SERVICE_NAME}/{method.name}": self._handler(method) for method in SERVICE.methods}

    def named(self, path: str) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Return the handler for a method that the A2A service here does not have; None for one of another service.

        A later version of A2A may have the method. It is relayed if the first field of its request names an agent, as
        in all requests but one. If that is no address, the call is UNIMPLEMENTED.
        """
        if (found := LATER.fullmatch(path)) is None:
            return None
        return self._calls.handler(STREAM, self._behavior(found[1], is_stream=True, is_known=False))

    def _handler(self, method: MethodDescriptor) -> "grpc.RpcMethodHandler[Any, Any]":
        behavior = self._behavior(method.name, is_stream=method.server_streaming, is_known=True)
        return self._calls.handler(method, behavior)

    def _behavior(self, name: str, *, is_stream: bool, is_known: bool) -> Behavior:
        async def relay(request: bytes, context: Context) -> bytes | None:
            principal, tenant = current_caller().principal, tenant_of(name, request)
            if (span := current.served.get()) is not None:
                span.add(names.TENANT, tenant)
            while True:
                try:
                    upstream, metadata = await self._upstream(principal, tenant, invocation_metadata(context))
                except InvalidRequestError:
                    if is_known:
                        raise
                    raise UnimplementedError(UNKNOWN) from None
                options = {"metadata": metadata, "timeout": context.time_remaining()}
                begin = partial(upstream.begin, name, request, **options)
                try:
                    return await self._passed(upstream, tenant, begin, context, is_stream=is_stream)
                except SentinelUnreachedError:
                    continue  # the next try finds another sentinel, if there is one

        return relay

    async def _passed(
        self, upstream: Upstream, tenant: str, begin: Callable[[], Any], context: Context, *, is_stream: bool
    ) -> bytes | None:
        """Pass a call on, and its responses and its end back. Raise the error of a connection that was lost.

        Args:
            upstream: The agent.
            tenant: The address of the agent.
            begin: Begins the call.
            context: The call of the caller.
            is_stream: True if the responses are a stream.
        """
        cuts, call = upstream.cuts, begin()
        try:
            response = await (self._streamed(call, context) if is_stream else _single(call, context))
            context.set_trailing_metadata(tuple(await call.trailing_metadata()))
            return response
        except grpc.aio.AioRpcError as failure:
            if self._peers is not None and failure.code() is grpc.StatusCode.UNAVAILABLE:
                self._peers.forget(tenant)  # the agent may be at another sentinel by now
            if (lost := upstream.failure(failure, cuts)) is not None:
                raise lost from None
            code, said, trailers = failure.code(), failure.details() or "", tuple(failure.trailing_metadata() or ())
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if upstream.is_gone and task is not None and not task.cancelling():
                raise AgentGoneError from None  # the tunnel was closed, and its calls with it
            raise
        finally:
            upstream.end(call)
        await end(context, code, said, trailers)
        return None

    async def _upstream(self, principal: Principal, tenant: str, received: Metadata) -> tuple[Upstream, Metadata]:
        """Return the agent that a call is for, and the metadata to send there.

        Args:
            principal: The caller.
            tenant: The tenant of the request.
            received: The metadata of the call.
        """
        if not is_logical(tenant):
            raise InvalidRequestError.of(Violation("tenant", f"must be the address of an agent here: {FORM}"))
        if not self._rules.may_call(principal, tenant):
            raise NotAttachedError
        metadata = passed_on(tuple([entry for entry in received if entry[0] not in self._hidden]))
        marks = [value for name, value in received if name == Key.HOP] if self._peers is not None else []
        if self._peers is not None and marks and self._peers.is_for_another(marks, tenant):
            raise NotAttachedError
        if (upstream := self._routes.find(tenant)) is not None:
            if self._sign is not None:
                metadata = (*metadata, (Key.PRINCIPAL, self._sign(principal, tenant)))
            return upstream, metadata
        if self._peers is None or marks:
            raise NotAttachedError
        peer = await self._peers.find(tenant)
        return peer, (*metadata, (Key.HOP, self._peers.mark(principal, tenant)))

    async def _streamed(self, call: Any, context: Context) -> None:
        """Pass on the responses of a stream."""
        if initial := tuple(await call.initial_metadata()):
            await context.send_initial_metadata(initial)
        while (element := await call.read()) is not grpc.aio.EOF:
            await self._calls.write(context, element)
        if (code := await call.code()) is not grpc.StatusCode.OK:
            raise grpc.aio.AioRpcError(
                code, await call.initial_metadata(), await call.trailing_metadata(), await call.details()
            )


def passed_on(metadata: Metadata) -> Metadata:
    """Return the metadata of a call as it is passed on: its trace is that of the span here, if there is one.

    Args:
        metadata: The metadata of the caller.
    """
    span = current.served.get()
    if span is None or not span.headers:
        return metadata
    return (*(entry for entry in metadata if entry[0] not in span.headers), *span.headers.items())


async def _single(call: Any, context: Context) -> bytes:
    """Return the response of a unary call."""
    try:
        response: bytes = await call
    finally:
        if call.done() and (initial := tuple(await call.initial_metadata())):
            await context.send_initial_metadata(initial)
    return response
