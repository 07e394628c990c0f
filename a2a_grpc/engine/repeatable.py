"""What every run of a turn gets alike: ids, random values, the results of steps, and what was remembered."""

from collections import Counter
from hashlib import sha256

from a2a_grpc.agent import TurnBackend, step_of
from a2a_grpc.engine.events import OverLimit, now_us
from a2a_grpc.engine.past import Past
from a2a_grpc.engine.queued_turn import Origin, QueuedTurn
from a2a_grpc.engine.resources import Resources
from a2a_grpc.store import Note, StoreFull, TaskKey

OF_TASK = 0
"""The turn of notes that belong to a whole task."""


class RunNotes:
    """The results and values that one run finds or keeps. They are limited together, as events of a task are."""

    def __init__(self, resources: Resources, key: TaskKey, queued: QueuedTurn) -> None:
        self._key = key
        self._turn = queued.turn
        self._store = resources.log.store
        self._settings = resources.settings
        self._sizes: dict[tuple[int, str], int] = {}
        self._total = 0
        self._may_have_results = queued.is_repeat
        """True if results of steps may be stored that this run does not know."""
        self._knows_values = queued.turn == 1 and not queued.is_repeat
        """True if the values that earlier turns and runs of the task have stored are counted. A new task has none."""

    async def result(self, step: str) -> bytes | None:
        """Return the packed result of a step; None if there is none."""
        packed = await self._store.get_note(self._key, self._turn, step) if self._may_have_results else None
        if packed is not None:
            self._count(Note(self._turn, step, packed))
        return packed

    async def count_values(self) -> None:
        """Count the values that are stored already. Call this before the first value is kept."""
        if self._knows_values:
            return
        for name, size in (await self._store.note_sizes(self._key, OF_TASK)).items():
            if (OF_TASK, name) not in self._sizes:
                self._sizes[OF_TASK, name] = size
                self._total += size
        self._knows_values = True

    async def keep(self, note: Note, epoch: int) -> None:
        """Store a note under a claim. Raise OverLimit, StaleAppend, StoreUnavailable."""
        self._count(note)
        try:
            await self._store.put_note(self._key, note, epoch=epoch)
        except StoreFull:
            raise OverLimit("the store has no room for another result of a step or value") from None
        except BaseException:  # it may have been written, also if the store does not answer or the caller was canceled
            self._may_have_results = True
            raise

    def _count(self, note: Note) -> None:
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


class Repeatable(Past, TurnBackend):
    """Give every run of a turn the same ids, random values and results of steps.

    Guarantees:

    - The n-th value of a kind is the same in every run. A function of a step takes values from a sequence of its own,
      which begins again with each try, because a later run does not call the function.
    """

    def __init__(self, resources: Resources, key: TaskKey, context_id: str, queued: QueuedTurn) -> None:
        super().__init__(resources.log.store, resources.settings.max_task_bytes, key.scope, context_id, key.id)
        self._resources = resources
        self.key = key
        """The name of the task."""
        self._first = queued.turn
        # A message that an earlier version has stored has no origin. Then the time is that of the run.
        self._origin = queued.origin or Origin(f"{key.id}-{queued.turn}", now_us())
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

    async def recall(self, name: str) -> bytes | None:
        return await self._store.get_note(self.key, OF_TASK, name)
