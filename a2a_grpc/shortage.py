"""Find what the system does not give to this process: memory, threads, file descriptors."""

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from a2a_grpc.config import ConfigurationError

try:
    import resource
except ImportError:  # a platform without such limits
    resource = None  # type: ignore[assignment]

logger = logging.getLogger("a2a_grpc")

MiB = 1 << 20
MIN_FILES = 64
"""A server has about 30 file descriptors when it is ready. The others are for connections, and a spare."""
MIN_ADDRESS_SPACE = 256 * MiB
"""A server with SQLite and HTTP takes about 300 MiB if threads share their heaps (MALLOC_ARENA_MAX=2), and 1 GiB
otherwise. With much less, gRPC starts only some of its threads, and waits for the others for ever."""
EXIT_CODE = 1
"""The exit code of a program that the system gives too little."""


def check_limits() -> None:
    """Raise ConfigurationError if a limit of this process is too small for a server."""
    if resource is None:
        return
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < MIN_FILES:
        raise ConfigurationError(
            f"this process may open {files} files; a server needs at least {MIN_FILES}, and one for each connection: "
            "raise the limit (ulimit -n 8192, LimitNOFILE=8192)"
        )
    if not hasattr(resource, "RLIMIT_AS"):
        return
    memory, _ = resource.getrlimit(resource.RLIMIT_AS)
    if memory != resource.RLIM_INFINITY and memory < MIN_ADDRESS_SPACE:
        raise ConfigurationError(
            f"this process may have {memory // MiB} MiB of virtual memory; a server needs at least "
            f"{MIN_ADDRESS_SPACE // MiB}: raise the limit (ulimit -v), or limit memory with a container or MemoryMax="
        )


def shortage(error: BaseException) -> str:
    """Return which resource of the system an error is about, and what to do. Return "" for other errors."""
    match error:
        case BaseExceptionGroup():
            said = [shortage(one) for one in error.exceptions]
            return said[0] if all(said) else ""  # another error among them is more important
        case MemoryError() | OSError(errno=errno.ENOMEM):
            return "no memory is left for this process; raise its limit (ulimit -v, MemoryMax=, that of the container)"
        case OSError(errno=errno.EMFILE):
            return f"all {_files()} files that this process may open are open; raise the limit (ulimit -n)"
        case OSError(errno=errno.ENFILE):
            return "the system has no file descriptor left; raise its limit (sysctl fs.file-max)"
        case RuntimeError() if "can't start new thread" in str(error):
            return (
                "no thread can be started; raise the limits of memory and processes (ulimit -v, ulimit -u, TasksMax=)"
            )
        # A file system without permission to run programs gives the same error.
        case ImportError() if "failed to map segment" in str(error) and _is_memory_limited():
            return "no memory is left to load a library; raise the limit of this process (ulimit -v)"
    return ""


@contextmanager
def ending_if_short() -> Iterator[None]:
    """End the program with one line on standard error if the system gives the block too little.

    The program ends without waiting for its threads, because some of those that gRPC waits for may not have started.
    No `finally` outside of the block and no function of `atexit` runs.
    """
    try:
        yield
    except (MemoryError, OSError, RuntimeError, ImportError, ExceptionGroup) as error:
        if not (said := shortage(error)):
            raise
        try:
            logger.debug("the system gives too little error=%r", error, exc_info=error)
            with suppress(Exception):
                logging.shutdown()
            with suppress(Exception):  # its reader may be gone
                sys.stdout.flush()
            print(f"Error: {said}: {error!r}", file=sys.stderr, flush=True)  # noqa: T201
        finally:
            os._exit(EXIT_CODE)


def _is_memory_limited() -> bool:
    return hasattr(resource, "RLIMIT_AS") and resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def _files() -> str:
    return "" if resource is None else str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
