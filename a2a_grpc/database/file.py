"""The file of an SQLite database. Only its owner can read it, and a change to another file is noticed."""

import ctypes
import logging
import os
import secrets
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from a2a_grpc.database.unavailable import StoreDamaged, StoreLost

logger = logging.getLogger("a2a_grpc.store")

PRIVATE = 0o600
"""Mode of the file. SQLite gives the write-ahead log and its index the mode that the database file has."""
PRIMARY_CODE = 0xFF
"""The bits of an error code of SQLite that say the kind of the error."""
CORRUPT_TRIES, CORRUPT_PAUSE_S = 20, 0.005
"""How often a file that looks corrupt is read again, and the pause in seconds before."""

Identity = tuple[int, int]
"""Device and inode of a file."""


class _Connection(sqlite3.Connection):
    """A connection that is not closed if the file is damaged.

    The last connection that is closed copies the write-ahead log into the database. A damaged log would destroy the
    pages that earlier checkpoints have written. A process that ends with the connection open copies nothing.
    """

    must_stay_open: Callable[[], bool] = staticmethod(bool)

    def close(self) -> None:
        if self.must_stay_open():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))  # it is not closed by the garbage collector, either
            return
        super().close()


class DatabaseFile:
    """Opens connections to one SQLite file, and checks that the file is still at its path.

    Guarantees:

    - The file is created with mode 0600 under any umask, so no other user can read it at any moment. If an existing
      file has a wider mode, the mode is narrowed and a warning is logged.
    - All connections open the same file as the first connection. Only the first connection may create the file.
    - `check` raises StoreLost if the path names no file or another file, because writes to the old file would be lost.
    - `check` raises StoreLost if another database was copied over the file. An older copy of the same database has the
      same mark, so `check` does not notice it.
    - After `give_up`, `check` raises that error until the process ends.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self._identity: Identity | None = None
        self._size = 0
        self._mark = 0
        """The mark that was read in the file, or 0 if there was none yet."""
        self._changed_ns = 0
        """The time of the last change of the file before its mark was read."""
        self._given_up: StoreLost | None = None

    def connect(self, timeout_s: float) -> sqlite3.Connection:
        """Open a connection. Raise StoreLost if the file is not the one that was opened first."""
        if self._identity is None:
            create_private(self.path)
        found = self.check() if self._identity else identity_of(os.stat(self.path))
        connection = sqlite3.connect(
            f"file:{quote(self.path)}?mode=rw",
            uri=True,
            timeout=timeout_s,
            check_same_thread=False,
            cached_statements=256,
            factory=_Connection,
        )
        connection.must_stay_open = self.is_damaged
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
        if self._given_up is not None:
            raise type(self._given_up)(*self._given_up.args)
        try:
            found = os.stat(self.path)
        except OSError:
            raise self._lost("was deleted, renamed, or cannot be reached") from None
        identity = identity_of(found)
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

    def explain(self, error: Exception) -> None:
        """Raise StoreLost if a transaction failed because the file is lost, or because SQLite calls it damaged."""
        self.check()
        if (said := damage_of(error)) and self._mark:  # a file that never was a database is another error
            self.give_up(
                StoreDamaged(
                    f"the database {self.path} is damaged, so nothing more is written to it: SQLite says '{said}'; "
                    "stop the server, and restore a backup of the file before it starts again"
                ),
                error,
            )

    def is_damaged(self) -> bool:
        """Return True once the file or its log was found damaged."""
        return isinstance(self._given_up, StoreDamaged)

    def give_up(self, lost: StoreLost, cause: Exception | None = None) -> NoReturn:
        """Raise an error now, and each time that the file is checked again."""
        self._given_up = lost
        raise type(lost)(*lost.args) from cause

    def _lost(self, what_happened: str) -> StoreLost:
        return StoreLost(
            f"the database file {self.path} {what_happened}; put the file back if it was moved, or restart the server, "
            "which then uses the file that is there, or creates one"
        )


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


def damage_of(error: BaseException) -> str:
    """Return what SQLite says about a file that is damaged, or is no database. Return "" for any other error."""
    cause = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorcode", None) or 0
    return str(cause) if code & PRIMARY_CODE in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) else ""


def identity_of(found: os.stat_result) -> Identity:
    return found.st_dev, found.st_ino
