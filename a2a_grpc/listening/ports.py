"""Check that a port is free, and reserve a port that several processes will share."""

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from a2a_grpc.address import join_address
from a2a_grpc.config import flag_of


class ListenError(OSError):
    """The server cannot listen on an address, for example because its port is taken. The message names the address."""


def cannot_listen(host: str, port: int, setting: str, error: Exception) -> ListenError:
    """Return the error for an address that a setting names, with the reason and what to do."""
    protocol = "HTTP" if setting == "http_listen" else "gRPC"
    advice = _advice(setting, error)
    return ListenError(f"cannot listen on {join_address(host, port)} for {protocol}: {_reason(error)}{advice}")


def check_free(host: str, port: int, setting: str) -> None:
    """Raise ListenError if the address cannot be listened on, or if a program listens there already."""
    try:
        family, address = _resolve(host, port)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            _let_bind(probe)
            probe.bind(address)
    except OSError as error:
        raise cannot_listen(host, port, setting, error) from error


@contextmanager
def held(host: str, port: int, setting: str) -> Iterator[int]:
    """Hold a port while the block runs, so that only processes of this user that share it can have it. Yield its
    number.

    No socket listens on the port, so no connection comes here. Port 0 chooses a free port.

    Raises:
        ListenError: The port cannot be had.
    """
    try:
        family, address = _resolve(host, port)
        holder = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise cannot_listen(host, port, setting, error) from error
    with holder:
        try:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                holder.bind(address)
            except OSError:
                # Connections of a server that did not share the port may linger in TIME_WAIT. Not at once: two that
                # both allow this, and both do not listen yet, would not notice each other.
                _let_bind(holder)
                holder.bind(address)
        except OSError as error:
            raise cannot_listen(host, port, setting, error) from error
        yield int(holder.getsockname()[1])


async def bound(host: str, port: int, *, reuse_port: bool) -> list[socket.socket]:
    """Return a bound TCP socket for each address of a host, all with one port. Raise OSError.

    As with gRPC, the socket of `::` accepts IPv4 connections, too.
    """
    sockets: list[socket.socket] = []
    addresses = await _addresses(host, port)
    of_one_family = addresses != [(socket.AF_INET6, "::")]
    try:
        for family, address in addresses:
            taken = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(taken)
            _let_bind(taken)
            if reuse_port:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, of_one_family)
            port = port or (sockets[0].getsockname()[1] if len(sockets) > 1 else 0)
            taken.bind((address, port))
    except OSError:
        for taken in sockets:
            taken.close()
        raise
    return sockets


async def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    """Return the addresses of a host, or those of all interfaces if it is empty."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _let_bind(binding: socket.socket) -> None:
    """Let a socket have a port with closing connections, but no port on which another socket listens."""
    if sys.platform == "win32":  # on Windows SO_REUSEADDR takes the port from another program that listens
        binding.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        binding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return family, address  # type: ignore[return-value]  # (int, bytes) is for platforms without IPv6


def _advice(setting: str, error: Exception) -> str:
    """Return what to do, for the end of an error message, or "" if the reason is a rare one."""
    option = f"{setting} ({flag_of(setting)})"
    match error:
        case OSError(errno=errno.EADDRINUSE):
            return f"; stop the program that listens there, or choose another port with {option}"
        case OSError(errno=errno.EADDRNOTAVAIL):
            return f"; give an address of this machine, or 0.0.0.0 for all of them, as {option}"
        case OSError(errno=errno.EACCES):
            return f"; choose a port from 1024 on with {option}"
    return ""


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return getattr(error, "strerror", None) or "the port is taken, or the host is not this machine's"
