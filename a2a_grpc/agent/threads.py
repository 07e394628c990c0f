"""Blocking work beside the event loop."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """Runs blocking functions, each in a thread of its own, at most `limit` at a time; more wait their turn.

    The threads are daemons: one that never returns holds its place, but neither the loop nor the end of the process.
    """

    def __init__(self, limit: int) -> None:
        self._free = asyncio.Semaphore(limit)

    async def run(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result. Canceling the caller leaves the thread to finish by itself; its result is dropped."""
        await self._free.acquire()
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()
        done: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            self._free.release()
            if done.done():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)  # type: ignore[arg-type]

        def work() -> None:
            result: T | None = None
            error: BaseException | None = None
            try:
                result = context.run(fn, *args, **kwargs)
            except (StopIteration, GeneratorExit) as raised:  # no Future takes the one; the other closes who awaits it
                error = RuntimeError(f"the function raised {type(raised).__name__}")
                error.__cause__ = raised
            except BaseException as raised:
                error = raised
            try:
                loop.call_soon_threadsafe(settle, result, error)
            except RuntimeError:  # the loop is closed; nobody waits any more
                pass
            del result, error  # the error's traceback holds this frame, and the frame what `fn` was called with

        try:
            threading.Thread(target=work, name=f"a2a-grpc:{getattr(fn, '__name__', 'work')}", daemon=True).start()
        except BaseException:  # the system has no thread left
            self._free.release()
            raise
        return await done
