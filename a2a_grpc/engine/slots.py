"""Places for runs: so many at a time, and turns for those that wait, by priority and by caller."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from a2a_grpc.engine.line import Caller, Line, Place
from a2a_grpc.engine.priority import Priority
from a2a_grpc.errors import ResourceExhaustedError
from a2a_grpc.store import Scope

STRIDES = {Priority.HIGH: 1, Priority.NORMAL: 2, Priority.LOW: 8}
"""How far a priority moves back with each place that it gets: if all wait, of 13 places 8, 4 and 1 are theirs."""


class Slots:
    """At most `limit` runs hold a place; a bounded number waits.

    Guarantees:

    - A place never stays free while a run waits that may have it.
    - Of the runs that wait, those of one caller and one priority get places in the order in which they came.
    - Callers take turns within a priority, one place each. A new caller comes before the caller that was served last.
    - Priorities take turns by their strides, so each of them gets places as long as its runs wait.
    - A caller that holds `per_caller` places is passed over. If its turn comes meanwhile, it is the next after that.
    - A run that stops waiting takes nothing: a place that it was given at that moment goes to the next run.

    No method takes longer because more runs wait. A run that waits holds nothing that another run needs.
    """

    def __init__(self, limit: int, queue: int, *, per_caller: int = 0, queued_per_caller: int = 0) -> None:
        """Bound the runs of all callers, and of each caller those at work and those that wait. 0 sets no bound."""
        self._limit = self._free = limit
        self._queue = queue
        self._per_caller = per_caller or limit
        self._queued_per_caller = queued_per_caller
        self._callers: dict[Scope, Caller] = {}
        self._lines = tuple(Line(STRIDES[priority]) for priority in Priority)
        self._clock = 0
        """The moment of the last turn: `Line.due` of the line that had it."""
        self._last: Caller | None = None
        """The caller that took the last free place; None once a run that waited has got one."""
        self._waiting = 0
        self._reserved = 0
        self._idle = asyncio.Event()

    @property
    def taken(self) -> int:
        """How many runs hold a place or wait for one."""
        return self._limit - self._free + self._waiting

    @property
    def callers(self) -> int:
        """How many callers have a run that holds a place, waits for one, or is about to."""
        return len(self._callers)

    @property
    def room(self) -> int:
        """How many more runs may hold a place or wait for one."""
        return self._free + self._queue - self._waiting - self._reserved

    def check(self, scope: Scope) -> None:
        """Raise ResourceExhaustedError if another run of a caller would have to wait, and no more may."""
        caller = self._caller(scope)
        free = min(self._free, self._per_caller - caller.held)
        if self._queued_per_caller and caller.waiting + caller.reserved >= self._queued_per_caller + free:
            raise ResourceExhaustedError(
                f"{self._queued_per_caller} runs of this caller are waiting, which is the limit "
                "(--max-queued-per-caller)",
                retry_after_s=1.0,
            )
        if self._waiting + self._reserved >= self._queue + free:
            raise ResourceExhaustedError(
                f"{self.taken} runs are at work or waiting, and no more may wait (--max-queued-runs)", retry_after_s=1.0
            )

    @contextmanager
    def reserving(self, scope: Scope) -> Iterator[None]:
        """Reserve room for a run of a caller while the block stores its message."""
        caller = self._callers[scope] = self._caller(scope)
        caller.reserved += 1
        self._reserved += 1
        try:
            yield
        finally:
            caller.reserved -= 1
            self._reserved -= 1
            self._forget(caller)

    def try_acquire(self, scope: Scope) -> Place | None:
        """Return a place for a run of a caller; None if none is free for it. The place must be released."""
        caller = self._caller(scope)
        if not self._free or caller.held >= self._per_caller:
            return None
        self._callers[scope] = caller
        self._free -= 1
        caller.held += 1
        self._last = caller
        return Place(caller, None, self._release)

    def line_up(self, scope: Scope, priority: Priority) -> Place:
        """Return the wait for a place that `try_acquire` did not give. It must be released in any case."""
        caller = self._callers[scope] = self._caller(scope)
        place = Place(caller, self._lines[priority], self._release)
        self._waiting += 1
        caller.waiting += 1
        self._lines[priority].join(place, self._clock, self._last)
        return place

    def _release(self, place: Place) -> None:
        """Release a place, or end the wait for it."""
        caller = place.caller
        if place.line is not None:
            self._waiting -= 1
            caller.waiting -= 1
            place.line.drop(place)
        else:
            caller.held -= 1
            if not self._waiting:
                self._free += 1
            else:
                self._pass_on()
        self._forget(caller)
        if not self.taken:
            self._idle.set()

    def _pass_on(self) -> None:
        """Give a place that was released to the run whose turn it is."""
        firsts = [(line, place) for line in self._lines if (place := line.first(self._per_caller)) is not None]
        if not firsts:
            self._free += 1
            return
        line, place = min(firsts, key=lambda first: first[0].due)
        line.serve(place)
        self._waiting -= 1
        place.caller.waiting -= 1
        place.caller.held += 1
        self._last = None
        self._clock = max(self._clock, line.due)
        line.due = self._clock + line.stride
        place.give()

    def _caller(self, scope: Scope) -> Caller:
        """Return a caller; a new one, which is not among the others yet, if it has no run."""
        return self._callers.get(scope) or Caller(scope)

    def _forget(self, caller: Caller) -> None:
        if not caller.held and not caller.waiting and not caller.reserved:
            del self._callers[caller.scope]

    async def idle(self) -> None:
        """Return once no run holds a place or waits for one."""
        while self.taken:
            self._idle.clear()
            await self._idle.wait()
