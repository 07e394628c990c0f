"""Give memory back to the system when large messages were freed."""

import asyncio

from a2a_grpc.libc import libc

M_MMAP_THRESHOLD = -3
"""Name of the setting in glibc's `malloc.h`."""
THRESHOLD_BYTES = 1 << 20
TRIM_INTERVAL_S = 5.0


def return_large_blocks() -> None:
    """Have blocks of a MiB and more returned to the system as soon as they are freed. For programs.

    By default glibc raises the size from which it does so with every large block that is freed, up to 32 MiB: what
    an attack filled once would stay with the process. Other systems are left as they are.
    """
    if (library := libc("mallopt")) is not None:
        library.mallopt(M_MMAP_THRESHOLD, THRESHOLD_BYTES)


class Trimmer:
    """Returns the small blocks, too: gRPC keeps a message in pieces of 16 KiB until the last has come.

    Guarantee: the system is asked at most once in five seconds, by another thread than the event loop's.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._later: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Return what was freed by now, or is freed soon, within five seconds."""
        if self._later is None:
            self._later = self._loop.call_later(TRIM_INTERVAL_S, self._trim)

    def _trim(self) -> None:
        self._later = None
        if (library := libc("malloc_trim")) is not None:
            self._loop.run_in_executor(None, library.malloc_trim, 0)
