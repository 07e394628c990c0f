"""The gRPC transport for A2A v1.0 agents.

    from a2a_grpc import Agent, Turn, serve        write an agent and serve it
    from a2a_grpc import RemoteAgent, connect      call an agent

The idea: **a task is an append-only log of events. Each reader follows the log from a cursor.** A stream sends what it
reads, a blocking send folds it. docs/architecture.md explains it, and docs/reference.md lists the public names.
The modules by floor. A module imports from its own package and lower floors. A package's docstring names its modules.
    6  cli          the command line
       testing      real servers, scripted agents and a clock, for tests of agents and of their callers
    5  server       serving one agent: start and shutdown, checks of requests, the eleven RPCs
       sentinel     one address for agents that have none of their own, and the registry in which they are found
       adapters     agents of other frameworks as agents here, and the other way round
    4  engine       the execution of handlers: messages, runs, cancelation, recovery
       push         sending the events of tasks to webhooks and agents
       listening    the ports of a server or a sentinel
    3  log          appending events and waking readers
       rpc          everything between gRPC and the server
       client       calling agents, with streams that continue after a lost connection
    2  agent        what authors of agents use
       store        keeping logs, in memory or in a database
       registry     which agents a sentinel knows
       bus          waking readers, in one process or in several
       auth         who calls, and whether the caller may
       loglines     the lines of the log: their formats, and what they are about
       telemetry    traces and metrics
    1  lifecycle    states, which state may follow which, and the fold of events
       parts        Python values as parts, and back
       arguments    checks of the arguments of public functions
       address      HOST:PORT
       logical      NAME@DOMAIN, the addresses of agents at a sentinel
       pem          private keys that gRPC can read
       database     databases by their URLs: connections, transactions, failures, clocks
       piecewise    parsing and joining large messages in steps
       shortage     too small limits of memory, threads and open files
       harmless     text of other programs for terminals and logs
       bounded      content of other programs, read and inflated within a bound
       watched      files that are read again when they change
    0  wire         the message classes. Only this module imports generated code
       protocol     metadata keys, versions, extensions
       errors       the errors of the protocol
       principal    the caller of an operation
       plain        objects that JSON does not have, and paths to values
       private      files with secrets, written as a whole and under a lock
       ids          new identifiers
       libpq        URLs of PostgreSQL
       forking      whether gRPC can be used after a fork
       counting     counting the fields of a message before it is parsed
       config       settings: the default, then the environment, then the caller
       backoff      how long to wait before the next retry
       masking      hiding passwords and tokens in URLs
       text         which text a store can keep
       regular      regular files, read within a limit
       offload      large work in a thread
       deadlines    time limits that count only the time in which the event loop runs
       uncancelled  waiting for work that must be finished even if the caller is canceled
       unclosed     code of other authors that raises GeneratorExit
       throttle     log lines at a limited rate
       signals      SIGTERM and others for an event loop, on Windows too
       libc         functions of the C library
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from a2a_grpc.agent import Agent, AuthRequired, Completed, Failed, InputRequired, Rejected, Turn
    from a2a_grpc.client import Client, ClientManager, RemoteAgent, connect
    from a2a_grpc.errors import A2AError, InvalidRequestError
    from a2a_grpc.parts import data_of, text_of
    from a2a_grpc.push import Notification, PushReceiver
    from a2a_grpc.server import Server, ServerSettings
    from a2a_grpc.server.serve import serve
    from a2a_grpc.wire import (
        Artifact,
        Message,
        Part,
        Task,
        TaskArtifactUpdateEvent,
        TaskState,
        TaskStatusUpdateEvent,
    )

__all__ = [
    "A2AError",
    "Agent",
    "Artifact",
    "AuthRequired",
    "Client",
    "ClientManager",
    "Completed",
    "Failed",
    "InputRequired",
    "InvalidRequestError",
    "Message",
    "Notification",
    "Part",
    "PushReceiver",
    "Rejected",
    "RemoteAgent",
    "Server",
    "ServerSettings",
    "Task",
    "TaskArtifactUpdateEvent",
    "TaskState",
    "TaskStatusUpdateEvent",
    "Turn",
    "connect",
    "data_of",
    "serve",
    "text_of",
]

_HOMES = {
    "agent": ("Agent", "AuthRequired", "Completed", "Failed", "InputRequired", "Rejected", "Turn"),
    "client": ("Client", "ClientManager", "RemoteAgent", "connect"),
    "errors": ("A2AError", "InvalidRequestError"),
    "parts": ("data_of", "text_of"),
    "push": ("Notification", "PushReceiver"),
    "server": ("Server", "ServerSettings", "serve"),
    "wire": ("Artifact", "Message", "Part", "Task", "TaskArtifactUpdateEvent", "TaskState", "TaskStatusUpdateEvent"),
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import a name when it is used, so that a client does not have to load the modules of the server."""
        for home, names in _HOMES.items():
            if name in names:
                value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
