"""Begin accepted calls in an order in which connections take turns."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from itertools import chain
from typing import Any, TypeAlias

from a2a_grpc.rpc.traffic import Traffic

AT_ONCE = 16
"""The largest number of calls that are begun in one round of the event loop."""
SLOW_S = 0.005
"""Seconds. If a round takes longer, the next round begins a single call."""
READ_ROUNDS = 3
"""Rounds of the event loop until the metadata of a begun call have been read. Only then it shows what they cost."""
LOOK_CALLS = 64
"""`Turns.on_many` is called whenever so many calls were accepted."""
MANY = 16
"""If so many calls are accepted in one round, the others of the round wait, so that calls in gRPC are accepted first.
"""

Lines: TypeAlias = dict[str, deque[tuple[str, Any]]]
"""The accepted calls that wait, by connection. The first connection has the next turn."""


class Turns:
    """Begins accepted calls.

    gRPC gives calls in the order in which they came, so a flood of one connection delays the calls of all. To accept a
    call is quick. To begin a call costs ten times as much, and a thousand times as much if its metadata are an attack.
    So calls are accepted at once, and begun in turns.

    Guarantees:

    - One call is begun in a round of the event loop. The number doubles with each quick round, up to `AT_ONCE`. While
      many calls come, the number stays at one, so that calls that wait in gRPC are accepted first.
    - Calls of connections that are not proven are begun in every third round only, since the rounds after it show
      what their metadata cost. The number doubles if all three rounds were quick.
    - The connections with waiting calls take turns. Calls of one connection are begun in order.
    - Connections that are proven (`Traffic.is_proven`) have at least every second turn. The first calls of forty new
      connections may be attacks, and take milliseconds each.
    - At most `max_line` calls of a connection wait. A connection cannot have more open calls than that, so the oldest
      calls were reset meanwhile. They are dropped, and the connection is charged.
    - Calls of closed connections are dropped if `only` or `drop` say so. gRPC cancels a dropped call.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        begin: Callable[[str, str, Any], None],
        *,
        traffic: Traffic,
        max_line: int,
    ) -> None:
        self._loop = loop
        self._begin = begin
        self._traffic = traffic
        self._max_line = max_line
        self._proven: Lines = {}
        self._others: Lines = {}
        self._is_turn_of_proven = False
        self._is_open: Callable[[str], bool] | None = None
        self._room = self._at_once = 1
        self._room_of_others = self._others_at_once = 1
        self._pause = 0
        self._was_quick = True
        self._until_look = LOOK_CALLS
        self.on_many: Callable[[], None] = lambda: None
        """A function that is called after each `LOOK_CALLS` calls, also while the event loop is busy with them."""
        self._came = 0
        self._round_at = 0.0
        self._is_scheduled = False

    def only(self, is_open: Callable[[str], bool] | None) -> None:
        """Drop the calls that come from now on if their peer has no open connection. With None, drop no calls."""
        self._is_open = is_open

    @property
    def is_attacked(self) -> bool:
        """True while `only` drops calls."""
        return self._is_open is not None

    def is_open(self, peer: str) -> bool:
        """Return False if `only` says that the peer has no open connection."""
        return self._is_open is None or self._is_open(peer)

    def drop(self, open_peers: Collection[str]) -> None:
        """Drop the waiting calls of all other peers."""
        for lines in (self._proven, self._others):
            for gone in lines.keys() - set(open_peers):
                del lines[gone]

    def add(self, peer: str, name: str, call: Any) -> None:
        """Begin a call of a method, now or in its turn."""
        if not self.is_open(peer):
            return
        self._came += 1
        self._traffic.account(peer).accepted += 1
        self._until_look -= 1
        if not self._until_look:
            self._until_look = LOOK_CALLS
            self.on_many()
        if self._is_any_waiting or not self._take(is_proven=self._traffic.is_proven(peer)):
            line = self._proven.get(peer) or self._others.get(peer)
            if line is None:
                line = deque()
                self._line_up(peer, line)
            line.append((name, call))
            if len(line) > self._max_line:
                line.popleft()
                self._traffic.drop(peer)
        else:
            self._begin(peer, name, call)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._round_at = self._loop.time()
            self._loop.call_soon(self._round)

    @property
    def waiting(self) -> int:
        """The number of calls that wait to be begun."""
        return sum(map(len, chain(self._proven.values(), self._others.values())))

    @property
    def peers(self) -> int:
        """The number of connections whose calls wait to be begun."""
        return len(self._proven) + len(self._others)

    @property
    def is_crowded(self) -> bool:
        """True if several calls were accepted in this round of the event loop."""
        return self._came > 1

    async def wait(self) -> None:
        """Wait until the calls that wait now are begun."""
        for _ in range(1 + READ_ROUNDS * self.waiting):
            await asyncio.sleep(0)

    def _round(self) -> None:
        now = self._loop.time()
        is_quick = now - self._round_at < SLOW_S and self._came < MANY
        self._was_quick = self._was_quick and is_quick
        self._pause -= 1
        if self._is_any_waiting or self._pause > 0:
            self._at_once = min(AT_ONCE, 2 * self._at_once) if is_quick else 1
            self._loop.call_soon(self._round)
        else:
            self._at_once = 1
            self._is_scheduled = False
        self._round_at, self._came = now, 0
        self._room = self._at_once
        if self._pause <= 0:
            self._others_at_once = min(AT_ONCE, 2 * self._others_at_once) if self._others and self._was_quick else 1
            self._room_of_others, self._was_quick = self._others_at_once, True
        while (lines := self._next_lines()) is not None:
            peer = next(iter(lines))
            line = lines.pop(peer)
            name, call = line.popleft()
            if line:
                self._line_up(peer, line)
            self._begin(peer, name, call)

    @property
    def _is_any_waiting(self) -> bool:
        return bool(self._proven or self._others)

    def _take(self, *, is_proven: bool) -> bool:
        """Take room for a call to begin. Return False if there is none in this round."""
        if not self._room or not (is_proven or self._room_of_others):
            return False
        self._room -= 1
        if not is_proven:
            self._room_of_others -= 1
            self._pause = READ_ROUNDS
        return True

    def _next_lines(self) -> Lines | None:
        """Return the lines whose turn it is, or None if there is no room for a call of them in this round."""
        if self._proven and not (self._others and self._room_of_others and not self._is_turn_of_proven):
            self._is_turn_of_proven = False
            return self._proven if self._take(is_proven=True) else None
        self._is_turn_of_proven = True
        return self._others if self._others and self._take(is_proven=False) else None

    def _line_up(self, peer: str, line: deque[tuple[str, Any]]) -> None:
        """Move the calls of a connection behind those of the others."""
        lines = self._proven if self._traffic.is_proven(peer) else self._others
        lines[peer] = line
