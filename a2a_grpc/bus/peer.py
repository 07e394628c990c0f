"""Datagram sockets: the one of this process, and those to the other processes of the machine."""

import os
import socket
from contextlib import suppress
from pathlib import Path

from a2a_grpc.bus.shared import Outbox

PRIVATE_SOCKET = 0o600
HIDDEN_SUFFIX = ".new"
"""The end of the name of a socket that is being made. The name begins with a dot and is as long as the final one."""


class Peer:
    """Another process, with the socket to it."""

    __slots__ = ("outbox", "path", "socket")

    def __init__(self, path: Path) -> None:
        """Connect to the process. Raise ConnectionRefusedError if it has died, another OSError for other failures."""
        self.path = path
        self.outbox: Outbox | None = None
        """Digests that wait until the process can receive again; None if it can now."""
        self.socket = datagram_socket()
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise


def private_socket(path: Path) -> socket.socket:
    """Return a socket at a path that only this user can connect to, independently of the umask.

    A socket has its path a moment before it accepts connections. Other processes would remove it as the socket of a
    dead process, so it is made under a hidden name first. Both names have the same length, so a path that is too long
    fails here.
    """
    hidden = path.with_name(f".{path.stem}{HIDDEN_SUFFIX}")
    made = datagram_socket()
    try:
        with suppress(OSError):  # not all systems can; the directory keeps others out until the mode is set
            os.fchmod(made.fileno(), PRIVATE_SOCKET)  # Linux makes the path with the mode of the socket
        made.bind(str(hidden))
        hidden.chmod(PRIVATE_SOCKET)
        hidden.rename(path)
    except OSError:
        made.close()
        raise
    return made


def datagram_socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made
