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
    """The place of one run among the slots. The run waits for it, holds it, or has released it."""

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
    """The runs of one priority that wait: in order for each caller, with the callers in a round.

    A caller that holds all the places that it may is passed over, and keeps its turn. There are at most as many of them
    as there are places.
    """

    __slots__ = ("_round", "due", "last", "stride")

    def __init__(self, stride: int) -> None:
        self.stride = stride
        self.due = 0
        """When the line has its next turn; the line with the smallest number is the first."""
        self.last: Caller | None = None
        """The caller whose run got a place last."""
        self._round: OrderedDict[Caller, OrderedDict[Place, None]] = OrderedDict()
        """The next caller first."""

    def join(self, place: Place, clock: int, last: Caller | None) -> None:
        """Let a run wait behind the others of its caller; a new caller is before the one that got the last place."""
        places = self._round.get(place.caller)
        if places is None:
            if not self._round:
                self.due = clock + self.stride
            places = self._round[place.caller] = OrderedDict()
            for served in (self.last, last):
                if served is not None and served in self._round:
                    self._round.move_to_end(served)
        places[place] = None

    def drop(self, place: Place) -> None:
        """Take out a run."""
        places = self._round[place.caller]
        del places[place]
        if not places:
            del self._round[place.caller]

    def first(self, per_caller: int) -> Place | None:
        """Return the run whose turn it is, of a caller that holds less than so many places; None if there is none."""
        return next((next(iter(places)) for caller, places in self._round.items() if caller.held < per_caller), None)

    def serve(self, place: Place) -> None:
        """Take out a run that gets a place, and let its caller wait for the next round."""
        self._round.move_to_end(place.caller)
        self.drop(place)
        self.last = place.caller
