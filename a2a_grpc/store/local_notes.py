"""Notes of tasks in the memory of one process."""

from a2a_grpc.store.values import TaskKey
from a2a_grpc.store.writes import Note, StoreFull

NOTE_BYTES = 512
"""What a note is counted with beyond its value."""


class LocalNotes:
    """Keeps notes of tasks, at most `limit` bytes of them.

    Guarantees:

    - For a new note it deletes the notes of tasks that have ended, those that ended first. If none is left, `put` fails
      with StoreFull. It never deletes a note of a task that has not ended.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._tasks: dict[TaskKey, dict[tuple[int, str], bytes]] = {}
        self._ended: dict[TaskKey, None] = {}  # in the order in which they ended

    def put(self, key: TaskKey, note: Note) -> None:
        name, of_task = (note.turn, note.name), self._tasks.get(key, {})
        before = of_task.get(name)
        more = _size(note.value) - (_size(before) if before is not None else 0)
        while more > 0 and self._bytes + more > self._limit:
            if not self._ended:
                raise StoreFull(f"the notes of all tasks are limited to {self._limit} bytes")
            self.drop(next(iter(self._ended)))
        of_task[name] = note.value
        self._tasks[key] = of_task
        self._bytes += more

    def get(self, key: TaskKey, turn: int, name: str) -> bytes | None:
        return self._tasks.get(key, {}).get((turn, name))

    def sizes(self, key: TaskKey, turn: int) -> dict[str, int]:
        of_task = self._tasks.get(key, {})
        return {name: len(value) for (of_turn, name), value in of_task.items() if of_turn == turn}

    def drop_turns(self, key: TaskKey, done: int) -> None:
        """Delete the notes of the turns of a task up to `done`."""
        of_task = self._tasks.get(key, {})
        for name in [name for name in of_task if 0 < name[0] <= done]:
            self._bytes -= _size(of_task.pop(name))

    def end(self, key: TaskKey) -> None:
        """Take note that a task has ended, so that its notes may be deleted."""
        if key in self._tasks:
            self._ended[key] = None

    def ended(self) -> list[TaskKey]:
        """Return the tasks that have ended and have notes."""
        return list(self._ended)

    def drop(self, key: TaskKey) -> None:
        """Delete the notes of a task."""
        self._bytes -= sum(map(_size, self._tasks.pop(key, {}).values()))
        self._ended.pop(key, None)

    def clear(self) -> None:
        self._tasks.clear()
        self._ended.clear()
        self._bytes = 0


def _size(value: bytes) -> int:
    return len(value) + NOTE_BYTES
