"""Ports of loopback for servers that a test starts, stops and starts again, or never starts."""

import atexit
import socket

_held: list[socket.socket] = []
"""The sockets of all ports that `free_port` gave. They stay until this process ends."""


def hold_port() -> socket.socket:
    """Return a socket that holds a port of 127.0.0.1 for a server of the caller, until the socket is closed.

    The socket is bound and does not listen. So the system gives the port to no other program and to no outgoing
    connection, also while the server of the caller is down: a client that tries to come back cannot take the port, and
    connections are refused. A server that sets SO_REUSEADDR, as all of the tests do, can listen there.
    """
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # after bind, which is to get a port of its own
    return held


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens, and that only a server of the caller can take."""
    _held.append(hold_port())
    return int(_held[-1].getsockname()[1])


@atexit.register
def _release() -> None:
    for held in _held:
        held.close()


def free_address() -> str:
    """Return 127.0.0.1 with a free port."""
    return f"127.0.0.1:{free_port()}"
