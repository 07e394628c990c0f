"""What every run of a turn gets alike: ids, random values, the results of steps, and what was remembered."""

import secrets
from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

from a2a_grpc.agent import TurnBackend, step_of
from a2a_grpc.engine.events import OverLimit, now_us
from a2a_grpc.engine.settings import EngineSettings
from a2a_grpc.store import Note, Notes, TaskKey

OF_TASK = 0
"""The turn of notes that belong to a whole task."""


class Origin(NamedTuple):
    """What is drawn when a message is accepted, and stored with the message. No caller can guess the seed."""

    seed: str
    at_us: int

    @classmethod
    def drawn(cls, at_us: int) -> "Origin":
        """Return the origin of a message that was accepted at a time, in microseconds since 1970 (UTC)."""
        return cls(secrets.token_hex(16), at_us)


class NoteSizes:
    """Limits the results that one run keeps or finds, with the values of its task, as events of a task are limited."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._sizes: dict[tuple[int, str], int] = {}
        self._total = 0

    def found(self, turn: int, sizes: Mapping[str, int]) -> None:
        """Count notes that are stored, unless they are counted already."""
        for name, size in sizes.items():
            if (turn, name) not in self._sizes:
                self._sizes[turn, name] = size
                self._total += size

    def add(self, note: Note) -> None:
        """Count a note that is about to be written, or that an earlier run has written. Raise OverLimit if it is too
        much."""
        name, limit = (note.turn, note.name), self._settings.max_task_bytes
        total = self._total + len(note.value) - self._sizes.get(name, 0)
        if total > limit:
            raise OverLimit(
                f"with {len(note.value)} bytes of '{note.name}' this run keeps {total} bytes of results of steps and "
                f"values; the limit is {limit} bytes (--max-task-bytes)"
            )
        if name not in self._sizes and len(self._sizes) >= self._settings.max_task_records:
            raise OverLimit(
                f"'{note.name}' is over the limit of {self._settings.max_task_records} results of steps and values of "
                "one run (--max-task-records)"
            )
        self._sizes[name], self._total = len(note.value), total


class Repeatable(TurnBackend):
    """Give every run of a turn the same ids, random values and results of steps.

    Guarantees:

    - The n-th value of a kind is the same in every run. A function of a step takes values from a sequence of its own,
      which begins again with each try, because a later run does not call the function.
    """

    def __init__(self, key: TaskKey, turn: int, origin: Origin | None, notes: Notes) -> None:
        self.key = key
        """The name of the task."""
        self._first = turn
        self._notes = notes
        # A message that an earlier version has stored has no origin. Then the time is that of the run.
        self._origin = origin or Origin(f"{key.id}-{turn}", now_us())
        self._counts: Counter[str] = Counter()

    @property
    def accepted_us(self) -> int:
        return self._origin.at_us

    def new_artifact_id(self) -> str:
        return f"{self.key.id}-{self._first}-{self._next('artifact')}"

    def new_call_id(self) -> str:
        return f"{self.key.id}-{self._first}-call-{self._next('call')}"

    def draw(self, kind: str) -> bytes:
        return sha256(f"{self._origin.seed} {kind} {self._next(kind)}".encode()).digest()

    def _next(self, kind: str) -> str:
        """Return the number of the next value of a kind, after a digest of the step that takes it."""
        if (step := step_of(self)) is None:
            self._counts[kind] += 1
            return str(self._counts[kind])
        step.counts[kind] += 1
        return f"{sha256(step.name.encode()).hexdigest()[:16]}-{step.counts[kind]}"

    async def recorded(self, step: str) -> bytes | None:
        return await self._notes.get_note(self.key, self._first, step)

    async def recall(self, name: str) -> bytes | None:
        return await self._notes.get_note(self.key, OF_TASK, name)
