"""The notes of a SQL store: named values of tasks."""

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

from sqlalchemy import Connection

from a2a_grpc.database.together import Together
from a2a_grpc.store.sql.keys import Recent, name_of
from a2a_grpc.store.sql.reads import KNOWN_NUMBERS, Reads
from a2a_grpc.store.sql.rows import numbers_of
from a2a_grpc.store.sql.statements import notes as statements
from a2a_grpc.store.values import TaskKey
from a2a_grpc.store.writes import Append, Note, StaleAppend

MAX_TOGETHER, MAX_BYTES = 64, 1 << 20
"""The largest number of notes in one transaction, and of bytes of their values. A single one may be a little larger."""


class Put(NamedTuple):
    """A note to write under a claim.

    Attributes:
        number: The place in the order of all notes, so that no two questions are equal.
        pk: The number of the task, or 0 if it is not known.
        key: The name of the task.
        note: The note.
        epoch: The claim of the writer.
    """

    number: int
    pk: int
    key: TaskKey
    note: Note
    epoch: int


class KeptNotes(Reads):
    """Adds notes to a SQL store. `Notes` documents the methods."""

    def __init__(self, url: str, budget_s: float) -> None:
        super().__init__(url, budget_s)
        self._puts: Together[Put, bool] = Together(
            lambda puts: self._write(put_notes, puts),
            max_questions=MAX_TOGETHER,
            size_of=lambda put: len(put.note.value),
            max_size=MAX_BYTES,
        )
        self._numbers_of_puts = count(1)
        self._noted: Recent[TaskKey, bool] = Recent(KNOWN_NUMBERS)
        """The tasks of which this process has put or found notes of a turn since one of their turns was done. So the
        end of a turn without steps costs no statement."""

    async def put_note(self, key: TaskKey, note: Note, *, epoch: int) -> None:
        if note.turn:
            self._noted.put(key, True)
        put = Put(next(self._numbers_of_puts), self._pks.get(key) or 0, key, note, epoch)
        if not await self._puts.answer_uncancelled(put):
            raise StaleAppend

    async def get_note(self, key: TaskKey, turn: int, name: str) -> bytes | None:
        value = await self._read(get_note, key, turn, name)
        if turn and value is not None:
            self._noted.put(key, True)
        return value

    async def note_sizes(self, key: TaskKey, turn: int) -> dict[str, int]:
        return await self._read(note_sizes, key, turn)

    def _take_noted(self, write: Append) -> bool:
        """Return True if an append ends turns that may have notes."""
        if not write.done or self._noted.get(write.key) is None:
            return False
        self._noted.drop(write.key)
        return True


def put_notes(connection: Connection, puts: Sequence[Put]) -> dict[Put, bool]:
    """Write notes, in the order in which all transactions lock the rows of tasks. Return which of them were written.

    A note may be written twice, as the second time changes nothing.
    """
    put = statements.PUT.get(connection.dialect.name, statements.PUT["mysql"])
    pks = {one.key: one.pk for one in puts if one.pk}
    if len(puts) > 1:
        pks |= numbers_of(connection, {one.key for one in puts} - set(pks))
    written = {}
    for one in sorted(puts, key=lambda one: (pks.get(one.key, 0), one.number)):
        note = {"of_turn": one.note.turn, "of_name": one.note.name, "of_value": one.note.value}
        names = {**name_of(one.key), **note, "of_epoch": one.epoch}
        written[one] = connection.execute(put, names).rowcount > 0
    return written


def get_note(connection: Connection, key: TaskKey, turn: int, name: str) -> bytes | None:
    found: bytes | None = connection.scalars(statements.GET, {**name_of(key), "of_turn": turn, "of_name": name}).first()
    return found


def note_sizes(connection: Connection, key: TaskKey, turn: int) -> dict[str, int]:
    found = connection.execute(statements.SIZES, {**name_of(key), "of_turn": turn})
    return {each.name: each.size for each in found}
