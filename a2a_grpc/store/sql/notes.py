"""The notes of a SQL store: named values of tasks."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from a2a_grpc.database.together import Together
from a2a_grpc.store.sql.reads import Reads
from a2a_grpc.store.sql.rows import name_of
from a2a_grpc.store.sql.statements import notes as statements
from a2a_grpc.store.values import Note, StaleAppend, TaskKey

MAX_TOGETHER = 64
"""The largest number of notes in one transaction. Each of them may have a MiB."""


class Put(NamedTuple):
    """A note to write under a claim. `pk` is the number of the task, or 0 if it is not known."""

    pk: int
    key: TaskKey
    note: Note
    epoch: int


class KeptNotes(Reads):
    """Adds notes to a SQL store. `Notes` documents the methods."""

    def __init__(self, url: str, budget_s: float) -> None:
        super().__init__(url, budget_s)
        self._puts: Together[Put, bool] = Together(
            lambda puts: self._write(put_notes, puts), max_questions=MAX_TOGETHER
        )

    async def put_note(self, key: TaskKey, note: Note, *, epoch: int) -> None:
        if not await self._puts.answer_uncancelled(Put(self._pks.get(key) or 0, key, note, epoch)):
            raise StaleAppend

    async def get_note(self, key: TaskKey, turn: int, name: str) -> bytes | None:
        return await self._read(get_note, key, turn, name)


def put_notes(connection: Connection, puts: Sequence[Put]) -> dict[Put, bool]:
    """Write notes, in the order in which all transactions lock the rows of tasks. Return which of them were written.

    A note may be written twice, as the second time changes nothing.
    """
    put = statements.PUT.get(connection.dialect.name, statements.PUT["mysql"])
    written = {}
    for one in sorted(puts, key=lambda one: one.pk):
        note = {"of_turn": one.note.turn, "of_name": one.note.name, "of_value": one.note.value}
        names = {**name_of(one.key), **note, "of_epoch": one.epoch}
        written[one] = connection.execute(put, names).rowcount > 0
    return written


def get_note(connection: Connection, key: TaskKey, turn: int, name: str) -> bytes | None:
    found: bytes | None = connection.scalars(statements.GET, {**name_of(key), "of_turn": turn, "of_name": name}).first()
    return found
