"""Handle the signals that ask a server to stop, and SIGHUP, which does not."""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from a2a_grpc.signals import STOP, signals_to

logger = logging.getLogger("a2a_grpc.server")

HANG_UP = tuple(signal.Signals[name] for name in ("SIGHUP",) if name in signal.Signals.__members__)
"""The signal of a terminal that is closed, or of a service manager that asks a program to read its files again. Windows
does not have this signal."""


@contextmanager
def signals(last: Callable[[], None] | None = None, *, is_worker: bool = False) -> Iterator["asyncio.Future[str]"]:
    """Yield a future for the name of the first SIGTERM or SIGINT that comes while the block runs.

    The next such signal ends the process at once. `last` is called before, if the event loop is free. A worker ignores
    the next signal, because service managers signal workers as well as the supervisor. The supervisor signals the
    workers, too, and kills those that take too long. SIGHUP only writes a line to the log.

    Raises:
        RuntimeError: The current thread is not the main thread, which gets the signals.
    """
    signaled: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def hear(number: signal.Signals) -> None:
        if not signaled.done():
            signaled.set_result(number.name)
            if last is None and not is_worker:
                let_go()
            return
        if is_worker:
            return
        if last is not None:
            last()
        let_go()
        signal.raise_signal(number)

    with signals_to(_ignore, HANG_UP), signals_to(hear, STOP) as let_go:
        yield signaled


def _ignore(number: signal.Signals) -> None:
    logger.warning("ignored a signal; send SIGTERM to stop the server received=%s", number.name)
