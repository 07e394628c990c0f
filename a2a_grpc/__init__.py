"""The gRPC transport for A2A v1.0 agents.

    from a2a_grpc import Agent, Turn, serve        write an agent and serve it
    from a2a_grpc import RemoteAgent, connect      call an agent

The names of `a2a_grpc` are enough for most programs. `a2a_grpc.client`, `a2a_grpc.server` and `a2a_grpc.store` have
more. What follows is for those who work on the package; docs/architecture.md explains it with drawings.

The idea: **a task is an append-only log of events. Each reader of events follows the log from a cursor.** A stream is a
follower whose events are sent. A subscription is a snapshot of the task with its seq, and then a follower after this
seq. A blocking send is a follower whose events are folded until the task is settled. If only this server writes to the
log, the send uses the fold of the run instead. There is no queue for each subscriber. A slow reader is a cursor that is
behind, and does not disturb other readers.

The modules, by floor. A module imports only from its own package and from lower floors:

    6  cli          the command line. One file for each verb. verb: what the verbs share; follow: watching a task; show:
                    printing tasks and events; described: short descriptions; output: standard output and standard
                    error; screen: terminals; usage: errors in a command line; exits: exit codes; examples: those of
                    each verb's help; credentials: their options; stored: the tokens of logins
    5  server       the server. server: card, store, drain; admission: the checks of every call; requests: validation of
                    requests; limits: whether settings fit each other; width: counting the fields of large requests;
                    pace: long work in steps; loads: loading tasks for responses; published: the card with the right
                    address; http: the card and the probes; servicer: the eleven RPCs; serve: a server as a program;
                    workers, worker: several processes; readiness: whether the store answers; garbage: the garbage
                    collector; stopping: signals
       sentinel     agents without an address of their own. sentinel: its life; ports: its gRPC ports; fit: whether its
                    arguments fit each other; entrance: the checks of every call; attaching: the service that agents
                    call; streams: the ends of their streams; routes: addresses and whose they are; way: calls to one
                    agent; tunnel: the way to an attached agent; direct: the way to one that can be reached; membership:
                    a sentinel in the store that it shares; peers: the other sentinels of the store; peer: the way to
                    one of them; whereabouts: at which sentinels agents are; looking: whether an agent was replaced from
                    another sentinel; hop: the mark of calls between sentinels; pipe: bytes of a connection in a stream;
                    relay: passing calls on; attachment: the agent's side; keeper: staying attached to one sentinel;
                    coming: when agents attach again; link: one Attach stream of an agent; pipes: its pipes; described:
                    the card of an agent; route_cards: the cards of agents of plain routes; http: the HTTP port;
                    directory: the agents that a caller finds; http_callers: callers; http_catalog: agents as entries of
                    catalogs; http_search: the search of ARD; http_errors: errors in JSON; settings, agent_settings;
                    errors; wire: messages; caller: how callers are described; signing: saying to agents who calls;
                    vouched: the agent's side of this; rules, rules_file: who may attach, and who may call; registry:
                    the service in which agents are found; presence: the attached ones in it; heartbeats: those of
                    registered agents; rounds: waiting for the same moment together; registration: the side of an agent
                    that registers; beating: its heartbeats
    4  engine       the execution of handlers. engine: open, settled, cancel, drain; sends: what happens to a message;
                    run: one execution of a handler; runs: all executions; writer: writing the events of a run; witness:
                    folding them for a waiting caller; reply: answers without a task; replica: the lease of this
                    process; recovery: taking over tasks; upkeep: background loops; held: handlers that wait in `ask`;
                    rerun, replay: running them again with the recorded answers; farewell: running the handler of an
                    ended task, so that it cancels its remote task; blame: the line of a handler for an error; watch:
                    handlers that block the event loop; past: other tasks, for a handler; waiting: counting tasks that
                    wait for users; slots, priority: which waiting run gets a place; locks, line: locks of tasks; sweep:
                    retention and expiry
       push         sending the events of tasks to those who asked for them. delivery: what is sent, and the outcome of
                    an attempt
       listening    the ports of a server or a sentinel. front: all gRPC ports of a program; port, ports: one of them,
                    which is bound again after a failure; listeners: the addresses of `listen`; tls: certificates, which
                    are read again when they change; admin: health, reflection, channelz; health: grpc.health.v1;
                    sockets: the connections of a port; guard, debt, connections, counters: ending connections that
                    flood; http, acceptor: HTTP; descriptors: the limit of open files; noise: gRPC's log lines; settings
    3  log          appending events and waking readers. Follower: records after a seq, without gaps
       rpc          everything between gRPC and the server. authentication: who calls; calls: the frame around each
                    call; metadata, status, options, reflection; accept: a grpc.aio server that serves any path; naming:
                    the names of methods that gRPC does not know; turns: the order of accepted calls; traffic: the bytes
                    of a connection that belong to calls; limits: refusals before the request is read; arrivals: memory
                    for requests; responses: memory for unread responses; shares: fair sharing; reset: ending calls;
                    memory: returning memory to the system; other_versions: callers of other versions; interceptors:
                    streams that interceptors can iterate
       client       calling agents. client: the operations; sending: the options of a message; stream: events across
                    connections; resumption: how a stream goes on, without I/O; steps: its table; progress, places,
                    followed, taken: what it knows of the task; reader: its calls; disconnects: what a failed call means
                    for a stream; snapshot_diff: what a snapshot adds to known events; pieces: the contents of events;
                    polling, waiting: asking for a task from time to time; offers: what a card does not offer; origin:
                    whether a failure came from the agent; contact: whether the agent was reached; retry: how long to
                    try again; calls: metadata, deadlines, retries; responses: checks of responses; inflating:
                    compressed content; renewal: certificates that were replaced; growth: a limit for a followed task;
                    pages: lists; connection, channel, pool, target, credentials, card, fetch, fresh, page, guarded: the
                    way to an agent; probe: why an agent cannot be reached; lenient: cards with mistakes; status:
                    failures as errors; remote, manager, blocking, portal: other ways to use a client; registry: finding
                    agents; delegated, noted: remote tasks for a turn of an agent here; identity: the credentials of a
                    call; security: which credentials a card asks for; oauth2, command: tokens from an authorization
                    server or a command; tokens: renewing them; device: signing in with a browser; endpoint, issuer:
                    requests to authorization servers; extended: the card for a known caller
    2  agent        what authors of agents use. talk: one question to a user at a time
       store        keeping logs. protocol: TaskStore; records, coordination, mailbox: its three parts; values: what
                    these take and return; written: the future of a write; in_order: writes that take a while; contract:
                    the tests of a store; one_server, row, leases, bindings: coordination and mailbox in memory; memory,
                    memory_log, order: the store in memory; views, growing: parts of tasks and whole tasks as bytes;
                    sql: SQLite, PostgreSQL, MySQL; sharing: names of stores; command: `a2a-grpc db` in messages
       registry     which agents a sentinel knows. entry: an entry, and what is looked for; words: what of a card can be
                    found; protocol: EntryStore; memory, wordlist, sql, schema, statements, queries: its stores; rivals:
                    which of several agents stays; pages; wire
       bus          waking readers. protocol; local: in one process; machine: processes with one SQLite file; postgres
       auth         who calls. protocol: the seam between a call and its caller; callers: asking the authenticators;
                    rates: limits of callers; audit: the audit log; settings; certificates; keys: callers with API keys;
                    keyfile, keyedits: the file of API keys; jwt: callers with tokens; tokens, claims: what a token
                    says; jwks: the keys of an issuer; keyset, discovery: reading them; file: the file of all accepted
                    credentials; tables: reading TOML files; described: what the card says of credentials
    1  lifecycle    states, which state may follow which, and the fold of events
       parts        Python values as parts, and back. plain: objects that JSON does not have, and paths to values
       arguments    checks of the arguments of public functions
       address      HOST:PORT. logical: NAME@DOMAIN, the addresses of agents at a sentinel
       pem          private keys that gRPC can read
       database     databases by their URLs: connections, transactions, failures, clocks
       piecewise    parsing and joining large messages in steps
       harmless     text of other programs for terminals and logs
    0  wire         the message classes. Only this module imports generated code
       protocol     metadata keys, versions, extensions
       errors       the errors of the protocol
       principal    the caller of an operation
       private      files with secrets, written as a whole and under a lock
       ids          new identifiers
       libpq        URLs of PostgreSQL
       forking      whether gRPC can be used after a fork
       counting     counting the fields of a message before it is parsed
       config       settings: the default, then the environment, then the caller
       backoff      how long to wait before the next retry
       masking      hiding passwords and tokens in URLs
       text         which text a store can keep
       offload      large work in a thread
       deadlines    time limits that count only the time in which the event loop runs
       uncancelled  waiting for work that must be finished even if the caller is canceled
       unclosed     code of other authors that raises GeneratorExit
       throttle     log lines at a limited rate
       signals      SIGTERM and others for an event loop, on Windows too
       libc         functions of the C library

The route of a message:

    admission     reads the metadata and the request                   → Call, or VersionNotSupportedError, …
    servicer      has the request checked                              → InvalidRequestError, …
    engine.open   creates the task, or stores the message with it;     → Opened, or a Message
                  claims the task if it is free; starts a run
    run           runs the handler; each event goes through its writer
    writer        checks state and limits, serialises the event        → Record(seq, bytes, …)
    log.write     has the store append, if seq and claim are right; then wakes readers, here and at other replicas
    log.follow    reads the bytes of the records for each stream or waiting caller

One replica at a time holds a task, by a claim with an epoch. The next claim makes this epoch void. A replica renews one
lease for all its tasks. If it is lost, another replica claims them, and runs them again or fails them. A replica that
gets a message or a request to cancel for a task of another one leaves it in the store, and wakes the holder.

The route of the events that come back:

    TaskStream    makes one call after another, each from the place where the last one was cut, and folds the events
    Client.send   reads a TaskStream until the task is settled
    RemoteAgent   returns the answer of such a send as text, and cancels the task if its caller is canceled
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
        """Import a name when it is used, so that a client does not have to load the modules of the server."""
        for home, names in _HOMES.items():
            if name in names:
                value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
