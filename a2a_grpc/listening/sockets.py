"""Find the sockets of a port among this process's file descriptors, although gRPC holds them.

If gRPC ends its server, calls that arrive meanwhile are CANCELLED, which no client repeats. If this process shuts a
socket down, the client sees the end of the connection, and its calls are UNAVAILABLE.
"""

import errno
import os
import socket
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

DESCRIPTORS = "/dev/fd"
"""Lists this process's file descriptors, on Linux and macOS."""


def listeners(port: int) -> frozenset[int]:
    """Return the inodes of the sockets with which this process listens on a port."""
    return frozenset(_inode(found) for found in _sockets(port) if _listens(found))


def limit_waiting(port: int, own: frozenset[int], size: int) -> None:
    """Let so many received bytes of each new connection wait in the kernel, from its first moment on.

    gRPC sets this limit when it has accepted a connection. Before, the kernel lets megabytes wait, and gRPC reads them
    all.
    """
    for found in _sockets(port):
        if _inode(found) in own:
            with suppress(OSError):
                found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def stop_listening(own: frozenset[int]) -> None:
    """Close the listening sockets of a server, given by their inodes, although gRPC keeps their descriptors.

    gRPC closes its listeners some time after its server begins to stop. A connection that it accepts meanwhile is not
    ended by `end_connections`, and its calls would be CANCELLED. So each descriptor gets another socket to which no
    client can connect. If the sockets were shut down instead, gRPC would log an error.
    """
    for descriptor, inode in descriptors():
        if inode in own:
            with suppress(OSError), socket.socket() as unused:
                os.dup2(unused.fileno(), descriptor, inheritable=False)


def end_connections(port: int, own: frozenset[int], spared: Collection[int] = ()) -> None:
    """Send the end of the stream on all connections of a port. What was written arrives before.

    Leave connections from a port of the peer alone that is `spared`. Do nothing if another socket than its `own`
    listens on the port, because the connections may be those of another server of this process.
    """
    if listeners(port) - own:
        return
    for found in _sockets(port):
        if not _listens(found):
            with suppress(OSError):
                if found.getpeername()[1] not in spared:
                    found.shutdown(socket.SHUT_WR)


def _listens(found: socket.socket) -> bool:
    return bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _inode(found: socket.socket) -> int:
    return os.fstat(found.fileno()).st_ino


def descriptors() -> Iterator[tuple[int, int]]:
    """Yield the number and the inode of each socket of this process. Yield none on a platform that does not list
    them."""
    with suppress(OSError):
        yield from all_descriptors()


def all_descriptors() -> Iterator[tuple[int, int]]:
    """Yield the number and the inode of each socket of this process. Raise OSError if they cannot be listed, as when no
    descriptor is free."""
    for name in os.listdir(DESCRIPTORS):
        with suppress(OSError):  # closed meanwhile
            status = os.fstat(int(name))
            if stat.S_ISSOCK(status.st_mode):
                yield int(name), status.st_ino


@contextmanager
def duplicate(descriptor: int, inode: int) -> Iterator[socket.socket]:
    """Open a duplicate of a socket's descriptor. Raise OSError if the descriptor is another socket by now."""
    with socket.socket(fileno=os.dup(descriptor)) as found:
        if _inode(found) != inode:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        yield found


def _sockets(port: int) -> Iterator[socket.socket]:
    """Yield a duplicate of each TCP socket of this process that has this port. Close it afterwards."""
    for descriptor, inode in descriptors():
        with suppress(OSError), duplicate(descriptor, inode) as found:
            if found.type == socket.SOCK_STREAM and own_port(found) == port:
                yield found


def own_port(found: socket.socket) -> int | None:
    """Return the port that a TCP socket is bound to, or None for a socket of another kind."""
    if found.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        return int(found.getsockname()[1])
    except OSError:
        return None
