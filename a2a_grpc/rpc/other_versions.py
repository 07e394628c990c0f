"""Refuse calls of methods that this server does not have, and name the service that it has."""

from typing import Any

import grpc
import grpc.aio

from a2a_grpc.wire import SERVICE, SERVICE_NAME

OTHER_SERVICES = ("a2a.v1.A2AService", "a2a.A2AService")
"""A2A 0.3 and drafts of 1.0, whose messages have other fields."""

OTHER_METHODS = (
    *(method.name for method in SERVICE.methods),
    "TaskSubscription",
    "ListTaskPushNotificationConfig",
    "GetAgentCard",
)
"""Methods of these services, by all the names that they had."""


def other_versions() -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
    """Return handlers that refuse the methods of other versions. The refusal names the service of this server."""
    return {
        f"/{service}/{method}": refusal(
            f"this server speaks A2A 1.0, which is the service {SERVICE_NAME}; {service} is another version's"
        )
        for service in OTHER_SERVICES
        for method in OTHER_METHODS
    }


def refusal(text: str) -> "grpc.RpcMethodHandler[Any, Any]":
    """Return a handler that ends each call with UNIMPLEMENTED and this text, without waiting for a request."""

    async def refuse(requests: Any, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, text)

    return grpc.stream_stream_rpc_method_handler(refuse)


UNKNOWN = f"this server has no such method; it speaks A2A 1.0, which is the service {SERVICE_NAME}"
"""The text for callers of any other method."""
