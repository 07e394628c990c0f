"""Push configs in the memory of one process."""

from collections.abc import Callable
from itertools import count, islice

from a2a_grpc.store.pushing import DeadPush, Push, PushClaim, PushName, PushStep, Then, TooManyPushes
from a2a_grpc.store.values import TaskKey


class _Kept:
    """A push config, with its cursor and its claim."""

    __slots__ = ("attempts", "denials", "died_at", "due", "epoch", "error", "push", "replica", "rests", "seq")

    def __init__(self, push: Push, seq: int, due: float) -> None:
        self.push = push
        self.seq = seq
        self.due: float | None = due
        """From when on the config may be claimed; None if it is claimed, rests, or is delivered no more."""
        self.rests = False
        self.died_at: float | None = None
        self.replica = ""
        self.epoch = 0
        self.attempts = 0
        self.denials = 0
        self.error = ""

    @property
    def is_active(self) -> bool:
        """True if something is delivered, or will be."""
        return self.due is not None or self.rests or bool(self.replica)


class Pushes:
    """Keeps push configs, at most `limit` of them. `Outbox` documents the methods.

    The owner says which tasks there are and which of them is free, as the configs are kept apart from the tasks.

    Args:
        limit: The largest number of configs of all tasks.
        clock: A function that returns the time in seconds.
        wall_clock: A function that returns the Unix time in seconds.
    """

    def __init__(self, limit: int, clock: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._wall_clock = wall_clock
        self._tasks: dict[TaskKey, dict[str, _Kept]] = {}
        self._count = 0
        self._epochs = count(1)  # of all configs, so that one that is added again never has an epoch that it had before
        self._due: dict[PushName, _Kept] = {}
        self._claimed: dict[PushName, _Kept] = {}
        self._dead: dict[PushName, _Kept] = {}

    @property
    def is_full(self) -> bool:
        """True if there is no room for another config."""
        return self._count >= self._limit

    def tasks(self) -> list[TaskKey]:
        """Return the tasks that have configs."""
        return list(self._tasks)

    def put(self, key: TaskKey, push: Push, seq: int, limit: int | None = None) -> None:
        """Add a config that is due at once, or replace the one with its id."""
        kept = self._tasks.get(key, {})
        if push.id not in kept and limit is not None and (len(kept) >= limit or self.is_full):
            raise TooManyPushes(len(kept))
        if (former := kept.get(push.id)) is not None and former.is_active:
            seq = min(seq, former.seq)
        self.delete(key, push.id)
        added = _Kept(push, seq, self._clock())
        self._tasks.setdefault(key, {})[push.id] = added
        self._count += 1
        self._due[PushName(key, push.id)] = added

    def get(self, key: TaskKey, id: str) -> Push | None:
        kept = self._tasks.get(key, {}).get(id)
        return kept.push if kept else None

    def page(self, key: TaskKey, after: str, limit: int) -> list[Push]:
        kept = self._tasks.get(key, {})
        return [kept[id].push for id in sorted(kept) if id > after][:limit]

    def delete(self, key: TaskKey, id: str) -> None:
        kept = self._tasks.get(key, {})
        if kept.pop(id, None) is None:
            return
        self._count -= 1
        if not kept:
            del self._tasks[key]
        for index in (self._due, self._claimed, self._dead):
            index.pop(PushName(key, id), None)

    def delete_all(self, key: TaskKey) -> None:
        """Delete the configs of a task that is gone."""
        for id in list(self._tasks.get(key, ())):
            self.delete(key, id)

    def wake(self, key: TaskKey) -> None:
        """Make the configs that rest due, as their task was claimed."""
        for id, kept in self._tasks.get(key, {}).items():
            if kept.rests:
                kept.rests = False
                self._set_due(PushName(key, id), kept, self._clock())

    def claim(self, replica: str, limit: int, is_alive: Callable[[str], bool]) -> list[PushClaim]:
        now = self._clock()
        due = sorted((kept.due, name) for name, kept in self._due.items() if kept.due is not None and kept.due <= now)
        lost = (name for name, kept in self._claimed.items() if not is_alive(kept.replica))
        names = list(islice((*(name for _, name in due), *lost), limit))
        return [self._claim(name, replica) for name in names]

    def _claim(self, name: PushName, replica: str) -> PushClaim:
        kept = self._tasks[name.key][name.id]
        self._due.pop(name, None)
        kept.due, kept.replica = None, replica
        kept.epoch = next(self._epochs)
        self._claimed[name] = kept
        return PushClaim(name, kept.push, kept.epoch, kept.seq, kept.attempts, kept.denials)

    def claimed(self, replica: str) -> list[PushStep]:
        return [
            PushStep(name, kept.epoch, kept.seq, Then.WAIT, 0.0, kept.attempts, kept.denials, kept.error)
            for name, kept in self._claimed.items()
            if kept.replica == replica
        ]

    def step(self, step: PushStep) -> Then | None:
        """Take a step. With `Then.REST` the config rests: the caller has looked whether it may."""
        kept = self._claimed.get(step.name)
        if kept is None or kept.epoch != step.epoch or step.seq < kept.seq:
            return None
        kept.seq, kept.attempts, kept.denials, kept.error = step.seq, step.attempts, step.denials, step.error
        if step.then is Then.KEEP:
            return Then.KEEP
        del self._claimed[step.name]
        kept.replica = ""
        if step.then is Then.WAIT:
            self._set_due(step.name, kept, self._clock() + step.delay_s)
        elif step.then is Then.REST:
            kept.rests = True
        elif step.then is Then.DIE:
            kept.died_at = self._wall_clock()
            self._dead[step.name] = kept
        return step.then

    def _set_due(self, name: PushName, kept: _Kept, due: float) -> None:
        kept.due = due
        self._due[name] = kept

    def dead(self, after: PushName | None, limit: int) -> list[DeadPush]:
        names = [name for name in sorted(self._dead) if after is None or name > after][:limit]
        found = [(name, self._dead[name]) for name in names]
        return [
            DeadPush(name, kept.push, kept.seq, kept.attempts, kept.error, int((kept.died_at or 0.0) * 1e6))
            for name, kept in found
        ]

    def revive(self, name: PushName) -> bool:
        kept = self._dead.pop(name, None)
        if kept is None:
            return False
        kept.died_at, kept.attempts, kept.denials, kept.error = None, 0, 0, ""
        self._set_due(name, kept, self._clock())
        return True

    def drop(self, name: PushName) -> bool:
        if name not in self._dead:
            return False
        self.delete(name.key, name.id)
        return True

    def clear(self) -> None:
        for known in (self._tasks, self._due, self._claimed, self._dead):
            known.clear()
        self._count = 0
