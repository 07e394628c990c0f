"""The messages of the registry's gRPC service, and the names of its methods."""

from a2a_grpc_pb.sentinel_pb2 import (
    DESCRIPTOR,
    AgentsPage,
    FindRequest,
    GetRequest,
    HeartbeatRequest,
    HeartbeatResponse,
    ListRequest,
    RegisteredAgent,
    RegisterRequest,
    RegisterResponse,
    UnregisterRequest,
    UnregisterResponse,
)
from a2a_grpc_pb.sentinel_pb2_grpc import RegistryStub

REGISTRY = DESCRIPTOR.services_by_name["Registry"]
REGISTRY_SERVICE = REGISTRY.full_name
HEARTBEATS = f"/{REGISTRY_SERVICE}/Heartbeats"
"""The method whose requests and responses are both streams."""

__all__ = [
    "HEARTBEATS",
    "REGISTRY",
    "REGISTRY_SERVICE",
    "AgentsPage",
    "FindRequest",
    "GetRequest",
    "HeartbeatRequest",
    "HeartbeatResponse",
    "ListRequest",
    "RegisterRequest",
    "RegisterResponse",
    "RegisteredAgent",
    "RegistryStub",
    "UnregisterRequest",
    "UnregisterResponse",
]
