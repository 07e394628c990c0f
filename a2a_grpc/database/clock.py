"""The clock of an SQLite file: the same for all processes of a machine. A change of the wall clock does not move it."""

import sqlite3
import time
from pathlib import Path

from sqlalchemy import Connection, Table, delete, insert, select

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
FUNCTION = "a2a_now_us"
"""The name of the clock in statements."""


def boot_id() -> str:
    """Return a text that is different after each start of the machine, and the same in all its containers.

    Return "" if the system has no such text.
    """
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


class MachineClock:
    """Gives the time in microseconds since the epoch.

    The first process that opens the database after a start of the machine takes the time from the wall clock. From then
    on the monotonic clock counts. So a jump of the wall clock moves no lease and no retention. Processes agree on the
    time, because they share the monotonic clock of the machine and the offset that the database stores. If the system
    cannot distinguish one start of the machine from the next, the wall clock is used. This is so on all systems except
    Linux.
    """

    def __init__(self, boot: str | None = None) -> None:
        self._boot = boot_id() if boot is None else boot
        self._offset_us = _wall_us() - _monotonic_us()

    def now_us(self) -> int:
        return _monotonic_us() + self._offset_us if self._boot else _wall_us()

    def register(self, connection: sqlite3.Connection) -> None:
        """Give the clock to the statements of a connection."""
        connection.create_function(FUNCTION, 0, self.now_us)

    def anchor(self, connection: Connection, clock: Table, leases: Table) -> None:
        """Agree with the other processes on the offset.

        The first process after a start of the machine sets the offset. It deletes the leases, because they are times of
        another monotonic clock.
        """
        if not self._boot:
            return
        stored = connection.execute(select(clock.c.boot, clock.c.offset_us)).first()
        if stored is not None and stored.boot == self._boot:
            self._offset_us = stored.offset_us
            return
        if stored is not None:
            connection.execute(delete(leases))
            connection.execute(delete(clock))
        connection.execute(insert(clock).values(boot=self._boot, offset_us=self._offset_us))


def _monotonic_us() -> int:
    return time.monotonic_ns() // 1000


def _wall_us() -> int:
    return time.time_ns() // 1000
