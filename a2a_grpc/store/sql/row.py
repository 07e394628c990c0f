"""The row of a task, and what is decided on it: pure functions over values."""

from dataclasses import dataclass

from a2a_grpc.lifecycle import INTERRUPTED, SETTLED, TERMINAL
from a2a_grpc.store.values import Append, Head, QueueFull, Record, StaleAppend
from a2a_grpc.wire import TaskState

SNAPSHOT_AT_REST = 32
"""Records since the stored snapshot from which on a task that settles gets a new one."""
SNAPSHOT_UNDER_WAY = 1024
"""The same for a task that goes on, which must have doubled, too: all its snapshots together stay linear in its log."""


@dataclass(slots=True)
class Row:
    """A task's row as a transaction has read it, then as it will write it."""

    pk: int
    context_id: str
    seq: int
    state: TaskState
    turn: int
    last_turn: int
    attempt: int
    epoch: int
    size: int
    at_us: int
    replica: str
    cancel: bytes | None
    snapshot_seq: int
    snapshot_size: int
    is_lost: bool = False
    is_moved: bool = False
    """Whether more than `seq` and `size` has changed."""

    @classmethod
    def born(cls, pk: int, record: Record, context_id: str, replica: str) -> "Row":
        holder = "" if record.state in TERMINAL else replica
        return cls(
            pk=pk,
            context_id=context_id,
            seq=record.seq,
            state=record.state,
            turn=record.turn,
            last_turn=record.turn,
            attempt=1,
            epoch=1,
            size=record.size,
            at_us=record.at_us,
            replica=holder,
            cancel=None,
            snapshot_seq=0,
            snapshot_size=0,
        )

    @property
    def has_ended(self) -> bool:
        return self.state in TERMINAL

    @property
    def is_waiting(self) -> bool:
        """True while the task waits for its user."""
        return self.state in INTERRUPTED

    @property
    def head(self) -> Head:
        return Head(
            self.seq,
            self.state,
            self.turn,
            self.epoch,
            self.context_id,
            self.size,
            self.last_turn,
            self.attempt,
            self.replica,
            self.is_lost,
            self.cancel,
        )

    def check_append(self, append: Append) -> None:
        """Raises StaleAppend unless the record is the next one, under the newest claim of a task that goes on."""
        if self.epoch != append.epoch or append.record.seq != self.seq + 1 or self.has_ended:
            raise StaleAppend

    def append(self, append: Append) -> None:
        """Adds a record that was checked."""
        record = append.record
        self.is_moved |= bool(record.at_us) or record.state != self.state or record.turn != self.turn
        if record.turn > self.turn:
            self.attempt = 1 if append.done else self.attempt
            self.last_turn = max(self.last_turn, record.turn)
        self.seq, self.state, self.turn = record.seq, record.state, record.turn
        self.size += record.size
        self.at_us = record.at_us or self.at_us
        if self.has_ended:
            self.is_moved = True
            self.last_turn, self.replica, self.cancel = record.turn, "", None
        elif append.release and self.last_turn == record.turn:
            self.is_moved = True
            self.replica = ""

    def enqueue(self, replica: str, limit: int) -> None:
        """Accepts a message as the task's next turn; claims the task where nobody holds it. Raises StaleAppend or
        QueueFull."""
        if self.has_ended:
            raise StaleAppend
        waiting = self.last_turn - self.turn
        if waiting >= max(limit, self.state in INTERRUPTED):
            raise QueueFull(waiting)
        self.last_turn += 1
        if not self.replica:
            self.epoch += 1
            self.replica, self.is_lost = replica, False

    def claim(self, replica: str, *, force: bool) -> bool:
        """Claim the task if it is free or lost. Return True if claimed."""
        if self.has_ended or not (force or self.is_lost or self.replica in ("", replica)):
            return False
        self.epoch += 1
        if self.replica and self.state not in INTERRUPTED:
            self.attempt += 1
        self.replica, self.is_lost = replica, False
        return True

    @property
    def wants_snapshot(self) -> bool:
        """Whether so much has come since the stored snapshot that a new one pays."""
        behind = self.seq - self.snapshot_seq
        if self.state in SETTLED:
            return behind >= SNAPSHOT_AT_REST
        return behind >= SNAPSHOT_UNDER_WAY and self.size >= 2 * self.snapshot_size
