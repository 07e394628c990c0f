"""Wakes between the processes of one machine, through datagram sockets in a directory that they share.

Polling `PRAGMA data_version` of the SQLite file instead would need no sockets. But it does not say which task has
changed, and it costs processor time while nothing happens. Polled every millisecond, it took 5 % of a core when idle
and twice the time for each record, and a follower had a record after 1.6 ms (median). Polled every 20 ms, it took 1.1 %
when idle, and a record took 12 ms. Sockets took 0.04 % when idle, and 1.0 ms. `benchmarks/wakes.py` measures this.
"""

import asyncio
import errno
import logging
import secrets
import socket
from contextlib import suppress
from pathlib import Path

from a2a_grpc.bus.directory import claim, is_in_use
from a2a_grpc.bus.peer import Peer, private_socket
from a2a_grpc.bus.shared import DIGEST_BYTES, Outbox, SharedBus, joined
from a2a_grpc.config import ConfigurationError

logger = logging.getLogger("a2a_grpc.bus")

NAME_BYTES = 16
"""Bytes of the name of the sending process, with which each datagram begins. Digests follow."""
DIGESTS_A_DATAGRAM = 1024
DATAGRAM_BYTES = NAME_BYTES + DIGESTS_A_DATAGRAM * DIGEST_BYTES
DATAGRAMS_A_TURN = 64
"""Datagrams that are received at once, before the event loop runs other work."""
BIND_TRIES = 10
TEND_INTERVAL_S = 1.0
"""Time between checks that this process's socket still exists and that no other process was missed."""
SUFFIX = ".sock"


class MachineBus(SharedBus):
    """Wakes listeners in this process, and in the others that have a bus in the same directory.

    Guarantees beyond those of every bus:

    - Each turn of the event loop sends many wakes to each process in one datagram. No process polls.
    - A process that is slow, or stopped, gets the wakes once it can receive. What waits for it is bounded, and no other
      process waits for it.
    - A process that died costs nothing. The next process that sends to it, or starts, removes its socket.
    - Only processes of the same user can take part.
    """

    def __init__(self, directory: Path, *others: Path) -> None:
        """Take a directory, and others to try in their order if that one cannot be used."""
        super().__init__()
        self.directory = directory
        """The directory in use, once the bus is started."""
        self._directories = (directory, *others)
        self._loop: asyncio.AbstractEventLoop
        self._socket: socket.socket | None = None
        self._name = ""
        self._peers: dict[str, Peer] = {}
        self._is_sending = False

    @property
    def is_healthy(self) -> bool:
        return super().is_healthy and self._socket is not None

    async def start(self) -> None:
        """Join the other processes. Raise ConfigurationError if no directory can be used."""
        self._loop = asyncio.get_running_loop()
        try:
            self._join()
        except OSError as error:
            self._leave()
            reason = error.strerror or error
            raise ConfigurationError(
                f"the bus cannot use the directory '{self.directory}': {reason}; "
                "set XDG_RUNTIME_DIR to a directory of this user, or choose one as bus=machine:/DIRECTORY"
            ) from error
        self._is_started = True
        self._spawn("tend", self._tend())

    async def stop(self) -> None:
        if not self._is_started:
            return
        self._is_started = False
        await self._end_tasks()
        self._send_all()
        self._leave()
        self._forget(*self._peers)
        with suppress(OSError):  # another process is there
            self.directory.rmdir()

    # -- this process

    def _join(self) -> None:
        """Make this process's socket, and greet the other processes. Raise OSError if no directory can be used.

        A directory in which others have met is tried first.
        """
        self._leave()
        taken = sorted(self._directories, key=lambda each: not is_in_use(each, SUFFIX))
        for place, directory in enumerate(taken):
            try:
                self._join_in(directory)
                return
            except OSError as error:
                if place == len(taken) - 1:
                    self.directory = self._directories[0]
                    raise
                logger.warning(
                    "bus cannot use a directory and tries the next one directory=%s error=%s next=%s",
                    *(directory, error.strerror or error, taken[place + 1]),
                )

    def _join_in(self, directory: Path) -> None:
        if directory != self.directory:
            self._forget(*self._peers)
        self.directory = directory
        for _ in range(BIND_TRIES):
            try:
                self._bind()
                break
            except FileNotFoundError as error:  # the last process that was there has just removed the directory
                missing = error
        else:
            raise missing
        self._look()

    def _bind(self) -> None:
        claim(self.directory)
        self._name = secrets.token_hex(NAME_BYTES // 2)
        self._socket = private_socket(self._path)
        self._loop.add_reader(self._socket.fileno(), self._receive)

    def _leave(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
            self._path.unlink(missing_ok=True)

    @property
    def _path(self) -> Path:
        return self.directory / (self._name + SUFFIX)

    def _receive(self) -> None:
        for _ in range(DATAGRAMS_A_TURN):
            try:
                datagram = self._socket.recv(DATAGRAM_BYTES) if self._socket else b""
            except OSError:  # BlockingIOError: that was all
                return
            name = datagram[:NAME_BYTES].decode("ascii", "replace")
            if name.isalnum() and name not in self._peers:
                self._meet(name)
            self._hear(datagram[NAME_BYTES:])

    async def _tend(self) -> None:
        """Make the socket again if it was removed, and look for processes that were missed."""
        while True:
            await asyncio.sleep(TEND_INTERVAL_S)
            could_be_reached = self._socket is not None
            try:
                if self._socket is not None and self._path.exists():
                    self._look()
                else:
                    self._join()
                    self.wake_all()  # other processes could not wake this one meanwhile
                    logger.warning("bus socket was missing and has been created again directory=%s", self.directory)
            except OSError as error:
                if could_be_reached:
                    logger.warning(
                        "other processes cannot wake this one, so it polls the store directory=%s error=%s",
                        self.directory,
                        error,
                    )
                self._leave()

    # -- the others

    def _look(self) -> None:
        """Connect to each new process. Greet those whose sockets are gone, which forgets them if they have died."""
        names = {path.stem for path in self.directory.glob(f"*{SUFFIX}")} - {self._name}
        for name in names - self._peers.keys():
            self._meet(name)
        for name in self._peers.keys() - names:
            self._send(name, [])

    def _meet(self, name: str) -> None:
        path = self.directory / (name + SUFFIX)
        try:
            self._peers[name] = Peer(path)
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError as error:
            logger.debug("bus could not wake a process path=%s error=%s", path, error)
        else:
            self._send(name, [])

    def _forget(self, *names: str) -> None:
        for name in names:
            peer = self._peers.pop(name)
            self._loop.remove_writer(peer.socket.fileno())
            peer.socket.close()

    def _send_soon(self) -> None:
        if not self._is_sending:
            self._is_sending = True
            self._loop.call_soon(self._send_all)

    def _send_all(self) -> None:
        self._is_sending = False
        digests = self._outbox.take()
        for name in list(self._peers):
            self._send(name, digests)

    def _send(self, name: str, digests: list[bytes]) -> None:
        """Send digests to a process, or keep them until it can receive. Without digests, send a greeting."""
        peer = self._peers[name]
        if peer.outbox is not None:
            peer.outbox.add(*digests)
            return
        pieces = joined(digests, DIGESTS_A_DATAGRAM) or [b""]
        for place, piece in enumerate(pieces):
            try:
                peer.socket.send(self._name.encode() + piece)
            except BlockingIOError:
                peer.outbox = Outbox()
                peer.outbox.add(*digests[place * DIGESTS_A_DATAGRAM :])
                self._loop.add_writer(peer.socket.fileno(), self._resume, name)
                return
            except ConnectionError:
                self._forget(name)
                peer.path.unlink(missing_ok=True)
                return
            except OSError as error:
                # ENOBUFS: the platform has no room, and cannot tell when it has room again
                if error.errno != errno.ENOBUFS:
                    self._forget(name)
                return

    def _resume(self, name: str) -> None:
        """Send what waited until the process could receive."""
        peer = self._peers[name]
        self._loop.remove_writer(peer.socket.fileno())
        outbox, peer.outbox = peer.outbox, None
        self._send(name, outbox.take() if outbox else [])
