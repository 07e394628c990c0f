"""The handlers of a server's RPCs, made with the limits of its settings."""

from typing import TYPE_CHECKING, Any, TypeAlias

from a2a_grpc.agent import Agent
from a2a_grpc.database.unavailable import StoreErrors
from a2a_grpc.engine import Engine
from a2a_grpc.rpc import Calls, Responses, TransportSettings
from a2a_grpc.rpc.other_versions import other_versions
from a2a_grpc.server.admission import Admission
from a2a_grpc.server.pace import Pace
from a2a_grpc.server.policy import Authorize
from a2a_grpc.server.requests import Checks
from a2a_grpc.server.servicer import Servicer, ServicerOptions
from a2a_grpc.server.settings import RequestLimits, ServerSettings
from a2a_grpc.server.width import Width
from a2a_grpc.wire import AgentCard

if TYPE_CHECKING:
    import grpc

    from a2a_grpc.push.configs import Configs

Handlers: TypeAlias = "dict[str, grpc.RpcMethodHandler[Any, Any]]"
"""Handlers by the full names of their methods."""


def calls_of(settings: ServerSettings) -> Calls:
    """Return the frame around each call, with the limits of the settings."""
    return Calls(
        max_calls=settings.max_calls,
        max_streams=settings.max_streams,
        max_bytes=settings.max_bytes_in_flight,
        responses=Responses(max_bytes=settings.max_response_bytes_in_flight, unread_s=settings.unread_response_s),
        translate=StoreErrors().translate,
    )


def rpc_handlers(
    agent: Agent,
    engine: Engine,
    card: AgentCard,
    calls: Calls,
    settings: ServerSettings,
    transport: TransportSettings,
    limits: RequestLimits,
    *,
    authorize: Authorize | None,
    configs: "Configs | None",
) -> Handlers:
    """Return the handlers of the agent's service, and of the services of other versions, which are refused.

    Args:
        agent: The agent.
        engine: The engine that runs the agent.
        card: The public card.
        calls: The frame around each call.
        settings: The settings of the server.
        transport: The limits of messages.
        limits: The limits of one request.
        authorize: The function for policies of the program, if there is one.
        configs: The push configs of tasks; None if push notifications are not offered.
    """
    options = ServicerOptions(
        cancel_on_disconnect=settings.cancel_on_disconnect,
        max_send_bytes=transport.max_send_bytes,
        names_asked_host=settings.names_asked_host,
        authorize=authorize,
    )
    checks, pace = Checks(card, limits), Pace()
    admission = Admission(
        card,
        checks,
        Width(limits),
        pace,
        lenient_version=settings.lenient_version,
        only_tenant=settings.tenant if settings.only_tenant else None,
    )
    servicer = Servicer(agent, engine, card, admission, checks, pace, calls, options, configs)
    return {**servicer.handlers(), **other_versions()}
