"""The checks that each call of a sentinel's gRPC ports passes before it is served."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import grpc

from a2a_grpc.auth.callers import Callers
from a2a_grpc.database.unavailable import StoreErrors
from a2a_grpc.errors import A2AError
from a2a_grpc.listening.admin import HEALTH_METHODS
from a2a_grpc.listening.front import Front
from a2a_grpc.rpc import (
    Arrivals,
    Authentication,
    CallLog,
    Calls,
    Methods,
    Responses,
    TransportSettings,
    invocation_metadata,
)
from a2a_grpc.rpc.limits import MetadataLimit
from a2a_grpc.rpc.other_versions import UNKNOWN, other_versions, refusal
from a2a_grpc.rpc.traced import traced
from a2a_grpc.sentinel.settings import SentinelSettings
from a2a_grpc.sentinel.wire import SENTINEL_SERVICE

if TYPE_CHECKING:
    from a2a_grpc.telemetry.calls import ServedCalls

REQUEST_BYTES = 256 << 20
"""The largest size of all requests in progress together."""
RESPONSE_BYTES = 32 << 20
"""The largest size of all responses that clients have not read yet."""
UNREAD_S = 5.0
REQUEST_S = 60.0

AGENTS = f"/{SENTINEL_SERVICE}/"
"""How the paths of the streams of agents begin. They last for days, and have no spans."""

Handlers = Mapping[str, "grpc.RpcMethodHandler[Any, Any]"]
"""The handlers of methods by the full names of the methods."""


class Admission:
    """Counts calls, limits them, and finds out who calls.

    Args:
        settings: The settings of the sentinel.
        transport: The limits of HTTP/2 connections.

    Attributes:
        calls: The calls in progress.
    """

    def __init__(self, settings: SentinelSettings, transport: TransportSettings) -> None:
        self._transport = transport
        self.calls = Calls(
            max_calls=settings.max_calls,
            max_streams=settings.max_streams,
            max_bytes=REQUEST_BYTES,
            responses=Responses(max_bytes=RESPONSE_BYTES, unread_s=UNREAD_S),
            translate=StoreErrors().translate,
        )

    def methods(
        self,
        handlers: Handlers,
        named: "Callable[[str], grpc.RpcMethodHandler[Any, Any] | None]",
        *,
        front: Front,
        callers: Callers,
        log: CallLog | None,
        spans: "ServedCalls | None",
    ) -> Methods:
        """Return the handlers of a port, behind the checks.

        Args:
            handlers: The handlers of methods that are known.
            named: Returns the handler of another method by its full name, or None.
            front: The ports.
            callers: Identifies callers.
            log: The logs of calls, if there are any.
            spans: Begins the spans of calls; None for none.
        """
        arrivals = Arrivals(
            places=max(4, REQUEST_BYTES // (2 * self._transport.max_receive_bytes)),
            timeout_s=REQUEST_S,
            max_bytes=self._transport.max_receive_bytes,
            refuse=self._refuse,
            traffic=front.traffic,
        )
        authentication = Authentication(
            callers, self._refuse, invocation_metadata, certificate=front.certificate, log=log
        )

        def authenticated(name: str, handler: "grpc.RpcMethodHandler[Any, Any]") -> "grpc.RpcMethodHandler[Any, Any]":
            handler = arrivals.asked_for(handler)
            if authentication.is_needed and name not in HEALTH_METHODS:
                handler = authentication.guarded(name, handler)
            return handler if name.startswith(AGENTS) else traced(spans, name, handler, invocation_metadata)

        def later(name: str) -> "grpc.RpcMethodHandler[Any, Any] | None":
            handler = named(name)
            return handler and authenticated(name, handler)

        known = {name: authenticated(name, handler) for name, handler in (dict(handlers) | other_versions()).items()}
        limit = MetadataLimit(self._transport.max_call_metadata_bytes, front.traffic)
        return Methods(known, refusal(UNKNOWN), limit, later)

    async def _refuse(self, context: Any, error: A2AError) -> None:
        await self.calls.refuse(context, error)
