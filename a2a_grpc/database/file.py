"""The file of an SQLite database. Only its owner can read it, and a change to another file is noticed."""

import logging
import os
import secrets
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from a2a_grpc.database.unavailable import StoreLost

logger = logging.getLogger("a2a_grpc.store")

PRIVATE = 0o600
"""Mode of the file. SQLite gives the write-ahead log and its index the mode that the database file has."""
LOG, INDEX = "-wal", "-shm"
CORRUPT_TRIES, CORRUPT_PAUSE_S = 20, 0.005
"""How often a file that looks corrupt is read again, and the pause in seconds before."""

Identity = tuple[int, int]
"""Device and inode of a file."""


class DatabaseFile:
    """Opens connections to one SQLite file, and checks that the file is still at its path.

    Guarantees:

    - The file is created with mode 0600 under any umask, so no other user can read it at any moment. If an existing
      file has a wider mode, the mode is narrowed and a warning is logged.
    - All connections open the same file as the first connection. Only the first connection may create the file.
    - `check` raises StoreLost if the path names no file or another file, because writes to the old file would be lost.
    - `check` raises StoreLost if another database was copied over the file. An older copy of the same database has the
      same mark, so `check` does not notice it.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self._identity: Identity | None = None
        self._size = 0
        self._mark = 0
        """The mark that was read in the file, or 0 if there was none yet."""
        self._changed_ns = 0
        """The time of the last change of the file before its mark was read."""

    def connect(self, timeout_s: float) -> sqlite3.Connection:
        """Open a connection. Raise StoreLost if the file is not the one that was opened first."""
        if self._identity is None:
            create_private(self.path)
        found = self.check() if self._identity else _identity(os.stat(self.path))
        connection = sqlite3.connect(
            f"file:{quote(self.path)}?mode=rw",
            uri=True,
            timeout=timeout_s,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            if self._identity is None:
                self._identity = found
            if self.check() != found:
                raise self._lost("was replaced by another file")
        except BaseException:
            connection.close()
            raise
        return connection

    def check(self) -> Identity:
        """Return the identity of the file, or raise StoreLost. This takes a few microseconds."""
        try:
            found = os.stat(self.path)
        except OSError:
            raise self._lost("was deleted, renamed, or cannot be reached") from None
        identity = _identity(found)
        if identity != self._identity:
            raise self._lost("was replaced by another file")
        if found.st_size < self._size:
            raise self._lost("was overwritten: it is shorter than before")
        self._size = found.st_size
        if found.st_mtime_ns != self._changed_ns:  # the log was written to the file, or another database was
            self._check_mark()
            self._changed_ns = found.st_mtime_ns
        return identity

    def _check_mark(self) -> None:
        """Raise StoreLost if the file has the mark of another database, or none after it had one."""
        try:
            mark = self._read_mark()
        except sqlite3.OperationalError:
            return  # no descriptor is left, for example: nothing is known
        except sqlite3.DatabaseError as error:
            if not self._mark or error.sqlite_errorcode == sqlite3.SQLITE_CORRUPT:
                return  # it was none from the start: opening it says so; or see `_read_mark`
            raise self._lost("was overwritten: it is no database") from None
        if self._mark and mark != self._mark:
            raise self._lost("was overwritten by another database")
        self._mark = mark

    def _read_mark(self) -> int:
        """Return the mark in the file. Raise sqlite3.DatabaseError.

        While another process copies its log into the file, the first page may count pages that are not there yet. Then
        SQLite calls the file corrupt. So this function tries again for a while, because the other process may have been
        stopped.
        """
        tries = CORRUPT_TRIES
        while True:
            try:
                # Through SQLite, not by a descriptor: see `create_private`. Immutable: the log is not looked at.
                uri = f"file:{quote(self.path)}?mode=ro&immutable=1"
                with closing(sqlite3.connect(uri, uri=True)) as connection:
                    return _mark_of(connection)
            except sqlite3.DatabaseError as error:
                tries -= 1
                if error.sqlite_errorcode != sqlite3.SQLITE_CORRUPT or not tries:
                    raise
                time.sleep(CORRUPT_PAUSE_S)

    def side_files(self) -> tuple[Identity, Identity]:
        """Return the identities of the write-ahead log and its index, which exist while a connection is in use.

        Raises:
            StoreLost: One of the files is missing.
        """
        try:
            return _identity(os.stat(self.path + LOG)), _identity(os.stat(self.path + INDEX))
        except OSError:
            raise self._side_file_lost() from None

    def check_side_files(self, known: tuple[Identity, Identity]) -> None:
        """Raise StoreLost unless the write-ahead log and its index are those that a connection has open."""
        if self.side_files() != known:
            raise self._side_file_lost()

    def _lost(self, what_happened: str) -> StoreLost:
        return StoreLost(
            f"the database file {self.path} {what_happened}; put the file back if it was moved, or restart the server, "
            "which then uses the file that is there, or creates one"
        )

    def _side_file_lost(self) -> StoreLost:
        return StoreLost(
            f"{self.path}{LOG} or {self.path}{INDEX} was deleted or replaced while the database was in use; stop the "
            "server with SIGTERM, not with SIGKILL, so that it can copy the log into the database before it ends"
        )


class Watch:
    """Checks that the files that the writing connection has open are still at the path of the database."""

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file
        self._side_files: tuple[Identity, Identity] | None = None

    def connected(self) -> None:
        """Forget the side files of the previous connection, and narrow the modes of all three files."""
        self._side_files = None
        for suffix in ("", LOG, INDEX):
            narrow(self._file.path + suffix)

    def check(self) -> None:
        """Raise StoreLost if a file was deleted or replaced.

        Each transaction calls this before its first write, and after its commit before the write is acknowledged. So an
        acknowledged write is in the files that the next process opens.
        """
        self._file.check()
        if self._side_files is None:
            self._side_files = self._file.side_files()
        self._file.check_side_files(self._side_files)

    def explain(self) -> None:
        """Raise StoreLost if a transaction failed because a file was deleted or replaced."""
        self._file.check()
        if self._side_files is not None:
            self._file.check_side_files(self._side_files)


def mark(connection: sqlite3.Connection) -> None:
    """Give a database a mark if it has none. The mark is a random application id, which no other database has."""
    if _mark_of(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not _mark_of(connection):  # another process was faster
            connection.execute(f"PRAGMA application_id={secrets.randbelow((1 << 31) - 1) + 1}")
    finally:
        connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def _mark_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA application_id").fetchone()[0])


def create_private(path: str) -> None:
    """Create the file with mode 0600 if it is missing."""
    if os.name != "posix" or os.path.lexists(path):
        return
    # No descriptor of the file is opened here, because closing it would end the locks that SQLite has on the file, for
    # every connection of this process. On macOS it is opened all the same, but there the file is new and has no locks.
    try:
        os.mknod(path, PRIVATE | stat.S_IFREG)
    except PermissionError:  # macOS keeps mknod for root
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, PRIVATE))
    except FileExistsError:
        return  # another process was faster
    os.chmod(path, PRIVATE)  # a umask may have taken bits of the owner


def narrow(path: str) -> None:
    """Remove from a file the modes that let other users read it. Do nothing if the file is missing."""
    if os.name != "posix":
        return
    try:
        found = os.stat(path)
        wider = stat.S_IMODE(found.st_mode) & ~PRIVATE & 0o777
        if not wider:
            return
        os.chmod(path, stat.S_IMODE(found.st_mode) & PRIVATE)
        logger.warning(
            "access of other users to a database file was removed file=%s from=%04o to=%04o",
            *(path, stat.S_IMODE(found.st_mode), stat.S_IMODE(found.st_mode) & PRIVATE),
        )
    except FileNotFoundError:
        return
    except PermissionError:
        logger.warning(
            "a database file of another user can be read by others file=%s mode=%04o: have its owner run chmod 600",
            *(path, stat.S_IMODE(Path(path).stat().st_mode)),
        )


def _identity(found: os.stat_result) -> Identity:
    return found.st_dev, found.st_ino
