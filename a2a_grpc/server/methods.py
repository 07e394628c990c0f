"""The methods of a port: who may call them, and when their requests are read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
import grpc.aio

from a2a_grpc.listening.admin import HEALTH_METHODS
from a2a_grpc.rpc import Arrivals, Asking, Authentication, Methods, for_interceptors, invocation_metadata
from a2a_grpc.rpc.limits import MetadataLimit
from a2a_grpc.rpc.other_versions import UNKNOWN, refusal
from a2a_grpc.rpc.traced import traced
from a2a_grpc.rpc.traffic import Traffic

if TYPE_CHECKING:
    from a2a_grpc.telemetry.calls import ServedCalls

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

UNKNOWN_METHOD = "(unknown)"
"""The name of methods that are not served, in the log."""


class PortMethods:
    """Puts authentication and limits in front of the handlers of a port.

    With interceptors, `Asking` adapts the handlers instead: interceptors see handlers of requests, and can await or
    iterate streams.

    Args:
        authentication: Finds out who calls. The methods of the health service need no credentials.
        arrivals: Reads requests when there is room for them.
        traffic: The bytes of each connection that its calls explain.
        max_metadata_bytes: The limit of the metadata of a call.
        interceptors: Interceptors of gRPC, the outermost one first.
        spans: Begins the spans of calls; None for none.
    """

    def __init__(
        self,
        authentication: Authentication,
        arrivals: Arrivals,
        traffic: Traffic,
        *,
        max_metadata_bytes: int,
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        spans: "ServedCalls | None" = None,
    ) -> None:
        self._spans = spans
        self._authentication = authentication
        self._arrivals = arrivals
        self._traffic = traffic
        self._max_metadata_bytes = max_metadata_bytes
        self._given_interceptors = interceptors
        self._open_to_all = set(HEALTH_METHODS)

    @property
    def interceptors(self) -> list[grpc.aio.ServerInterceptor]:
        """The interceptors for the gRPC server of the port."""
        return [Asking(self._authenticated), *self._given_interceptors] if self._given_interceptors else []

    def of(self, handlers: "dict[str, Handler]", *, is_open_to_all: bool = False) -> Methods:
        """Return the methods of a port. The caller has to be known, except if they are open to all."""
        if is_open_to_all:
            self._open_to_all |= handlers.keys()
        handlers = {name: self._adapted(name, handler) for name, handler in handlers.items()}
        limit = MetadataLimit(self._max_metadata_bytes, self._traffic)
        limit.refusal = self._adapted(UNKNOWN_METHOD, limit.refusal)
        return Methods(handlers, self._adapted(UNKNOWN_METHOD, refusal(UNKNOWN)), limit)

    def _adapted(self, method: str, handler: "Handler") -> "Handler":
        return for_interceptors(handler) if self._given_interceptors else self._authenticated(method, handler)

    def _authenticated(self, method: str, handler: "Handler") -> "Handler":
        """Return a handler that finds out who calls, and reads the request when there is room for it."""
        handler = self._arrivals.asked_for(handler)
        if method not in self._open_to_all and self._authentication.is_needed:
            handler = self._authentication.guarded(method, handler)
        return traced(self._spans, method, handler, invocation_metadata)
