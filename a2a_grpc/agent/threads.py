"""Blocking work in threads, so that it does not stop the event loop."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """Runs each blocking function in a new thread, at most `limit` at a time. Further functions wait for a free place.

    The threads are daemons. A function that never returns keeps its place, but it does not keep the process alive.

    Args:
        limit: The largest number of functions that run at the same time.
    """

    def __init__(self, limit: int) -> None:
        self._free = asyncio.Semaphore(limit)

    async def run(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a thread. Return its result, or raise its exception.

        If the caller is canceled, the function goes on in its thread, and its result is dropped.

        Args:
            fn: The function. It runs in a copy of the caller's context.
            *args: Its arguments.
            **kwargs: Its keyword arguments.
        """
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
            except (StopIteration, GeneratorExit) as raised:
                # A Future refuses StopIteration, and GeneratorExit would close the coroutine that awaits it.
                error = RuntimeError(f"the function raised {type(raised).__name__}")
                error.__cause__ = raised
            except BaseException as raised:
                error = raised
            try:
                loop.call_soon_threadsafe(settle, result, error)
            except RuntimeError:  # the loop is closed, so no task waits for the result
                pass
            del result, error  # the error's traceback holds this frame, and this frame holds the arguments of `fn`

        try:
            threading.Thread(target=work, name=f"a2a-grpc:{getattr(fn, '__name__', 'work')}", daemon=True).start()
        except BaseException:  # the system has no thread left
            self._free.release()
            raise
        return await done
