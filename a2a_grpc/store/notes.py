"""The part of a store that keeps named values of tasks."""

from typing import Protocol

from a2a_grpc.store.values import TaskKey
from a2a_grpc.store.writes import Note


class Notes(Protocol):
    """Named values that the handlers of tasks keep. `OneServer` has it in the memory of the process.

    Guarantees:

    - A note is durable when `put_note` returns, if `keeps_messages` is True. Each later read of any replica returns it.
    - A note is written only under the newest claim of its task. A call that raises StaleAppend has changed nothing.
    - The notes of a task stay until the task ends, and are deleted with the task. A store may delete those of a turn
      with an `Append` that is `done` with the turn.
    - If a task ends while it waits for its user, its notes stay longer, since its handler may be run up to its question
      once more. A store of bounded size may delete them when it needs the room. If a task ends otherwise, a store may
      delete its notes at once.

    Each method may raise StoreUnavailable. After it, the note may have been written or not.
    """

    async def put_note(self, key: TaskKey, note: Note, *, epoch: int) -> None:
        """Write a note of a task, or replace the one with the same turn and name.

        Args:
            key: The name of the task.
            note: The note.
            epoch: The claim of the writer.

        Raises:
            StaleAppend: The claim is void, or the task has ended or is unknown.
            StoreFull: There is no room for the note. Nothing was written.
        """

    async def get_note(self, key: TaskKey, turn: int, name: str) -> bytes | None:
        """Return the value of a note; None if there is no such note.

        Args:
            key: The name of the task.
            turn: The turn of the note.
            name: The name of the note.
        """

    async def note_sizes(self, key: TaskKey, turn: int) -> dict[str, int]:
        """Return the sizes of the values of all notes of a turn, in bytes, by their names.

        Args:
            key: The name of the task.
            turn: The turn of the notes.
        """
