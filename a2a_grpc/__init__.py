"""The gRPC transport for A2A v1.0 agents.

    from a2a_grpc import Agent, Turn, serve            an agent
    from a2a_grpc import RemoteAgent, connect          somebody else's

The one idea: **a task is an append-only log of events, and everyone who wants events follows the log from a cursor.**
A stream is a follower that is yielded, a subscription a snapshot with its seq and then a follower after that seq, a
blocking send a follower that is folded until the task is settled, or, as long as nobody else writes to the log, the
fold of the run itself. There is no queue per subscriber and no fan-out: a slow reader is a cursor that lags, and costs
nobody anything.

The map. A module imports only from floors strictly below its own:

    6  cli          the command line, one file per verb; verb: what they share; follow: watching a task; show: what is
                    printed; described: in a few words; output: the two outputs, and what happens if one cannot be
                    written; screen: the one way to a terminal; usage: what is wrong with a command line; exits: how it
                    ends; examples: those of each verb's help
    5  server       Server: ports, card, drain; gate: what every call passes; requests: validation;
                    limits: whether they fit each other; width: fields of large requests, counted before they are
                    parsed; pace: long work in steps; loads: tasks for responses;
                    admin: health, reflection, channelz;
                    published: the card with an address to reach;
                    servicer: the eleven RPCs; serve: a server as a program; workers, worker: as several; ports;
                    port: a gRPC port that is bound again if its loop ends; sockets: the connections of a port;
                    readiness: one answer of the store for all who ask; health: grpc.health.v1;
                    descriptors: shares of the limit of open files; acceptor: HTTP connections within one;
                    guard: ends connections that flood; debt: what their calls do not explain; connections: what the
                    kernel knows of them; counters: what gRPC does;
                    noise: gRPC's log lines, bounded; garbage: the garbage collector of a program
    4  engine       Engine: open, settled, cancel, drain; sends: the ways a message can go; run: one execution of agent
                    code; runs: all that are at work; writer: a run's pen; witness: who folds what it writes; reply:
                    answers without a task;
                    replica: this process's lease; recovery: what one of several does; upkeep: its loops;
                    held: handlers that wait in `ask`; rerun, replay: running them again with the recorded answers;
                    farewell: running one whose task has ended, so that it cancels another agent's;
                    blame: the handler's line that an error comes from; watch: handlers that block the event loop;
                    past: other tasks, for a handler; waiting: how many tasks wait for their users;
                    slots, locks: who may go on, line: who is next; sweep: retention, expiry
    3  log          append, then wake; Follower: records after a seq, without gaps; heal: for wakes that were lost
       rpc          call metadata, status details, channel arguments, the frame around every call, reflection;
                    accept: a grpc.aio server that no path ends; turns: accepted calls, begun by connection in turn;
                    traffic: what calls explain of a connection's bytes; limits: what is refused before its request is
                    awaited; arrivals: requests on their way in; responses: those that clients have yet to read;
                    shares: who gets room; reset: calls ended from this side; memory: what goes back to the system;
                    elsewhere: for callers of other versions; interceptors: streams that those of others can iterate
       client       connect, Client: the operations; sending: what goes with a message; stream: events across
                    connections; taken: whether a task has come to a message; news: what a snapshot adds;
                    pieces: what an event adds to the answer; polling: the events of an agent that does not
                    stream; offers: what a card does not offer;
                    origin: whether a failure came from the agent or from the transport; patience: how long to try
                    again; calls: metadata, deadlines, retries; cuts: why an agent refused a subscription;
                    responses: what an agent sends, checked before it is used; inflating: compressed content within a
                    bound; growth: a bound for a followed task; pages: lists;
                    connection, channel, target, card, fetch, page: the way to an agent; probe: why there is none;
                    lenient: cards with mistakes in them;
                    status: failures as errors; remote, manager, blocking: on top; delegated: a remote task for a turn
                    here, whose questions are passed on (noted: what they say of it)
    2  agent        Agent, Turn, outcomes, the agent card; talk: one question to a user at a time
       store        protocol: TaskStore and its values; contract: what each must do, as tests; views: parts of tasks;
                    growing: a task folded into bytes;
                    memory, with order: its lists;
                    sql: SQLite, PostgreSQL, MySQL (schema: the tables; statements: what is done to them, each a
                    function of a connection; parts: reading less than a whole task; bases: reading whole tasks;
                    commits: many writes in one transaction; together: one transaction for equal wishes; tail: what
                    followers read without a query; database, patience, faults: connections, retries, which faults
                    pass; file, clock: what the processes on one SQLite file share; owner: whose tasks a database keeps)
       bus          protocol: wakes; local: in a process; machine: between those on one SQLite file; postgres
    1  lifecycle    states, which may follow which, the fold of events
       parts        Python values to parts and back; plain: objects that JSON does not have, as JSON values,
                    and paths to values
       arguments    wrong arguments of public functions refused by their annotations
       address      HOST:PORT taken apart
       pem          private keys that gRPC can read
       libpq        URLs of PostgreSQL, as its own tools read them
       piecewise    large messages parsed and joined a piece at a time
       harmless     text of others for terminals and logs
    0  wire         the only door to generated code
       protocol     names on the wire that are not messages: metadata keys, versions, extensions
       errors       the tree of errors with their wire facts
       principal    who calls
       ids          identifiers that are made here
       forking      whether gRPC can be used after a fork
       counting     fields of a serialised message, counted before it is parsed
       config       settings: default < environment < caller
       backoff      how long to wait before the next try
       masking      passwords and tokens of URLs hidden before they are shown
       text         which text a store can keep
       offload      large work in a thread
       surely       waiting for what must not be left half done
       unclosed     code of others, which a GeneratorExit that it awaits does not close
       throttle     log lines at a bounded rate, with a count of those left out
       signals      SIGTERM and the like for an event loop, on Windows too
       libc         functions of the C library that Python does not offer

The route of a message:

    gate          reads metadata and request                           → Call, or VersionNotSupportedError, …
    servicer      has the request checked (pure)                      → InvalidRequestError, …
    engine.open   creates the task, or stores the message with it;    → Opened, or a bare Message
                  claims it, where nobody holds it; starts a run
    run           plays the handler; each event goes through its writer
    writer        checks state and limits, serialises once            → Record(seq, bytes, …)
    log.append    store.append, conditional on seq and claim; then bus.wake, here and at other replicas
    log.follow    whoever streams or waits reads the records' bytes from the store

A task at work is held by one replica, under an epoch; whoever claims it next makes that epoch void. A replica renews
one lease. What a dead one held is claimed by another, which begins the run again or fails the task. Messages and
requests to cancel that come to any replica are left in the store, and the holder is woken.

And of the events that come back:

    TaskStream    one call after another, each from where the last one was cut; folds what it reads
    Client.send   reads a TaskStream until the task is settled
    RemoteAgent   a Client's send as an answer in words, canceled as a coroutine is
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from a2a_grpc.agent import Agent, AuthRequired, Completed, Failed, InputRequired, Rejected, Turn
    from a2a_grpc.client import Client, ClientManager, RemoteAgent, connect
    from a2a_grpc.errors import A2AError, InvalidRequestError
    from a2a_grpc.parts import data_of, text_of
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
    "Part",
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
    "server": ("Server", "ServerSettings", "serve"),
    "wire": ("Artifact", "Message", "Part", "Task", "TaskArtifactUpdateEvent", "TaskState", "TaskStatusUpdateEvent"),
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Imports what is asked for once it is: who writes a client does not wait for the server's modules."""
        for home, names in _HOMES.items():
            if name in names:
                value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
