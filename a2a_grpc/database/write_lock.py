"""Wait for the write lock of an SQLite file, which one connection of all processes can have.

SQLite itself waits 1, 2, 5, 10, 15, 20 and then 25 ms between its looks at the lock. A transaction of this package
holds the lock for 1 to 4 ms. So a process that is refused twice waits longer than necessary, and other processes get
the lock first.
"""

import sqlite3
import time
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

BEGIN = "BEGIN IMMEDIATE"
"""The statement that takes the lock at once, so that no other process writes between the reads and the writes."""
FIRST_LOOKS, FIRST_PAUSE_S, PAUSE_S = 40, 0.0005, 0.005
"""The number of looks after short pauses, in seconds, before the pauses become longer."""


def begin(connection: Connection, busy_s: float) -> None:
    """Begin a transaction that writes. Wait for the lock for `busy_s` seconds, then raise sqlite3.OperationalError.

    The connection must have no busy timeout of its own."""
    try:
        connection.exec_driver_sql(BEGIN)
        return
    except OperationalError as error:
        if not _is_busy(error.orig):
            raise
    driver: Any = connection.connection.dbapi_connection
    end, looks = time.monotonic() + busy_s, 0
    while True:
        time.sleep(FIRST_PAUSE_S if looks < FIRST_LOOKS else PAUSE_S)
        looks += 1
        try:
            driver.execute(BEGIN)
            return
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() >= end:
                raise


def _is_busy(error: BaseException | None) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
