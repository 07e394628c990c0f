"""The client: a remote agent's operations, resumed across lost connections."""

from a2a_grpc.client.client import Client, SendOptions, connect
from a2a_grpc.client.credentials import Credentials, api_key, bearer
from a2a_grpc.client.errors import (
    AgentCardError,
    ConnectionLostError,
    TaskLostError,
    TaskNotCompletedError,
    UnreachableError,
)
from a2a_grpc.client.fetch import Cards
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.stream import TaskStream
from a2a_grpc.lifecycle import Event

__all__ = [
    "AgentCardError",
    "Cards",
    "Client",
    "ClientSettings",
    "ConnectionLostError",
    "Credentials",
    "Event",
    "SendOptions",
    "TaskLostError",
    "TaskNotCompletedError",
    "TaskStream",
    "UnreachableError",
    "api_key",
    "bearer",
    "connect",
]
