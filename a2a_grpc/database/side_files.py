"""The write-ahead log of an SQLite file and its index. If one is deleted, replaced or cut short, this is noticed."""

import os
from io import FileIO

from a2a_grpc.database.file import DatabaseFile, Identity, identity_of, narrow
from a2a_grpc.database.unavailable import StoreDamaged, StoreLost

LOG, INDEX = "-wal", "-shm"
HEADER_BYTES = 32
MAGICS = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
"""The first bytes of a write-ahead log."""
SALTS = slice(16, 24)
"""The bytes of the header that SQLite changes each time that it begins a new log in the file."""


class Watch:
    """Checks that the files that the writing connection has open are still at the path of the database.

    Guarantees:

    - A log that SQLite shortens, in this or another process, is no loss. It does so only after all of the log is in the
      database, and then the next commit writes another header.
    - A log is damaged if it is shorter than before and has the same header, or if it has no header after a commit.
    - Once a file is lost or damaged, `check` and `check_reading` raise StoreLost until the process ends.
    """

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file
        self._identities: tuple[Identity, Identity] | None = None
        self._log: FileIO | None = None
        """The log, open for reading. SQLite has no locks on the log that closing this descriptor would end."""
        self._size = 0
        self._salts: bytes | None = None
        """The salts that the log had at the last check: b"" if it was empty, None before the first check."""

    def connected(self) -> None:
        """Forget the side files of the previous connection, and narrow the modes of all three files."""
        self.closed()
        for suffix in ("", LOG, INDEX):
            narrow(self._file.path + suffix)

    def closed(self) -> None:
        """Close the log before the connection ends."""
        self._identities = self._salts = None
        self._size = 0
        if self._log is not None:
            self._log.close()
            self._log = None

    def check(self) -> None:
        """Raise StoreLost if a file was deleted, replaced or cut short. Only the thread that writes may call this.

        Each transaction calls this before its first write, and after its commit before the write is acknowledged. So an
        acknowledged write is in the files that the next process opens.
        """
        self._file.check()
        if self._log is None or self._identities is None:
            try:
                self._log = FileIO(self._file.path + LOG)
            except OSError:
                self._file.give_up(self._lost())
            self._identities = self._found()
        self._check_identities(self._identities)
        self._check_log(self._log)

    def check_reading(self) -> None:
        """Raise StoreLost if a file was deleted or replaced. Each transaction that reads calls this."""
        self._file.check()
        if (known := self._identities) is not None:
            self._check_identities(known)

    def explain(self, error: Exception) -> None:
        """Raise StoreLost if a transaction failed because a file was deleted, replaced or damaged."""
        self.check_reading()
        self._file.explain(error)

    def _check_identities(self, known: tuple[Identity, Identity]) -> None:
        if self._found() != known:
            self._file.give_up(self._lost())

    def _check_log(self, log: FileIO) -> None:
        """Raise StoreLost if the log was cut short or overwritten. The size is read first: see the guarantees."""
        size = os.fstat(log.fileno()).st_size
        log.seek(0)
        header = log.read(HEADER_BYTES) if size >= HEADER_BYTES else b""
        if len(header) < HEADER_BYTES:
            self._size, self._salts = 0, b""
            return
        if not header.startswith(MAGICS):
            if self._salts is None:
                return  # the rest of a crash: SQLite overwrites it
            self._file.give_up(self._damaged("has no header"))
        if size < self._size and header[SALTS] == self._salts:
            self._file.give_up(self._damaged("is shorter than before"))
        self._size, self._salts = size, header[SALTS]

    def _found(self) -> tuple[Identity, Identity]:
        """Return the identities of the side files, which exist while a connection is in use."""
        try:
            return identity_of(os.stat(self._file.path + LOG)), identity_of(os.stat(self._file.path + INDEX))
        except OSError:
            self._file.give_up(self._lost())

    def _lost(self) -> StoreLost:
        path = self._file.path
        return StoreLost(
            f"{path}{LOG} or {path}{INDEX} was deleted or replaced while the database was in use; stop the "
            "server with SIGTERM, not with SIGKILL, so that it can copy the log into the database before it ends"
        )

    def _damaged(self, what_happened: str) -> StoreDamaged:
        path = self._file.path
        return StoreDamaged(
            f"{path}{LOG} was overwritten or cut short while the database was in use: it {what_happened}; stop the "
            f"server, and restore a backup of {path} before it starts again"
        )
