"""a2a-grpc: the gRPC transport for A2A v1.0 agents.

The one idea: a task is an append-only log of events, and everyone who wants events follows the log from a cursor.
"""

from a2a_grpc.agent import Agent, AuthRequired, Completed, Failed, InputRequired, Rejected, Turn
from a2a_grpc.errors import A2AError, InvalidRequestError
from a2a_grpc.server import Server, ServerSettings, serve
from a2a_grpc.wire import Artifact, Message, Part, Task, TaskState

__version__ = "0.1.0"

__all__ = [
    "A2AError",
    "Agent",
    "Artifact",
    "AuthRequired",
    "Completed",
    "Failed",
    "InputRequired",
    "InvalidRequestError",
    "Message",
    "Part",
    "Rejected",
    "Server",
    "ServerSettings",
    "Task",
    "TaskState",
    "Turn",
    "serve",
]
