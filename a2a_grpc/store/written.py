"""The future of a write."""

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from a2a_grpc.uncancelled import look_at_error

Written: TypeAlias = "asyncio.Future[int]"
"""The future that `TaskStore.write` returns. Its result is the epoch of the new claim for a `Create`, and
the newest turn for which a message was accepted for an `Append`."""


class Writing(asyncio.Future[int]):
    """A write that is under way. Callers cannot cancel it, and may ignore its error.

    If a task is canceled while it awaits the write, its CancelledError arrives when the write is over.
    """

    def cancel(self, msg: object = None) -> bool:
        """Return False, since a write cannot be canceled.

        Args:
            msg: Is ignored.
        """
        return False

    def set_exception(self, error: type | BaseException) -> None:
        """Set the error. A store calls this if the write has failed.

        Args:
            error: The error that callers of the write get.
        """
        super().set_exception(error)
        look_at_error(self)


def written(result: int) -> Written:
    """Return the future of a write that has happened.

    Args:
        result: The epoch for a `Create`, the newest accepted turn for an `Append`.
    """
    done: Written = asyncio.Future()
    done.set_result(result)
    return done


def refused(error: Exception) -> Written:
    """Return the future of a write that has failed.

    Args:
        error: The error that callers of the write get.
    """
    done = Writing()
    done.set_exception(error)
    return done


def when_over(write: Written, function: Callable[[Written], object]) -> None:
    """Call a function with a write when it is over; at once if it is over already.

    The functions of a write that is under way run before the tasks that began to await it later go on.

    Args:
        write: The write.
        function: The function.
    """
    if write.done():
        function(write)
    else:
        write.add_done_callback(function)


async def over(write: Written) -> None:
    """Return when a write has happened or failed. A caller that is canceled goes at once, and leaves the write alone.

    Args:
        write: The write.
    """
    if write.done():
        return
    waiter = asyncio.get_running_loop().create_future()

    def release(_: object) -> None:
        if not waiter.done():
            waiter.set_result(None)

    write.add_done_callback(release)
    try:
        await waiter
    finally:
        write.remove_done_callback(release)
