"""End connections that flood a port with frames. During a flood, accept new connections slowly."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Collection
from typing import Protocol

from a2a_grpc.listening.connections import Connection, Connections
from a2a_grpc.listening.counters import Channelz
from a2a_grpc.listening.debt import Allowance, Debt
from a2a_grpc.listening.usage import Usage
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
LEAVING, LEAVING_RATE = 50, 10.0
"""If so many connections begin a call and leave without a request, and more than the rate a second follow, this is an
attack. Each costs a millisecond, and gRPC itself ends those that send empty frames."""
ATTACK_S = 10.0
"""Seconds for which an attack lasts after the last connection was ended."""
LET_IN_S, SLOW_LET_IN_S = 0.025, 0.075
"""Seconds between two new connections during an attack. The second number is for a second after a connection was
ended."""


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
        self._debts: dict[Connection, Debt] = {}
        self._open: set[str] = set()
        self._ended: Counter[str] = Counter()
        self._gone: set[str] = set()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._attacked_until = 0.0
        self._is_holding = False
        self._let_in: set[str] = set()
        self._let_in_at = 0.0
        self._looks = 0
        self._leaving = 0.0
        self._left = 0
        self._looked_at = self._loop.time()
        self._usage = Usage(self._loop.time)
        self._took_s = 0.0
        self._let_in_of: dict[str, float] = {}
        self._lines = Throttle(logger, 10.0)

    def start(self) -> None:
        """Begin to look at the connections."""
        self._traffic.on_alarm = self._look_now
        self._later()

    def stop(self) -> None:
        """Stop ending connections, and let the waiting ones pass."""
        self._attacked_until = 0.0
        self._look_at_all(is_busy=False)
        self._traffic.on_alarm = lambda: None
        for port in self._ports:
            if port.turns is not None:
                port.turns.on_many = lambda: None
        if self._timer is not None:
            self._timer.cancel()

    def _later(self, delay_s: float | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if delay_s is None:
            delay_s = HURRIED_LOOK_S if self._is_attacked else LOOK_S
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
        """Look now if the last look is long ago, because the event loop was busy with calls that were accepted."""
        if self._loop.time() - self._looked_at >= max(LOOK_S, LOOK_SHARE * self._took_s):
            self._look_at_all(is_busy=True)

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
        now, last, was_holding = self._loop.time(), self._looked_at, self._is_holding
        self._looked_at = now
        begun = time.thread_time()
        is_attacked = self._is_attacked
        self._is_holding = is_attacked
        all_turns = [port.turns for port in self._ports if port.turns is not None]
        debts: dict[Connection, Debt] = {}
        waiting: list[Connection] = []
        for connection in self._connections.look(hold_new=is_attacked):
            debt = self._debts.get(connection) or Debt(now)
            account = self._traffic.account(connection.peer)
            debt.look(now, connection, account)
            if (is_busy or is_attacked) and debt.is_flood(
                connection, account, self._counted, self._allowance, is_attacked=is_attacked
            ):
                self._end(connection, debt)
                continue
            if connection.is_held and (not is_attacked or connection.peer in self._let_in):
                connection.let_in()
            elif connection.is_held:
                waiting.append(connection)
            elif is_attacked and debt.is_suspect:
                connection.hold()
            if self._buffer_bytes and account.arrived and not (connection.is_wide or is_attacked):
                connection.widen(self._buffer_bytes)
            debts[connection] = debt
        for connection in self._connections.unseen:
            debts[connection] = self._debts.get(connection) or Debt(now)
        self._debts = debts
        self._took_s = time.thread_time() - begun
        before, self._open = self._open, {connection.peer for connection in debts}
        is_complete = self._connections.is_complete
        self._gone -= self._open
        if is_complete:
            self._gone |= before - self._open
            self._traffic.keep(self._open)
            self._counted.keep(self._open)
        self._note_leaving(now - last)
        self._let_in = self._next(waiting, now)
        for turns in all_turns:
            turns.on_many = self._look_if_late
            if is_attacked:
                turns.only(self._is_open)
                if is_complete:
                    turns.drop(self._open)
            elif was_holding:
                turns.only(None)
        if not is_attacked:
            self._ended.clear()
            self._gone.clear()
            self._let_in_of.clear()
            if self._is_attacked:  # since this look
                self._look_at_all(is_busy=is_busy)

    def _note_leaving(self, passed_s: float) -> None:
        """Let an attack begin, or go on, if too many connections have left before their requests."""
        leaving = max(0.0, self._leaving - LEAVING_RATE * passed_s) + self._traffic.left - self._left
        self._leaving, self._left = min(leaving, 2 * LEAVING), self._traffic.left
        if self._leaving > LEAVING:
            self._attacked_until = self._loop.time() + ATTACK_S
            self._lines.warning("leaving", "many connections begin a call and leave; new ones are let in slowly")

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
        self._ended[connection.host] += 1
        self._gone.add(connection.peer)
        self._attacked_until = self._loop.time() + ATTACK_S
        self._lines.warning(
            "flood",
            "ended a connection that floods the server host=%s bytes_beyond_its_calls=%d",
            *(connection.host, debt.size),
        )

    def _next(self, waiting: list[Connection], now: float) -> set[str]:
        """Return the clients whose connections may pass at the next look."""
        is_slow = now < self._attacked_until - ATTACK_S + 1.0
        if not waiting or now - self._let_in_at < (SLOW_LET_IN_S if is_slow else LET_IN_S):
            return set()
        first = min(waiting, key=lambda each: (self._ended[each.host], self._let_in_of.get(each.host, 0.0)))
        self._let_in_at = self._let_in_of[first.host] = now
        return {first.peer}
