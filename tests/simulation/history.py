"""What was seen in a simulation: values for the checker, times in virtual seconds."""

from dataclasses import dataclass, field
from typing import NamedTuple

from a2a_grpc.store import Head, Record, Then
from a2a_grpc.wire import StreamResponse, TaskState


class Claim(NamedTuple):
    """A task was taken, at its epoch."""

    at: float
    task: str
    epoch: int
    replica: str


class Commit(NamedTuple):
    """A record got into the store."""

    at: float
    task: str
    seq: int
    epoch: int
    replica: str


class Ack(NamedTuple):
    """Somebody was told that a record is in the log, or shown it."""

    at: float
    task: str
    record: Record


class Step(NamedTuple):
    """What an agent says that it does, before and after."""

    at: float
    replica: str
    task: str
    run: int
    message: str
    attempt: int
    note: str


class Trouble(NamedTuple):
    """A replica was paused, cut off or slowed down."""

    replica: str
    since: float
    until: float


class Send(NamedTuple):
    """A message that was accepted."""

    at: float
    key: str
    message: str
    task: str
    turn: int


class Refusal(NamedTuple):
    """A message that was refused for good, since its task has ended."""

    at: float
    message: str
    task: str


class Cancel(NamedTuple):
    """What a request to cancel was answered; `state` is None where the task cannot be canceled any more."""

    asked: float
    at: float
    task: str
    state: TaskState | None


class Read(NamedTuple):
    """A task as somebody was given it."""

    asked: float
    at: float
    task: str
    seq: int
    content: bytes


@dataclass
class Follow:
    """All that a client read of a log, over as many connections as it took."""

    task: str
    after: int
    records: list[Record] = field(default_factory=list)
    is_complete: bool = False


class Taken(NamedTuple):
    """A replica has claimed a push config."""

    at: float
    task: str
    config: str
    epoch: int
    seq: int
    replica: str


class Cursor(NamedTuple):
    """The cursor of a push config as a replica has stored it, and what happened to the claim."""

    at: float
    task: str
    config: str
    epoch: int
    seq: int
    replica: str
    then: Then = Then.KEEP


class Change(NamedTuple):
    """A push config got into the store, or was deleted from it."""

    at: float
    task: str
    config: str
    is_there: bool


class Delete(NamedTuple):
    """A replica has confirmed that a push config is deleted; or its task was purged, then the replica is empty."""

    at: float
    task: str
    config: str
    replica: str


class Look(NamedTuple):
    """A replica has read from the store which push configs it has claimed."""

    asked: float
    at: float
    replica: str


@dataclass
class Attempt:
    """One request of a replica to the receiver of a push config."""

    begun: float
    replica: str
    task: str
    config: str
    seq: int
    event: StreamResponse
    ended: float | None = None
    """When the replica had the answer, or closed the connection, or was killed."""
    is_accepted: bool = False
    """True if the receiver has taken the event. The replica may not know it."""


@dataclass
class History:
    """Everything that the rules are about."""

    lease_s: float = 1.0
    max_attempts: int = 5
    is_resumable: bool = True
    writes: list[Claim | Commit] = field(default_factory=list)
    acks: list[Ack] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    cancels: list[Cancel] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    follows: list[Follow] = field(default_factory=list)
    deliveries: list[Taken | Cursor | Attempt] = field(default_factory=list)
    """In the order in which the store took the claims and steps, and the replicas began the attempts."""
    changes: list[Change] = field(default_factory=list)
    deletes: list[Delete] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    is_store_well: bool = False
    """True if the store answers each call soon."""
    arrivals: list[Attempt] = field(default_factory=list)
    """In the order in which receivers got them."""
    sends_all: bool = False
    """True if receivers get pieces of artifacts, too."""
    pushes: dict[tuple[str, str], bool] = field(default_factory=dict)
    """In the end: the push configs by task and id, and whether they are dead."""
    settles: int = 0
    """Blocking sends that were answered with the task as their turn left it."""
    complaints: list[str] = field(default_factory=list)
    """What must never happen: errors in the log, exceptions that are not for callers, promises that were not kept."""
    logs: dict[str, list[Record]] = field(default_factory=dict)
    """In the end."""
    heads: dict[str, Head] = field(default_factory=dict)
    """In the end, when faults have stopped for so long that nothing may be at work any more."""
