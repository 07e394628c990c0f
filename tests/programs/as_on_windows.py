"""Runs the command line in a process that lacks what Python lacks on Windows.

The event loop takes no signal handlers, and no readers and writers (except the pair of sockets that gRPC uses, for
which gRPC does something else on Windows). Modules and constants that are for Unix are not there.
"""

import asyncio
import fcntl
import functools
import importlib
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

UNIX = socket.AF_UNIX
LOCK, LOCK_EX = fcntl.flock, fcntl.LOCK_EX

LACKING: dict[Any, tuple[str, ...]] = {
    os: (
        "fork",
        "getuid",
        "geteuid",
        "getgid",
        "setsid",
        "uname",
        "sysconf",
        "killpg",
        "register_at_fork",
        "O_CLOEXEC",
    ),
    socket: ("AF_UNIX", "SO_REUSEPORT", "TCP_INFO"),
    signal: ("SIGHUP", "SIGKILL", "SIGCHLD", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGQUIT", "pthread_sigmask"),
}
LIBRARIES = ("aiohttp", "grpc.aio", "rich.console", "sqlalchemy.dialects.sqlite", "typer.testing")
"""Imported while everything is there: this is about what our own code needs."""
MODULES = ("resource", "fcntl", "pwd", "grp", "termios", "tty", "syslog")


class Msvcrt(ModuleType):
    """Locks files by the calls of Unix, since only Windows has this module."""

    LK_LOCK = 1

    def locking(self, file: int, mode: int, count: int) -> None:
        LOCK(file, LOCK_EX)


def refuse(*_: Any) -> Any:
    raise NotImplementedError


class Loop(asyncio.SelectorEventLoop):
    """Takes no signals, and watches the sockets of gRPC only."""


def for_grpc_only(name: str) -> Callable[..., Any]:
    watch = getattr(asyncio.SelectorEventLoop, name)

    def watch_or_refuse(loop: Loop, watched: Any, *callback: Any) -> Any:
        if not isinstance(watched, socket.socket) or watched.family != UNIX:
            raise NotImplementedError
        return watch(loop, watched, *callback)

    return watch_or_refuse


for name in ("add_signal_handler", "remove_signal_handler"):
    setattr(Loop, name, refuse)
for name in ("add_reader", "add_writer"):
    setattr(Loop, name, for_grpc_only(name))


class Policy(asyncio.DefaultEventLoopPolicy):
    _loop_factory = Loop


def main() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    socket.socketpair = functools.partial(socket.socketpair, UNIX)
    for module, names in LACKING.items():
        for name in names:
            delattr(module, name)
    socket.SO_EXCLUSIVEADDRUSE = socket.SO_KEEPALIVE  # type: ignore[attr-defined]  # Linux has nothing like it
    sys.platform = "win32"
    ssl.enum_certificates = lambda _: []  # type: ignore[attr-defined]  # Python has it there only
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    sys.modules["msvcrt"] = Msvcrt("msvcrt")
    asyncio.set_event_loop_policy(Policy())
    from a2a_grpc.cli import main

    main()


if __name__ == "__main__":
    main()
