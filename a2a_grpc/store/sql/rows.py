"""The rows of tasks: reading and writing them inside a transaction, and what is decided on them."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select
from sqlalchemy.sql.dml import ReturningUpdate

from a2a_grpc.lifecycle import SETTLED
from a2a_grpc.store.row import Row
from a2a_grpc.store.sql.keys import names_of, padded
from a2a_grpc.store.sql.sqlite import goes_together
from a2a_grpc.store.sql.statements import coordination, tasks
from a2a_grpc.store.values import Head, TaskKey
from a2a_grpc.store.writes import Append, Create, StaleAppend

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


# -- inside a transaction


def row_to_write(connection: Connection, key: TaskKey) -> StoredRow | None:
    """Lock the row of a task. Return it; None for an unknown task."""
    return rows_to_write_by_key(connection, [key]).get(key)


def rows_to_write(connection: Connection, pks: Collection[int]) -> dict[int, StoredRow]:
    """Lock the rows of tasks. Return them by number, without the state of their holders."""
    if not pks:
        return {}
    if goes_together(connection.dialect):
        together = json.loads(connection.execute(tasks.ROWS_AS_JSON, {"pks": json.dumps(list(pks))}).scalar_one())
    else:
        together = connection.execute(tasks.ROWS_TO_WRITE, {"pks": padded(sorted(pks))}).all()
    return {row.pk: row for row in map(_row, together)}


def rows_to_write_by_key(connection: Connection, keys: Iterable[TaskKey]) -> dict[TaskKey, StoredRow]:
    """Lock the rows of tasks. Return those that there are."""
    found = connection.execute(tasks.ROWS_TO_WRITE_BY_KEY, names_of(sorted(set(keys)))).all()
    rows = {key_of(each): _row(each) for each in found}
    # Not joined to the rows: this statement sees which replicas joined or died while the first one waited for locks.
    alive = alive_among(connection, {row.replica for row in rows.values()})
    for row in rows.values():
        row.is_lost = bool(row.replica) and row.replica not in alive
    return rows


def alive_among(connection: Connection, replicas: Iterable[str]) -> set[str]:
    """Return which of some replicas have a lease. "" stands for no replica."""
    ids = sorted({id for id in replicas if id})
    return set(connection.scalars(coordination.ALIVE_AMONG, {"ids": padded(ids)})) if ids else set()


def numbers_of(connection: Connection, keys: Iterable[TaskKey]) -> dict[TaskKey, int]:
    """Return the numbers of those of some tasks that there are."""
    return {key: pk for key, (pk, _) in seqs(connection, dict.fromkeys(keys)).items()}


def key_of(found: Any) -> TaskKey:
    """Return the name of a task that a statement with the columns `NAMED` has found."""
    return TaskKey(found.tenant, found.owner, found.task_id)


def keys(connection: Connection, query: Select[Any], names: Mapping[str, Any]) -> list[TaskKey]:
    """Return the names of the tasks that `ORPHANED`, `CLAIMED_BY` or `WAITING_LONGER` finds."""
    return [TaskKey(*found) for found in connection.execute(query, names)]


def shown(
    connection: Connection, query: "Select[Any] | ReturningUpdate[Any]", names: Mapping[str, Any]
) -> dict[TaskKey, Head]:
    """Return the rows that `HEADS`, `NEEDING_ATTENTION` or `REQUEST_CANCEL_AND_SHOW` finds, in their order."""
    return {
        key_of(found): _row(found).head(is_lost=bool(found.replica) and found.living is None)
        for found in connection.execute(query, names)
    }


def heads(connection: Connection, keys: Sequence[TaskKey]) -> dict[TaskKey, Head | None]:
    """Return the rows of tasks; None for each unknown task."""
    return dict.fromkeys(keys) | shown(connection, tasks.HEADS, names_of(keys))


def seqs(connection: Connection, asked: Mapping[TaskKey, int | None]) -> dict[TaskKey, tuple[int, int]]:
    """Return the numbers and newest seqs of tasks, which are found by their numbers as far as these are given."""
    known = {pk: key for key, pk in asked.items() if pk is not None}
    found: dict[TaskKey, tuple[int, int]] = {}
    if known:
        found = {known[pk]: (pk, seq) for pk, seq in connection.execute(tasks.SEQS, {"pks": padded(list(known))})}
    if unknown := [key for key, pk in asked.items() if pk is None]:
        for pk, seq, *key in connection.execute(tasks.SEQS_BY_KEY, names_of(unknown)):
            found[TaskKey(*key)] = pk, seq
    return found


def write_claim(connection: Connection, row: StoredRow) -> None:
    """Write what a claim or a message may have changed in a row."""
    claim = {"new_last_turn": row.last_turn, "new_attempt": row.attempt, "new_epoch": row.epoch}
    connection.execute(tasks.UPDATE_CLAIM, {"of_pk": row.pk, "new_replica": row.holder, **claim})


def _row(found: Sequence[Any]) -> StoredRow:
    row = StoredRow(*found[: len(tasks.ROW_COLUMNS)])
    row.replica = row.replica or ""
    if isinstance(row.cancel, str):  # from JSON
        row.cancel = bytes.fromhex(row.cancel)
    return row
