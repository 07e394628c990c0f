"""Use gRPC as this project needs it: metadata, status details, channel arguments, the frame around every call."""

from a2a_grpc.rpc.accept import AcceptingServer
from a2a_grpc.rpc.arrivals import Arrivals, Asking
from a2a_grpc.rpc.authentication import Authentication, Caller, current_caller
from a2a_grpc.rpc.calls import Calls, Context, Methods, invocation_metadata
from a2a_grpc.rpc.interceptors import for_interceptors, instrumented
from a2a_grpc.rpc.metadata import CallMetadata
from a2a_grpc.rpc.options import TransportSettings, server_options
from a2a_grpc.rpc.responses import Responses

__all__ = [
    "AcceptingServer",
    "Arrivals",
    "Asking",
    "Authentication",
    "CallMetadata",
    "Caller",
    "Calls",
    "Context",
    "Methods",
    "Responses",
    "TransportSettings",
    "current_caller",
    "for_interceptors",
    "instrumented",
    "invocation_metadata",
    "server_options",
]
