"""The row of a task: what a server needs to know of the task to decide on calls. Its fields are those of `Head`."""

from dataclasses import dataclass

from a2a_grpc.lifecycle import INTERRUPTED, TERMINAL
from a2a_grpc.store.values import Head
from a2a_grpc.store.writes import Pending, QueueFull
from a2a_grpc.wire import TaskState


@dataclass(slots=True)
class Row:
    """A row that is changed as calls are decided. The fields of `Head` describe it."""

    seq: int
    state: TaskState
    turn: int
    epoch: int
    context_id: str
    size: int
    last_turn: int
    attempt: int = 1
    replica: str = ""
    cancel: bytes | None = None

    @property
    def has_ended(self) -> bool:
        return self.state in TERMINAL

    @property
    def is_waiting(self) -> bool:
        """True while the task waits for its user."""
        return self.state in INTERRUPTED

    def head(self, *, is_lost: bool) -> Head:
        return Head(
            *(self.seq, self.state, self.turn, self.epoch, self.context_id, self.size),
            *(self.last_turn, self.attempt, self.replica, is_lost, self.cancel),
        )

    def open_turn(self, turn: int, done: int) -> None:
        """Take note of a record that opens a turn. `done` is that of its `Append`."""
        if done:
            self.attempt = 1
        self.turn = turn
        self.last_turn = max(self.last_turn, turn)

    def check_room(self, limit: int) -> None:
        """Raise QueueFull if no further message may wait for the task."""
        waiting = self.last_turn - self.turn
        if waiting >= max(limit, self.is_waiting):
            raise QueueFull(waiting)

    def count_claim(self) -> None:
        """Take note of a claim, which makes the earlier ones void. If the task was held, a run may have been lost."""
        self.epoch += 1
        if self.replica and not self.is_waiting:
            self.attempt += 1


@dataclass(slots=True)
class MemoryRow(Row):
    """The row of a task that has not ended, in the memory of one process.

    Attributes:
        pending: The messages that wait or are kept, in order of their turns.
    """

    pending: tuple[Pending, ...] = ()

    def change_pending(self, done: int, keep: Pending | None) -> None:
        """Drop the messages that an `Append` is done with, and keep the one that it brings."""
        if done:
            self.pending = tuple(pending for pending in self.pending if pending.turn > done)
        if keep is not None:
            self.pending = (keep, *(pending for pending in self.pending if pending.turn > keep.turn))
