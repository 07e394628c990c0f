"""End connections that flood a port with frames. During a flood, accept new connections slowly."""

import asyncio
import logging
import time
from collections.abc import Collection
from typing import Protocol

from a2a_grpc.listening.connections import Connection, Connections
from a2a_grpc.listening.counters import Channelz
from a2a_grpc.listening.debt import Allowance, Debt, Leaving
from a2a_grpc.listening.intake import Intake, Load
from a2a_grpc.listening.usage import Crowd, Usage
from a2a_grpc.rpc.traffic import Traffic
from a2a_grpc.rpc.turns import Turns
from a2a_grpc.throttle import Throttle

logger = logging.getLogger("a2a_grpc.listening")

LOOK_S, HURRIED_LOOK_S = 0.025, 0.01
"""Seconds between two looks at the connections, without and with an attack."""
LOOK_SHARE = 10
"""The time between two looks is at least this many times the time of a look. With thousands of connections it is a
second."""
IDLE_LOOKS = 40
"""If the process is not busy, one of so many looks is made."""
BUSY = 0.5
"""The share of a processor that the process uses if there may be an attack."""
STARVED_S = 0.025
"""Seconds. A look that comes so much later than planned may mean an attack, because the process has too little time."""
ASK_S = 0.005
"""Seconds for reading the counters of gRPC in one look."""
ATTACK_S = 10.0
"""Seconds for which an attack lasts after the last connection was ended."""


class Port(Protocol):
    """A port that is guarded."""

    @property
    def number(self) -> int: ...

    @property
    def turns(self) -> Turns | None: ...


class Guard:
    """Guards the ports of a server against floods of frames of any kind.

    gRPC reads all frames of all connections, in no fair order. Most floods never become calls: pings, settings, resets,
    header lists that grow when they are decoded. All of them send bytes that no call explains.

    Guarantees:

    - A connection is reset if it sends bytes that none of its calls explains while the process is busy or gets too
      little of a processor. Calls that were begun and calls that wait in gRPC can explain bytes. Streams that gRPC
      refuses explain nothing. A thousand refused streams are a flood while no call of the connection is answered. So
      are a few hundred calls that were reset before their request was read, or fewer during an attack. Metadata of 256
      KiB or more count with their decoded size.
    - For ten seconds from then on, the bytes of new connections pass at a pace that the process can serve. Hosts take
      turns, and those without an ended connection come first. Calls of ended connections are dropped.
    - Connections that begin a call and leave before its request, one after the other, are an attack too.
    - During an attack a connection of which no request has arrived is reset if it sends 64 KiB that become no call. Its
      further bytes do not pass meanwhile.
    - While many calls wait to be begun, connections wait as `Intake` says, also without an attack.
    - Without an attack, a burst of a hundred calls with all the metadata they may have ends no connection, even if gRPC
      and the event loop are late.
    - A look that fails is logged, and the next one is made. It ends neither a call nor the accept loop. A connection
      that a look cannot read, because no file descriptor is free, keeps its account.
    - At most 64 KiB of a connection wait in the kernel until its first request has arrived, and then `buffer_bytes`.
      What waits is read before the end of the connection is seen, and a few KiB of a header list can take megabytes of
      memory.
    """

    def __init__(self, ports: Collection[Port], traffic: Traffic, *, allowance: Allowance, buffer_bytes: int) -> None:
        self._ports = ports
        self._traffic = traffic
        self._allowance = allowance
        self._buffer_bytes = buffer_bytes
        self._connections = Connections(lambda: [port.number for port in ports])
        self._counted = Channelz()
        self._seen: dict[Connection, tuple[Debt, Load]] = {}
        self._open: set[str] = set()
        self._intake = Intake(traffic.is_proven)
        self._gone: set[str] = set()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._attacked_until = 0.0
        self._is_holding = self._was_attacked = False
        self._crowd = Crowd(self._turns)
        self._looks = 0
        self._leaving = Leaving()
        self._looked_at = self._loop.time()
        self._usage = Usage(self._loop.time)
        self._took_s = 0.0
        self._lines = Throttle(logger, 10.0)

    def start(self) -> None:
        """Begin to look at the connections."""
        self._traffic.on_alarm = self._look_now
        self._later()

    def stop(self) -> None:
        """Stop ending connections, and let the waiting ones pass."""
        self._attacked_until = 0.0
        self._intake.open()
        self._look_at_all(is_busy=False)
        self._traffic.on_alarm = lambda: None
        for turns in self._turns():
            turns.on_many = lambda: None
        if self._timer is not None:
            self._timer.cancel()

    def _later(self, delay_s: float | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if delay_s is None:
            delay_s = HURRIED_LOOK_S if self._is_attacked or self._is_holding else LOOK_S
        delay_s = max(delay_s, LOOK_SHARE * self._took_s)
        self._due = self._loop.time() + delay_s
        self._timer = self._loop.call_later(delay_s, self._look)

    @property
    def _is_attacked(self) -> bool:
        return self._loop.time() < self._attacked_until

    def _look_now(self) -> None:
        """Look now, because a single call was an attack. Its connection may be closed, and the next one may come."""
        self._attacked_until = self._loop.time() + ATTACK_S
        self._later()
        self._look_at_all(is_busy=True)

    def _look(self) -> None:
        is_starved = self._loop.time() - self._due >= STARVED_S
        self._later()
        self._looks += 1
        self._usage.look()
        is_busy = is_starved or self._usage.process >= BUSY
        if is_busy or self._is_attacked or self._is_holding or self._looks % IDLE_LOOKS == 0:
            self._look_at_all(is_busy=is_busy)

    def _look_if_late(self) -> None:
        """Look now if many calls begin to wait, or if the last look is long ago.

        The event loop may be busy with the calls that were accepted.
        """
        is_late = self._loop.time() - self._looked_at >= max(LOOK_S, LOOK_SHARE * self._took_s)
        if is_late or self._crowd.is_coming:
            self._look_at_all(is_busy=True)

    def _turns(self) -> list[Turns]:
        return [port.turns for port in self._ports if port.turns is not None]

    def _look_at_all(self, *, is_busy: bool) -> bool:
        """Look at the connections. Return False if not all could be read.

        This is called while a call is accepted, which must go on if a look fails.
        """
        try:
            self._judge_all(is_busy=is_busy)
        except Exception as error:
            self._lines.error("look", "looking for floods failed error=%r", error, exc_info=error)
            return False
        return self._connections.is_complete

    def _judge_all(self, *, is_busy: bool) -> None:
        now, last, was_attacked = self._loop.time(), self._looked_at, self._was_attacked
        self._looked_at = now
        begun, ask_until = time.thread_time(), time.monotonic() + ASK_S
        is_attacked = self._is_attacked
        self._was_attacked = is_attacked
        is_crowded = self._crowd.look() and not self._intake.is_open
        seen: dict[Connection, tuple[Debt, Load]] = {}
        self._intake.begin(now, is_attacked=is_attacked, is_crowded=is_crowded)
        for connection in self._connections.look(hold_new=is_attacked or is_crowded):
            account = self._traffic.account(connection.peer)
            debt, load = self._seen.get(connection) or (Debt(now), Load(last))
            debt.look(now, connection, account)
            load.look(now, connection, account)
            if is_busy and load.is_active:  # calls that do nothing are no load
                self._crowd.count(account)
            # The counters of a connection that is being read may hold the event loop for 100 ms.
            may_ask = connection.is_held or not (is_attacked or is_crowded)
            counted = self._counted if may_ask and time.monotonic() < ask_until else None
            if (is_busy or is_attacked) and debt.is_flood(
                connection, account, counted, self._allowance, is_attacked=is_attacked
            ):
                self._end(connection, debt)
                continue
            self._intake.look(connection, load, is_suspect=debt.is_suspect or debt.is_unclear)
            if connection.is_held:
                account.held_at = now
            if self._buffer_bytes and account.arrived and not (connection.is_wide or is_attacked):
                connection.widen(self._buffer_bytes)
            seen[connection] = debt, load
        for connection in self._connections.unseen:
            seen[connection] = self._seen.get(connection) or (Debt(now), Load(last))
        self._seen = seen
        self._took_s = time.thread_time() - begun
        before, self._open = self._open, {connection.peer for connection in seen}
        is_complete = self._connections.is_complete
        self._gone -= self._open
        if is_complete:
            self._gone |= before - self._open
            self._traffic.keep(self._open)
            self._counted.keep(self._open)
        if self._leaving.are_many(self._traffic.left, now - last):
            self._attacked_until = self._loop.time() + ATTACK_S
            self._lines.warning("leaving", "many connections begin a call and leave; new ones are let in slowly")
        waiting = self._intake.end(is_slow=now < self._attacked_until - ATTACK_S + 1.0)
        if waiting and not (is_attacked or self._is_holding):
            self._lines.warning("waiting", "more comes in than can be served; connections wait connections=%d", waiting)
        self._is_holding = waiting > 0 or is_attacked
        for turns in self._turns():
            turns.on_many = self._look_if_late
            if is_attacked:
                turns.only(self._is_open)
                if is_complete:
                    turns.drop(self._open)
            elif was_attacked:
                turns.only(None)
        if not is_attacked:
            self._gone.clear()
            if self._is_attacked:  # since this look
                self._look_at_all(is_busy=is_busy)

    def _is_open(self, peer: str) -> bool:
        """Return True if the connection of a call is open. It may have come after the last look."""
        if peer not in self._open and peer not in self._gone:
            if not self._look_at_all(is_busy=True):
                return True
            if peer not in self._open:
                self._gone.add(peer)
        return peer not in self._gone

    def _end(self, connection: Connection, debt: Debt) -> None:
        connection.end()
        self._intake.ended[connection.host] += 1
        self._gone.add(connection.peer)
        self._attacked_until = self._loop.time() + ATTACK_S
        self._lines.warning(
            "flood",
            "ended a connection that floods the server host=%s bytes_beyond_its_calls=%d",
            *(connection.host, debt.size),
        )
