"""Handle signals of the operating system in an event loop, also on Windows, whose loops have no signal handlers."""

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

INTERRUPT = (signal.SIGINT,)
STOP = tuple(signal.Signals[name] for name in ("SIGTERM", "SIGINT", "SIGBREAK") if name in signal.Signals.__members__)
"""The signals that ask a server to stop. SIGBREAK is Ctrl-Break, which exists on Windows only."""

LOOK_EVERY_S = 0.25
"""Seconds after which a loop without signal handlers wakes up, since on Windows a signal does not wake every loop."""


@contextmanager
def signals_to(
    heard: Callable[[signal.Signals], None], numbers: Sequence[signal.Signals]
) -> Iterator[Callable[[], None]]:
    """Call `heard` in the running loop for each of these signals that comes while the block runs.

    Yield a function that gives the signals their default effect, which ends the process. After the block the signals
    have the effect that they had before. The block must run in the main thread.
    """
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number in numbers:
            loop.add_signal_handler(number, heard, number)
    except NotImplementedError:
        remove = _without_the_loop(loop, heard, numbers)
    else:

        def remove() -> None:
            for number in numbers:
                loop.remove_signal_handler(number)

    def let_go() -> None:
        remove()
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)

    try:
        yield let_go
    finally:
        remove()
        for number, handler in before.items():
            signal.signal(number, handler)


def _without_the_loop(
    loop: asyncio.AbstractEventLoop, heard: Callable[[signal.Signals], None], numbers: Sequence[signal.Signals]
) -> Callable[[], None]:
    """Have Python itself give the signals to a loop that has no handlers for them. Return a function that ends this."""
    timer: asyncio.TimerHandle

    def look() -> None:
        nonlocal timer
        timer = loop.call_later(LOOK_EVERY_S, look)  # Python runs its handlers when the loop wakes up

    look()
    for number in numbers:
        signal.signal(number, lambda came, _: loop.call_soon_threadsafe(heard, signal.Signals(came)))
    return lambda: timer.cancel()
