"""An event loop in virtual time, and gates behind which a simulated process can be stopped."""

import asyncio
import contextvars
import selectors
from collections.abc import Callable
from random import Random
from typing import Any, TypeVarTuple, Unpack

Ts = TypeVarTuple("Ts")

START_S = 1000.0
MAX_TURNS = 400_000
"""Turns of the loop after which a simulation is taken for one that does not end."""


class Gate:
    """What stands before every callback of one simulated process: as SIGSTOP and SIGKILL do, it asks nobody."""

    def __init__(self) -> None:
        self.is_frozen = False
        self.is_dead = False
        self._held: list[_Passage] = []

    def freeze(self) -> None:
        """Stops the process between two of its callbacks."""
        self.is_frozen = True

    def thaw(self) -> None:
        """Lets it go on where it was; what came due meanwhile runs now, in order."""
        self.is_frozen = False
        held, self._held = self._held, []
        for passage in held:
            passage.again()

    def kill(self) -> None:
        """Nothing of the process runs any more, no cleanup either."""
        self.is_dead = True
        self._held.clear()

    def hold(self, passage: "_Passage") -> None:
        self._held.append(passage)


GATE: contextvars.ContextVar[Gate | None] = contextvars.ContextVar("GATE", default=None)
NOBODY = contextvars.Context()
"""Of callbacks that belong to no process."""


class _Passage:
    """A callback of a process with a gate."""

    __slots__ = ("_args", "_callback", "_context", "_gate", "_loop", "handle")

    def __init__(
        self, loop: "SimulatedLoop", gate: Gate, callback: Any, args: tuple[Any, ...], context: contextvars.Context
    ) -> None:
        self._loop = loop
        self._gate = gate
        self._callback = callback
        self._args = args
        self._context = context
        self.handle: asyncio.Handle

    def again(self) -> None:
        self._loop.call_ungated(self, self._context)

    def __call__(self) -> None:
        gate = self._gate
        if gate.is_dead or self.handle.cancelled():
            return
        if gate.is_frozen:
            gate.hold(self)
            return
        self._callback(*self._args)


class _Clock(selectors.SelectSelector):
    """Waits for nothing: the time that there is nothing to do until is over at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START_S
        self.turns = 0

    def select(self, timeout: float | None = None) -> Any:
        self.turns += 1
        if timeout is None:
            raise RuntimeError("nothing is left that could happen")
        if self.turns > MAX_TURNS:
            raise RuntimeError(f"the simulation has not ended after {MAX_TURNS} turns of its loop")
        self.now += max(timeout, 0.0)
        return []


class _Future(asyncio.Future[Any]):
    """Its place in a set is decided by the seed, not by its address."""

    def __init__(self, *, place: int, loop: asyncio.AbstractEventLoop) -> None:
        self._place = place
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._place


class _Task(asyncio.Task[Any]):
    def __init__(self, work: Any, *, place: int, context: contextvars.Context | None = None, **options: Any) -> None:
        self._place = place
        self.gate = GATE.get() if context is None else context.get(GATE)
        super().__init__(work, context=context, **options)

    def __hash__(self) -> int:
        return self._place


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Guarantees: no callback waits in real time; one seed, one order of everything; a callback whose context has a
    gate passes it."""

    def __init__(self, random: Random) -> None:
        self._clock = _Clock()
        self._random = random
        self.unfinished: set[asyncio.Task[Any]] = set()
        """Held here: what belongs to a dead process is held by nobody else."""
        super().__init__(self._clock)
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self._clock.now

    @property
    def turns(self) -> int:
        return self._clock.turns

    def create_future(self) -> asyncio.Future[Any]:
        return _Future(place=self._random.getrandbits(30), loop=self)

    def _make_task(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        task = _Task(work, place=self._random.getrandbits(30), loop=loop, **options)
        self.unfinished.add(task)
        task.add_done_callback(self.unfinished.discard, context=NOBODY)
        return task

    def tasks_behind(self, gate: Gate) -> list[asyncio.Task[Any]]:
        """Those of a process that have not ended."""
        return [task for task in asyncio.all_tasks(self) if isinstance(task, _Task) and task.gate is gate]

    def call_ungated(self, callback: Callable[[], Any], context: contextvars.Context) -> None:
        super().call_soon(callback, context=context)

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        gate = GATE.get() if context is None else context.get(GATE)
        if gate is None:
            return super().call_soon(callback, *args, context=context)
        passage = _Passage(self, gate, callback, args, context or contextvars.copy_context())
        passage.handle = super().call_soon(passage, context=context)
        return passage.handle

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        gate = GATE.get() if context is None else context.get(GATE)
        if gate is None:
            return super().call_at(when, callback, *args, context=context)
        passage = _Passage(self, gate, callback, args, context or contextvars.copy_context())
        handle = super().call_at(when, passage, context=context)
        passage.handle = handle
        return handle
