"""The row of a task in the database, and what is decided on it."""

from dataclasses import dataclass

from a2a_grpc.lifecycle import SETTLED
from a2a_grpc.store.row import Row
from a2a_grpc.store.values import Append, Create, StaleAppend

SNAPSHOT_AT_REST = 32
"""Records since the stored snapshot from which on a task that settles gets a new one."""
SNAPSHOT_UNDER_WAY = 1024
"""Records since the stored snapshot from which on a task that runs gets a new one. Its size must have doubled, too, so
that all snapshots of a task together take time in proportion to its log."""


@dataclass(slots=True)
class StoredRow(Row):
    """A row as a transaction has read it, and then as the transaction will write it.

    Attributes:
        pk: The number of the task.
        at_us: The time of the newest status.
        snapshot_seq: The seq of the stored snapshot; 0 without one.
        snapshot_size: The size of all records up to the stored snapshot.
        is_lost: True if the holder is not alive any more.
        has_moved: True if more than `seq` and `size` has changed.
    """

    pk: int = 0
    at_us: int = 0
    snapshot_seq: int = 0
    snapshot_size: int = 0
    is_lost: bool = False
    has_moved: bool = False

    @classmethod
    def created(cls, pk: int, create: Create) -> "StoredRow":
        """Return the row of a new task."""
        record = create.record
        row = cls(record.seq, record.state, record.turn, 1, create.context_id, record.size, record.turn, pk=pk)
        row.at_us = record.at_us
        row.replica = "" if row.has_ended else create.replica
        return row

    @property
    def holder(self) -> str | None:
        """The replica that holds the task, as the database has it: None if the task is free."""
        return self.replica or None

    def check_append(self, append: Append) -> None:
        """Raise StaleAppend unless the record is the next one, under the newest claim of a task that has not ended."""
        if self.epoch != append.epoch or append.record.seq != self.seq + 1 or self.has_ended:
            raise StaleAppend

    def append(self, append: Append) -> None:
        """Add a record that was checked."""
        record = append.record
        self.has_moved |= bool(record.at_us) or record.state != self.state or record.turn != self.turn
        if record.turn > self.turn:
            self.open_turn(record.turn, append.done)
        self.seq, self.state, self.turn = record.seq, record.state, record.turn
        self.size += record.size
        self.at_us = record.at_us or self.at_us
        if self.has_ended:
            self.has_moved = True
            self.last_turn, self.replica, self.cancel = record.turn, "", None
        elif append.release and self.last_turn == record.turn:
            self.has_moved = True
            self.replica = ""

    def enqueue(self, replica: str, limit: int) -> None:
        """Accept a message as the next turn. If the task is free, claim it.

        Raises:
            StaleAppend: The task has ended.
            QueueFull: Too many messages wait.
        """
        if self.has_ended:
            raise StaleAppend
        self.check_room(limit)
        self.last_turn += 1
        if not self.replica:
            self._hold(replica)

    def claim(self, replica: str, *, force: bool) -> bool:
        """Claim the task if it is free or lost. Return True if claimed."""
        if self.has_ended or not (force or self.is_lost or self.replica in ("", replica)):
            return False
        self._hold(replica)
        return True

    def _hold(self, replica: str) -> None:
        self.count_claim()
        self.replica, self.is_lost = replica, False

    @property
    def wants_snapshot(self) -> bool:
        """True if the log has grown so much since the stored snapshot that a new one is worth its cost."""
        behind = self.seq - self.snapshot_seq
        if self.state in SETTLED:
            return behind >= SNAPSHOT_AT_REST
        return behind >= SNAPSHOT_UNDER_WAY and self.size >= 2 * self.snapshot_size
