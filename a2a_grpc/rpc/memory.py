"""Return memory to the system after large messages were freed."""

import asyncio

from a2a_grpc.libc import libc

M_MMAP_THRESHOLD = -3
"""The name of the setting in glibc's `malloc.h`."""
THRESHOLD_BYTES = 1 << 20
TRIM_INTERVAL_S = 5.0


def return_large_blocks() -> None:
    """Return blocks of a MiB and more to the system as soon as they are freed. For programs, not for libraries.

    By default glibc raises this size with every large block that is freed, up to 32 MiB. Then the memory that an attack
    once filled would stay with the process. Other systems are left as they are.
    """
    if (library := libc("mallopt")) is not None:
        library.mallopt(M_MMAP_THRESHOLD, THRESHOLD_BYTES)


class Trimmer:
    """Returns small blocks to the system, since gRPC keeps a message in pieces of 16 KiB until the last piece has come.

    Guarantees:

    - The system is asked at most once in five seconds, in another thread than that of the event loop.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._later: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Return the memory that is free now, or soon, to the system within five seconds."""
        if self._later is None:
            self._later = self._loop.call_later(TRIM_INTERVAL_S, self._trim)

    def _trim(self) -> None:
        self._later = None
        if (library := libc("malloc_trim")) is not None:
            self._loop.run_in_executor(None, library.malloc_trim, 0)
