"""The steps of a turn: functions whose results are stored, so that a later run of the turn does not call them again."""

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, cast

from a2a_grpc.agent.backend import TurnBackend
from a2a_grpc.agent.outcome import Outcome
from a2a_grpc.agent.packed import Kept, pack_aside, unpack
from a2a_grpc.agent.threads import Threads
from a2a_grpc.backoff import Backoff
from a2a_grpc.offload import offload
from a2a_grpc.text import flaw

logger = logging.getLogger("a2a_grpc.agent")

NUMBERED = "#"
"""The end of a name that gets a number."""
RETRY_S, MAX_RETRY_S = 0.5, 30.0
"""The first pause before a retry, and the longest one."""


@dataclass(slots=True)
class Step:
    """One try of a step that is at work."""

    backend: TurnBackend
    name: str
    counts: Counter[str] = field(default_factory=Counter)
    """How many ids and random values of each kind the function has taken. They have a sequence of their own, since a
    later run does not call the function."""


_at_work: ContextVar[Step | None] = ContextVar("a2a_grpc_step", default=None)


def step_of(backend: TurnBackend) -> Step | None:
    """Return the step of a turn inside of which the calling code runs; None outside of all steps."""
    step = _at_work.get()
    return step if step is not None and step.backend is backend else None


def check_name(name: str, what: str) -> str:
    """Return the name of a step or a value. Raise ValueError if no store can keep it."""
    if not name:
        raise ValueError(f"the name of {what} is empty")
    if (problem := flaw(name)) is not None:
        raise ValueError(f"the name of {what} {problem}: {name[:80]!r}")
    return name


class Steps:
    """Calls the functions of steps.

    Guarantees:

    - A result is stored before it is returned.
    - A step that has a result is not called again, in this run or a later one of the same turn.
    - What is returned is the same in each run: a copy of the result as it was stored.
    """

    def __init__(self, backend: TurnBackend, threads: Threads) -> None:
        self._backend = backend
        self._threads = threads
        self._names: set[str] = set()
        """The steps that are at work, or have a result."""
        self._numbers: Counter[str] = Counter()

    async def call(
        self, name: str, fn: Callable[..., object], args: tuple[object, ...], retries: int, timeout_s: float | None
    ) -> Kept:
        """Return the result of a step. `Turn.step` has the arguments and the errors."""
        self.check_outside(f"the step '{name}' was begun")
        name = self._take(name)
        what = f"the result of the step '{name}'"
        try:
            stored = await self._backend.recorded(name)
            if stored is not None:
                return await offload(len(stored), unpack, stored, what)
            packed, result = await pack_aside(await self._tried(name, fn, args, retries, timeout_s), what)
            await self._backend.record(name, packed)
            return result
        except BaseException:
            self._names.discard(name)  # without a result it may be called again
            raise

    def check_outside(self, what: str) -> None:
        """Raise RuntimeError if the calling code runs inside of a step. `what` begins the text."""
        if (outer := step_of(self._backend)) is not None:
            raise RuntimeError(
                f"{what} inside of the step '{outer.name}', whose function is not called again once it has a result; "
                "call it outside of the step"
            )

    def _take(self, name: str) -> str:
        """Return the name of a step, with its number. Raise ValueError if another step has it."""
        if name.endswith(NUMBERED):
            self._numbers[name] += 1
            name = f"{name}{self._numbers[name]}"
        check_name(name, "a step")
        if name in self._names:
            raise ValueError(
                f"this turn has a step '{name}' already; give each step a name of its own, such as "
                f"f\"{name}-{{number}}\", or '{name}{NUMBERED}' for numbered steps"
            )
        self._names.add(name)
        return name

    async def _tried(
        self, name: str, fn: Callable[..., object], args: tuple[object, ...], retries: int, timeout_s: float | None
    ) -> object:
        """Call the function until it returns. Raise its error if no try is left."""
        waits = Backoff(RETRY_S, MAX_RETRY_S)
        for left in range(retries, 0, -1):
            try:
                return await self._try(name, fn, args, timeout_s)
            except Outcome:
                raise  # the handler's decision how the turn ends
            except Exception as error:
                pause_s = waits.next_s()
                logger.warning(
                    "step failed and is tried again step=%r error=%s in_s=%.1f left=%d",
                    *(name, type(error).__name__, pause_s, left),
                )
            await asyncio.sleep(pause_s)
        return await self._try(name, fn, args, timeout_s)

    async def _try(
        self, name: str, fn: Callable[..., object], args: tuple[object, ...], timeout_s: float | None
    ) -> object:
        with self._inside(name):
            try:
                async with asyncio.timeout(timeout_s) as limit:
                    if _is_async(fn):
                        return await cast(Any, fn(*args))
                    result = await self._threads.run(fn, *args)
                    return await result if inspect.isawaitable(result) else result
            except TimeoutError as error:
                if limit.expired():
                    raise TimeoutError(f"the step '{name}' took longer than {timeout_s:g} s") from error
                raise

    @contextmanager
    def _inside(self, name: str) -> Iterator[None]:
        token = _at_work.set(Step(self._backend, name))
        try:
            yield
        finally:
            _at_work.reset(token)


def _is_async(fn: Callable[..., object]) -> bool:
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004
