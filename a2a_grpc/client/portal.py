"""An event loop in a thread of its own, for calls of threads without one."""

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from a2a_grpc.client.connection import closed
from a2a_grpc.forking import FORK

T = TypeVar("T")

POLL_S = 0.1
"""Seconds for which a thread waits at a time, so that Ctrl-C works on every platform."""


class Portal:
    """An event loop in a thread of its own, for calls of other threads.

    Any thread may use `call` and `iterate`. `close` cancels the calls that are open.
    """

    # The portal of anyio does the same, but a call waits twice for the loop: it took 160 microseconds instead of 80.

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_closed = False
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="a2a-grpc:portal", daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the event loop, and return its result. Ctrl-C during the wait cancels the coroutine.

        Raise RuntimeError if the portal is closed, or is closed meanwhile, or if the process was forked. Raise it, too,
        in this event loop, which would wait for itself.
        """
        if self.is_forked:
            coroutine.close()
            FORK.check(self._process)
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError(
                "a BlockingClient cannot be used in its own event loop, as in an interceptor or in credentials; "
                "use a Client there"
            )
        with self._lock:
            if self._is_closed:
                coroutine.close()
                raise closed()
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return _result(future)
        except concurrent.futures.CancelledError:
            raise closed() from None
        except BaseException:
            future.cancel()
            raise

    @property
    def is_forked(self) -> bool:
        """True in a process that was forked from the portal's, and that has neither its loop nor its thread."""
        return self._process != os.getpid()

    def call_soon(self, function: Callable[[], None]) -> None:
        """Have the event loop run a function soon. Do nothing if the portal is closed, or if the process was forked."""
        if self.is_forked:
            return
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    def iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        """Yield the elements of an asynchronous iterator. An element is read when the caller wants it."""

        async def following() -> tuple[T, ...]:
            async for element in source:
                return (element,)
            return ()

        while element := self.call(following()):
            yield element[0]

    def close(self) -> None:
        """Cancel the open calls, and end the event loop and its thread. Do nothing if the process was forked."""
        if self.is_forked:
            return
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True

        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        _result(asyncio.run_coroutine_threadsafe(end(), self._loop))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _result(future: "concurrent.futures.Future[T]") -> T:
    """Wait for the result of a future, and return it."""
    while True:
        try:
            return future.result(POLL_S)
        except concurrent.futures.TimeoutError:
            if future.done():
                raise  # the coroutine's own
