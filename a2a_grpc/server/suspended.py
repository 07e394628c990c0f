"""Notice that a worker was stopped with SIGSTOP, and kill it if it does not continue."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

logger = logging.getLogger("a2a_grpc.server")

LOOK_S = 1.0
"""Seconds between two looks at a worker."""
PATIENCE = 10
"""A worker that so many looks in a row find stopped is killed. A short stop, such as that of a debugger which takes an
image of the process, is no reason. A process that a program slows down with SIGSTOP and SIGCONT runs between two
looks, so they do not count."""


@asynccontextmanager
async def watched(pid: int, number: int) -> AsyncIterator[None]:
    """Watch a child process while the block runs. Kill it if it stays stopped.

    The kernel gives connections to a stopped process as to the others, because it has the port open, too. On systems
    without `waitid`, nothing is watched.

    Args:
        pid: The id of the process.
        number: The number of the worker, for the log.
    """
    if not hasattr(os, "waitid"):
        yield
        return
    watching = asyncio.create_task(_watch(pid, number), name=f"a2a-grpc-worker-{number}-watch")
    try:
        yield
    finally:
        watching.cancel()


async def _watch(pid: int, number: int) -> None:
    looks, before = 0, _used_ns(pid)
    while looks < PATIENCE:
        await asyncio.sleep(LOOK_S)
        now = _used_ns(pid)
        looks = looks + 1 if now == before and _is_stopped(pid) else 0
        before = now
        if looks == 1:
            logger.warning("a worker is stopped (SIGSTOP); its connections wait worker=%d pid=%d", number, pid)
    logger.error("a stopped worker did not continue, so it is killed worker=%d pid=%d", number, pid)
    with suppress(ProcessLookupError):  # it has just ended
        os.kill(pid, signal.SIGKILL)


def _used_ns(pid: int) -> int:
    """Return the processor time that a child process has used. Return 0 if the system does not tell."""
    if sys.platform == "linux":
        with suppress(OSError):  # it has just ended
            return time.clock_gettime_ns((~pid << 3) | 2)  # the id of the process's clock, as clock_getcpuclockid(3)
    return 0


def _is_stopped(pid: int) -> bool:
    """Return True if a child process is stopped now. WNOWAIT leaves the state for the next look."""
    with suppress(ChildProcessError):  # it has just ended
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    return False
