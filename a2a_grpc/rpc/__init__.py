"""gRPC as this project uses it: call metadata, status details, channel arguments, the frame around every call."""

from a2a_grpc.rpc.calls import Calls, Context
from a2a_grpc.rpc.metadata import CallMetadata
from a2a_grpc.rpc.options import TransportSettings, server_options

__all__ = ["CallMetadata", "Calls", "Context", "TransportSettings", "server_options"]
