"""The order in which runs of one priority that wait get places."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from a2a_grpc.store import Scope


class Caller:
    """How many runs one caller has."""

    __slots__ = ("held", "reserved", "scope", "waiting")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.held = 0
        self.waiting = 0
        self.reserved = 0


class Place:
    """What one run has of the slots: a place, the wait for one, or nothing any more."""

    __slots__ = ("_given", "_is_released", "_release", "caller", "has_waited", "line")

    def __init__(self, caller: Caller, line: "Line | None", release: "Callable[[Place], None]") -> None:
        self._given: asyncio.Future[None] | None = None
        self._is_released = False
        self._release = release
        self.caller = caller
        self.line = line
        """The line in which the run waits; None once it has a place."""
        self.has_waited = line is not None
        """True if no place was free at once."""

    @property
    def is_held(self) -> bool:
        """True from the moment that the run has the place until the place is released."""
        return self.line is None and not self._is_released

    async def wait(self) -> None:
        """Return once the place is held. If the wait is canceled, the place is released."""
        if self.line is None:
            return
        self._given = asyncio.get_running_loop().create_future()
        try:
            await self._given
        except BaseException:
            self.release()
            raise

    def give(self) -> None:
        """Let the run go on. `Slots` calls this."""
        self.line = None
        if self._given is not None and not self._given.done():
            self._given.set_result(None)

    def release(self) -> None:
        """Release the place, or stop waiting for it. Later calls change nothing."""
        if not self._is_released:
            self._is_released = True
            self._release(self)


class Line:
    """The runs of one priority that wait: in order for each caller, with the callers in a round."""

    __slots__ = ("_aside", "_round", "due", "last", "stride")

    def __init__(self, stride: int) -> None:
        self.stride = stride
        self.due = 0
        """When the line has its next turn; the line with the smallest number is the first."""
        self.last: Caller | None = None
        """The caller whose run got a place last."""
        self._round: OrderedDict[Caller, OrderedDict[Place, None]] = OrderedDict()
        """The next caller first."""
        self._aside: dict[Caller, OrderedDict[Place, None]] = {}
        """Callers whose turn has come while they held all the places that they may."""

    def join(self, place: Place, clock: int, last: Caller | None) -> None:
        """Let a run wait behind the others of its caller; a new caller is before the one that got the last place."""
        places = self._round.get(place.caller) or self._aside.get(place.caller)
        if places is None:
            if not self._round and not self._aside:
                self.due = clock + self.stride
            places = self._round[place.caller] = OrderedDict()
            for served in (self.last, last):
                if served is not None and served in self._round:
                    self._round.move_to_end(served)
        places[place] = None

    def drop(self, place: Place) -> None:
        """Take out a run that stops waiting."""
        caller = place.caller
        places = self._round.get(caller) or self._aside[caller]
        del places[place]
        if not places:
            self._round.pop(caller, None)
            self._aside.pop(caller, None)

    def recall(self, caller: Caller) -> None:
        """Make a caller the next one if it was set aside."""
        if (places := self._aside.pop(caller, None)) is not None:
            self._round[caller] = places
            self._round.move_to_end(caller, last=False)

    def has_next(self, per_caller: int) -> bool:
        """Return True if a run waits that may have a place. Set callers aside that hold all the places they may."""
        while self._round:
            caller = next(iter(self._round))
            if caller.held < per_caller:
                return True
            self._aside[caller] = self._round.pop(caller)
        return False

    def pop(self) -> Place:
        """Take out the run whose turn it is, and move its caller to the end of the round. Call this if `has_next`."""
        caller = next(iter(self._round))
        places = self._round[caller]
        place, _ = places.popitem(last=False)
        if places:
            self._round.move_to_end(caller)
        else:
            del self._round[caller]
        return place
