"""The clock of an SQLite store: the same for all processes of a machine, and moved by no change of the wall clock."""

import sqlite3
import time
from pathlib import Path

from sqlalchemy import Connection, Table, delete, insert, select

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
FUNCTION = "a2a_now_us"
"""What statements call the clock."""


def boot_id() -> str:
    """Return what names the time since the machine was started, for all its containers; empty if the system does not
    tell."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


class MachineClock:
    """Microseconds since the epoch, as the wall clock had it when the first process since the machine's start opened
    the database; from then on the monotonic clock counts.

    A wall clock that jumps moves no lease and no retention. Processes agree, because they share the monotonic clock of
    the machine and the offset that is stored in the database. Where the system does not tell one start of the machine
    from the next (other than on Linux), the wall clock is used as it is.
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
        """Agree with the other processes on the offset. The first process since the machine was started sets the
        offset, and declares dead what was alive before: leases of another monotonic clock mean nothing."""
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
