"""Find what the system does not give to this process: memory, threads, file descriptors."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from a2a_grpc.config import ConfigurationError

try:
    import resource
except ImportError:  # a platform without such limits
    resource = None  # type: ignore[assignment]

MiB = 1 << 20
MIN_FILES = 64
"""A server has about 30 file descriptors when it is ready. The others are for connections, and a spare."""
MIN_ADDRESS_SPACE = 1024 * MiB
"""A server with SQLite and HTTP takes this much, mostly stacks of threads that it never uses. With less, gRPC
starts only some of its threads, and waits for the others for ever."""
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
            return next(filter(None, map(shortage, error.exceptions)), "")
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
        case ImportError() if "failed to map segment" in str(error):
            return "no memory is left to load a library; raise the limit of this process (ulimit -v)"
    return ""


@contextmanager
def ending_if_short() -> Iterator[None]:
    """End the program with one line on standard error if the system gives the block too little.

    The program ends without waiting for its threads, because some of those that gRPC waits for may not have started.
    """
    try:
        yield
    except (MemoryError, OSError, RuntimeError, ImportError, ExceptionGroup) as error:
        if not (said := shortage(error)):
            raise
        print(f"Error: {said}", file=sys.stderr, flush=True)  # noqa: T201
        sys.stdout.flush()
        os._exit(EXIT_CODE)


def _files() -> str:
    return "" if resource is None else str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
