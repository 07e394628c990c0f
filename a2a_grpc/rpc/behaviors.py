"""The function that a gRPC handler calls, and handlers that call another function."""

from typing import Any, TypeAlias

import grpc

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


def behavior_of(handler: Handler) -> Any:
    """Return the function that a handler calls."""
    if handler.request_streaming:
        return handler.stream_stream if handler.response_streaming else handler.stream_unary
    return handler.unary_stream if handler.response_streaming else handler.unary_unary


def with_behavior(handler: Handler, behavior: Any, parse: Any = None) -> Handler:
    """Return a handler of the same kind that calls another function, and reads requests with another one if given."""
    parse, serialize = parse or handler.request_deserializer, handler.response_serializer
    if handler.request_streaming:
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(behavior, parse, serialize)
        return grpc.stream_unary_rpc_method_handler(behavior, parse, serialize)
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(behavior, parse, serialize)
    return grpc.unary_unary_rpc_method_handler(behavior, parse, serialize)
