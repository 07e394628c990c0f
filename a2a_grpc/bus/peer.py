"""Datagram sockets: the one of this process, and those to the other processes of the machine."""

import os
import socket
from pathlib import Path

from a2a_grpc.bus.shared import Outbox

PRIVATE_SOCKET = 0o600


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


def bind_private(made: socket.socket, path: Path) -> None:
    """Bind a socket to a path that only this user can connect to, independently of the umask."""
    try:
        os.fchmod(made.fileno(), PRIVATE_SOCKET)  # Linux makes the path with the mode of the socket
    except OSError:
        pass  # other systems do not; the directory keeps others out until the mode is set
    made.bind(str(path))
    path.chmod(PRIVATE_SOCKET)


def datagram_socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made
