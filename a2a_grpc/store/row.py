"""The row of a task, in the memory of one process."""

from a2a_grpc.store.values import Head, Pending
from a2a_grpc.wire import TaskState


class Row:
    """What a server needs to know of a task that has not ended. The fields are those of `Head`."""

    __slots__ = (
        "attempt",
        "cancel",
        "context_id",
        "epoch",
        "last_turn",
        "pending",
        "replica",
        "seq",
        "size",
        "state",
        "turn",
    )

    def __init__(self, seq: int, state: TaskState, turn: int, epoch: int, context_id: str, size: int) -> None:
        self.seq = seq
        self.state = state
        self.turn = turn
        self.epoch = epoch
        self.context_id = context_id
        self.size = size
        self.last_turn = turn
        self.attempt = 1
        self.replica = ""
        self.cancel: bytes | None = None
        self.pending: tuple[Pending, ...] = ()
        """The messages that wait or are kept, in order of their turns."""

    def open_turn(self, turn: int, done: int) -> None:
        """Take note of a record that opens a turn. `done` is that of its `Append`."""
        if done:
            self.attempt = 1
        self.turn = turn
        self.last_turn = max(self.last_turn, turn)

    def change_pending(self, done: int, keep: Pending | None) -> None:
        """Drop the messages that an `Append` is done with, and keep the one that it brings."""
        if done:
            self.pending = tuple(pending for pending in self.pending if pending.turn > done)
        if keep is not None:
            self.pending = (keep, *(pending for pending in self.pending if pending.turn > keep.turn))

    def head(self, *, is_lost: bool) -> Head:
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
            is_lost,
            self.cancel,
        )
