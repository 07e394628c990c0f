"""Warns of handlers that block the event loop, with their line and the way out."""

import asyncio
import gc
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from a2a_grpc.engine.blame import OURS
from a2a_grpc.loglines.facts import NOTHING

logger = logging.getLogger("a2a_grpc.engine")

LOOK_EVERY_S = 0.1

NOT_AGENTS = (OURS, str(Path(asyncio.__file__).parent))
"""The directories of code that is not an agent's."""


class Played(NamedTuple):
    """The task and the skill whose handler is played. A handler that makes no task has "-" as its task."""

    task: str
    skill: str


_at_work: ContextVar[Played] = ContextVar("a2a_grpc handler at work")
"""What handler a task plays. The tasks that a handler begins have it, too."""


class Watch:
    """Watches, in one thread for all handlers of an event loop, if one of them blocks the loop.

    Guarantees:

    - A handler, or a task that it began, is named in a warning while one of its steps takes longer than `after_s`. A
      second warning follows once the step ends. A step is what runs between two awaits that wait.
    - Many short steps, waiting, work in threads, and a process that stands still do not count.
    - While no handler is at work the thread sleeps. It ends with `stop`.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._handlers = 0
        self._busy = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._has_gone_round = True
        """True once the event loop has gone round since it was last asked to say so."""
        self._lock = threading.Lock()
        self._told: tuple[Played, float] | None = None
        """The handler that the last warning named, with the time since which it has blocked the loop."""

    @contextmanager
    def over(self, skill: str, task: str = NOTHING) -> Iterator[None]:
        """Watch the current task, which plays the handler of this skill, during the block."""
        if not self._after_s:
            yield
            return
        token = _at_work.set(Played(task, skill))
        self._handlers += 1
        self._busy.set()
        if self._thread is None:
            self._start()
        try:
            yield
        finally:
            self._handlers -= 1
            if not self._handlers and not self._stopped.is_set():
                self._busy.clear()
            with suppress(ValueError):  # the coroutine is closed outside of its task
                _at_work.reset(token)

    def stop(self) -> None:
        """End the thread. Handlers are not watched any more."""
        self._after_s = 0.0
        self._stopped.set()
        self._busy.set()

    def _start(self) -> None:
        thread_id = threading.get_ident()
        clock = time.pthread_getcpuclockid(thread_id) if hasattr(time, "pthread_getcpuclockid") else None
        given = (asyncio.get_running_loop(), thread_id, clock)
        self._thread = threading.Thread(target=self._look, args=given, name="a2a-grpc:watch", daemon=True)
        self._thread.start()

    def _look(self, loop: asyncio.AbstractEventLoop, thread_id: int, clock: int | None) -> None:
        seen: asyncio.Task[Any] | None = None
        blocked_s = 0.0
        then, used_then = time.monotonic(), _used_s(clock)
        while not self._stopped.wait(LOOK_EVERY_S):
            if not self._busy.is_set():
                self._busy.wait()
                then, used_then, self._has_gone_round = time.monotonic(), _used_s(clock), True
                continue
            now, used = time.monotonic(), _used_s(clock)
            elapsed_s, used_s = now - then, used - used_then
            then, used_then = now, used
            task = asyncio.current_task(loop)
            if task is None or task is not seen or self._has_gone_round:
                # A call of C code that keeps the interpreter to itself is seen only when it is over.
                seen, blocked_s = task, used_s if used_s > 3 * LOOK_EVERY_S else 0.0
                self._log_end()  # other tasks may run before `_go_round` does
                if task is None:
                    continue
                self._has_gone_round = False
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(self._go_round)
            else:  # a process that stood still has used nothing
                blocked_s += max(min(elapsed_s, 2 * LOOK_EVERY_S), min(elapsed_s, used_s))
            if blocked_s >= self._after_s and self._told is None and (handler := _handler_of(task)):
                self._told = handler, now - blocked_s
                logger.warning(
                    "handler blocks the event loop, so all other calls wait; run blocking work with "
                    "`await turn.in_thread(...)` task=%s skill=%s seconds=%.1f at=%s",
                    *handler,
                    blocked_s,
                    _line_of(sys._current_frames().get(thread_id)),
                )

    def _go_round(self) -> None:
        self._has_gone_round = True
        self._log_end()

    def _log_end(self) -> None:
        """Log that the handler of the last warning has let the event loop go, unless this was logged already."""
        with self._lock:
            told, self._told = self._told, None
        if told is not None:
            handler, since = told
            seconds = time.monotonic() - since
            logger.warning("handler has let the event loop go task=%s skill=%s seconds=%.1f", *handler, seconds)


def _used_s(clock: int | None) -> float:
    """Return the processor time of a thread by its clock, or of the process if the system has none for threads."""
    if clock is None:
        return time.process_time()
    try:
        return time.clock_gettime(clock)
    except OSError:  # the thread has ended
        return 0.0


def _handler_of(task: "asyncio.Task[Any]") -> Played | None:
    """Return what handler a task plays."""
    if sys.version_info >= (3, 12):
        return task.get_context().get(_at_work)
    found = next((one for one in gc.get_referents(task) if isinstance(one, Context)), None)
    return None if found is None else found.get(_at_work)


def _line_of(frame: FrameType | None) -> str:
    """Return the line of agent code that the event loop called, as `FILE:LINE in FUNCTION`, from the innermost frame of
    the loop's thread; "-" if there is none."""
    agents: FrameType | None = None
    while frame is not None:
        if not frame.f_code.co_filename.startswith(NOT_AGENTS):
            agents = frame
        elif agents is not None:
            break
        frame = frame.f_back
    return NOTHING if agents is None else f"{agents.f_code.co_filename}:{agents.f_lineno} in {agents.f_code.co_name}"
