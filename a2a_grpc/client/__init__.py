"""The client: a remote agent's operations, resumed across lost connections."""

from a2a_grpc.client.blocking import BlockingClient, BlockingStream
from a2a_grpc.client.client import Client, connect
from a2a_grpc.client.command import token_command
from a2a_grpc.client.credentials import Credentials, api_key, bearer
from a2a_grpc.client.errors import (
    AgentCardError,
    ConnectionLostError,
    CredentialsUnavailableError,
    ResponseTooLargeError,
    TaskLostError,
    TaskNotCompletedError,
    UnreachableError,
)
from a2a_grpc.client.fetch import Cards
from a2a_grpc.client.manager import ClientManager, Discovered
from a2a_grpc.client.oauth2 import oauth2
from a2a_grpc.client.registry import FoundAgent, Registry, find_agent
from a2a_grpc.client.remote import RemoteAgent, progress_of
from a2a_grpc.client.sending import SendOptions
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.stream import TaskStream
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import NoAgentFound
from a2a_grpc.lifecycle import Event, state_name
from a2a_grpc.parts import file_part, files_of, user_message

__all__ = [
    "AgentCardError",
    "BlockingClient",
    "BlockingStream",
    "Cards",
    "Client",
    "ClientManager",
    "ClientSettings",
    "ConfigurationError",
    "ConnectionLostError",
    "Credentials",
    "CredentialsUnavailableError",
    "Discovered",
    "Event",
    "FoundAgent",
    "NoAgentFound",
    "Registry",
    "RemoteAgent",
    "ResponseTooLargeError",
    "SendOptions",
    "TaskLostError",
    "TaskNotCompletedError",
    "TaskStream",
    "UnreachableError",
    "api_key",
    "bearer",
    "connect",
    "file_part",
    "files_of",
    "find_agent",
    "oauth2",
    "progress_of",
    "state_name",
    "token_command",
    "user_message",
]
