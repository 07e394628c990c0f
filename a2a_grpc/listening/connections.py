"""The connections of gRPC's ports in the kernel: their bytes, their end, and a wait before their first byte.

gRPC reads every frame that comes. It counts no frames, and offers no way to end a connection. The kernel does both for
a process that has the socket, and gRPC's sockets are file descriptors of this process. Linux only.
"""

import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress

from a2a_grpc.libc import libc
from a2a_grpc.listening.sockets import all_descriptors, duplicate, own_port

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
DROP_PAYLOAD = struct.pack("HBBI", 0x06, 0, 0, 1)
"""A packet filter of one instruction, which keeps the header of each segment and nothing of its payload.

Acknowledgements of the client and the end of the connection get through. Bytes do not, and the client sends them again.
"""
TCP_INFO_BYTES = 144
"""The part of the kernel's `struct tcp_info` that ends with `tcpi_bytes_acked`, `tcpi_bytes_received`, `tcpi_segs_out`
and `tcpi_segs_in`."""
FIRST_SEGMENTS = 2
"""The segments of a client that open a connection."""
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors of a descriptor that cannot be duplicated, which say nothing of its connection."""
TCP_CLOSE = 7
"""The state of a connection that was reset, `tcpi_state`, before gRPC has closed its socket."""
ANY_ADDRESS = struct.pack("H14x", socket.AF_UNSPEC)


class Connection:
    """A connection of a client at the last look. Its methods may be called only during this look."""

    __slots__ = ("_segments", "_segments_then", "_socket", "host", "is_held", "is_wide", "peer", "received", "sent")

    def __init__(self, connected: socket.socket) -> None:
        host, port, *scope = connected.getpeername()
        self.host = host.partition("%")[0].removeprefix("::ffff:")
        zone = f"%25{scope[1]}" if scope and scope[1] else ""
        self.peer = f"ipv6:%5B{self.host}{zone}%5D:{port}" if ":" in self.host else f"ipv4:{self.host}:{port}"
        """The name that gRPC gives the client."""
        self.received = 0
        """The number of bytes received since the connection began."""
        self.sent = 0
        """The number of bytes sent and acknowledged."""
        self.is_held = False
        """True if the filter holds the bytes of the client."""
        self.is_wide = False
        """True once `widen` was called."""
        self._segments = self._segments_then = FIRST_SEGMENTS

    def look(self, connected: socket.socket, *, may_be_held: bool) -> None:
        """Read the figures of the kernel. Raise OSError if the connection has ended."""
        self._socket = connected
        info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
        if info[0] == TCP_CLOSE:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        self.sent, self.received, _, self._segments = struct.unpack_from("QQII", info, TCP_INFO_BYTES - 24)
        self.is_held = (may_be_held or self.is_held) and _is_held(connected)

    @property
    def is_asking(self) -> bool:
        """True if the client has sent something since its bytes are held. It may be an acknowledgement only."""
        return self.is_held and self._segments != self._segments_then

    @property
    def unread(self) -> int:
        """The number of bytes received that gRPC has not read. 0 if the connection has ended."""
        return _queued(self._socket, "FIONREAD")

    @property
    def unsent(self) -> int:
        """The number of bytes written that the client has not acknowledged. 0 if the connection has ended."""
        return _queued(self._socket, "TIOCOUTQ")

    def hold(self) -> None:
        """Let no more bytes of the client pass until `let_in`."""
        _hold(self._socket, True)
        self.is_held = True
        self._segments_then = self._segments

    def let_in(self) -> None:
        """Let the bytes of the client pass from now on."""
        _hold(self._socket, False)
        self.is_held = False

    def widen(self, size: int) -> None:
        """Let this many bytes of the client wait in the kernel."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        self.is_wide = True

    def end(self) -> None:
        """Reset the connection. Drop what gRPC has not read, which may be megabytes."""
        libc("connect").connect(self._socket.fileno(), ANY_ADDRESS, len(ANY_ADDRESS))


class Connections:
    """The connections of some ports."""

    def __init__(self, ports: Callable[[], Collection[int]]) -> None:
        self._ports = ports
        self._known: dict[int, Connection] = {}
        self._others: set[int] = set()
        self._holds = False
        self.unseen: list[Connection] = []
        """The known connections that the last look could not read because no descriptor was free."""
        self.is_complete = True
        """True if the last look could read all sockets that are open."""

    def look(self, *, hold_new: bool) -> Iterator[Connection]:
        """Yield the open connections, or only those that can be read. Take all of them.

        If `hold_new`, no byte of a new connection passes from now on until `let_in`.

        Raises:
            OSError: The descriptors of this process cannot be listed.
        """
        ports = self._ports()
        may_be_held = hold_new or self._holds
        self._holds = hold_new
        seen: dict[int, Connection] = {}
        others: set[int] = set()
        self.unseen = []
        self.is_complete = True
        for descriptor, inode in list(all_descriptors()):
            if inode in self._others:
                others.add(inode)
                continue
            known = self._known.get(inode)
            try:
                with duplicate(descriptor, inode) as found:
                    if known is None:
                        if own_port(found) not in ports:
                            others.add(inode)
                            continue
                        if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                            if hold_new != _is_held(found):
                                _hold(found, hold_new)  # the sockets that it accepts inherit the filter
                            continue
                        known = Connection(found)
                    # A socket may be accepted long after the listening one has lost the filter.
                    known.look(found, may_be_held=may_be_held or inode not in self._known)
                    seen[inode] = known
                    yield known
            except OSError as error:  # most often the connection has ended
                if error.errno in NO_DESCRIPTOR:
                    self.is_complete = False
                    if known is not None:
                        seen[inode] = known
                        self.unseen.append(known)
        self._known, self._others = seen, others


def can_look() -> bool:
    """Return True if the kernel has the functions that this class needs."""
    if libc("connect") is None:
        return False
    with socket.socket() as probe, suppress(OSError):
        _hold(probe, True)
        info = probe.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
        return _is_held(probe) and len(info) == TCP_INFO_BYTES
    return False


def _queued(sock: socket.socket, which: str) -> int:
    import fcntl  # Windows has none
    import termios

    with suppress(OSError):
        return int.from_bytes(fcntl.ioctl(sock, getattr(termios, which), bytes(4)), sys.byteorder)
    return 0


def _hold(sock: socket.socket, is_held: bool) -> None:
    if not is_held:
        sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
        return
    instructions = ctypes.create_string_buffer(DROP_PAYLOAD, len(DROP_PAYLOAD))
    program = struct.pack("HP", 1, ctypes.addressof(instructions))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def _is_held(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, len(DROP_PAYLOAD)))
