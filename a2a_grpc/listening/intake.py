"""Decide which connections have to wait, and in which order they pass."""

import math
from collections import Counter
from collections.abc import Callable

from a2a_grpc.listening.connections import Connection
from a2a_grpc.rpc.traffic import Account

WINDOW_S = 0.1
"""Seconds for which the work of a connection counts."""
CALL_WORK = 2048
"""The bytes that cost about as much to read as a call costs to begin."""
HEAVY = 16 * CALL_WORK
"""The work from which a connection may have to wait."""
KNOWN_S = 1.0
"""Seconds after which a connection is no new one."""
PLACES = 2
"""The number of heavy connections that pass also while many calls wait to be begun."""
PLACE_S = 0.25
"""Seconds for which such a connection passes while others wait."""
PASS_S = 1.0
"""Seconds for which a connection passes after its turn, in addition to the time that it waited. The client of such a
connection sends again at intervals that double, and its handshake needs several steps."""
HEAD_START_S = 5.0
"""Seconds by which a connection whose calls were answered, or without a call yet, comes before others at its first
turn. Without a limit, no connection would have a second turn while attackers open new ones."""
FEW = 4
"""The number of calls at once with which a connection may send a large request without a wait."""
LET_IN_S, SLOW_LET_IN_S, LAST_LET_IN_S = 0.025, 0.075, 0.1
"""Seconds between two connections that pass. The second number is for a second after a connection was ended, and the
last one while many calls wait to be begun."""


class Load:
    """The work that a connection has made lately: the bytes that it sent, and its calls."""

    __slots__ = (
        "_accepted",
        "_at",
        "_charged",
        "_received",
        "_since",
        "has_called",
        "held_since",
        "is_known",
        "is_uploading",
        "passed_at",
        "passes_until",
        "size",
    )

    def __init__(self, since: float) -> None:
        self.is_known = False
        """True if the connection is no new one, and none of its calls was charged."""
        self.has_called = False
        """True if the connection has made a call."""
        self.is_uploading = False
        """True if a request has arrived, another one is arriving, the calls are few, and none of them was charged."""
        self.size = 0.0
        """Bytes, and `CALL_WORK` for each call, of about the last `WINDOW_S`."""
        self.held_since = since
        """When the connection began to wait."""
        self.passed_at = 0.0
        """When the connection had its last turn."""
        self.passes_until = 0.0
        """When that turn ends. A charge ends it at once."""
        self._since = self._at = since
        self._received = self._accepted = self._charged = 0

    def look(self, now: float, connection: Connection, account: Account) -> None:
        """Add the work that has come since the last look."""
        passed_s = now - self._at
        work = connection.received - self._received + CALL_WORK * (account.accepted - self._accepted)
        self.size = self.size * math.exp(-passed_s / WINDOW_S) + work * min(1.0, WINDOW_S / max(passed_s, 1e-6))
        self._at, self._received, self._accepted = now, connection.received, account.accepted
        self.has_called = account.accepted > 0
        self.is_known = bool(account.arrived) and not account.charged and now - self._since >= KNOWN_S
        self.is_uploading = (
            account.arriving > 0 and account.arrived > 0 and not account.charged and account.waiting <= FEW
        )
        if account.charged > self._charged:
            self._charged, self.passes_until = account.charged, 0.0

    @property
    def is_heavy(self) -> bool:
        """True if the connection may have to wait."""
        return self.size >= HEAVY

    @property
    def is_active(self) -> bool:
        """True if the connection has made any work in about the last second."""
        return self.size >= 1.0


class Intake:
    """Lets connections wait, and lets them pass one after another.

    Guarantees:

    - New connections and suspects wait during an attack. A suspect that is cleared passes at once.
    - While many calls wait to be begun, suspects wait, too. So do connections of which no call was answered, unless
      they have been open for `KNOWN_S` and have sent a request. Forty new connections can send 4,000 calls in a moment.
    - Meanwhile those that send most wait as well, except `PLACES` of them. Others do not wait. Neither
      does one that sends a large request after another one, with `FEW` calls at once or fewer.
    - The connections that wait pass at a pace that the process can serve. Hosts take turns, and those without an ended
      connection come first. Of one host they pass in the order of their last turns, or of the begin of their wait. For
      its first turn, a connection whose calls were answered, or without a call yet, counts as if it had waited for
      `HEAD_START_S` longer.
    - A connection that has its turn passes for as long as it has waited, and `PASS_S` more. This ends if the connection
      becomes one of those that send most, or is charged for a call.
    - A connection that sends nothing has no turn while many calls wait.
    """

    def __init__(self, is_proven: Callable[[str], bool]) -> None:
        self._is_proven = is_proven
        self.ended: Counter[str] = Counter()
        """The number of connections of each host that were ended during this attack."""
        self._suspects: set[Connection] = set()
        self._next: set[Connection] = set()
        self._at_once = 1
        self._passed_at = 0.0
        self._passed_hosts: dict[str, float] = {}
        self._places: dict[Connection, float] = {}
        self._waiting: list[tuple[Connection, Load]] = []
        self._waited = 0
        self._now = 0.0
        self._is_attacked = self._is_crowded = False
        self.is_open = False
        """True once `open` was called."""

    def begin(self, now: float, *, is_attacked: bool, is_crowded: bool) -> None:
        """Begin a look at all connections.

        Args:
            now: The time of the event loop.
            is_attacked: True during an attack.
            is_crowded: True if many calls wait to be begun.
        """
        self._now, self._is_attacked, self._is_crowded = now, is_attacked, is_crowded
        self._waited = len(self._waiting)
        self._waiting = []

    def open(self) -> None:
        """Let all connections pass from now on."""
        self.is_open = True

    def look(self, connection: Connection, load: Load, *, is_suspect: bool) -> None:
        """Let a connection wait, or let it pass."""
        if connection.is_held:
            if self._may_pass(connection, load, is_suspect):
                connection.let_in()
                self._suspects.discard(connection)
            else:
                self._waiting.append((connection, load))
        elif self._must_wait(connection, load) or (is_suspect and (self._is_attacked or self._is_crowded)):
            connection.hold()
            load.held_since, load.passes_until = self._now, 0.0
            self._waiting.append((connection, load))
            if is_suspect:
                self._suspects.add(connection)

    def end(self, *, is_slow: bool) -> int:
        """End the look, and choose the connections that pass in the next one. Return how many connections wait."""
        if not self._is_attacked:
            self.ended.clear()
        waiting = {connection for connection, _ in self._waiting}
        hosts = {connection.host for connection in waiting}
        self._suspects &= waiting
        self._passed_hosts = {host: at for host, at in self._passed_hosts.items() if host in hosts}
        self._places = {each: until for each, until in self._places.items() if self._now < until}
        if not waiting:
            self._passed_at = self._now
        pause_s = LAST_LET_IN_S if self._is_crowded else SLOW_LET_IN_S if is_slow else LET_IN_S
        self._next = self._chosen(pause_s)
        return len(waiting)

    def _may_pass(self, connection: Connection, load: Load, is_suspect: bool) -> bool:
        """Return True if it is the turn of a connection that waits, if it sends a large request, or if it is a suspect
        that is cleared."""
        if self.is_open:
            return True
        if connection in self._next:
            load.passed_at = self._now
            load.passes_until = self._now + self._now - load.held_since + PASS_S
            return True
        if is_suspect:
            return False
        if connection not in self._suspects:
            return load.is_uploading and not self._is_attacked
        self._suspects.discard(connection)
        return not self._must_wait(connection, load)

    def _must_wait(self, connection: Connection, load: Load) -> bool:
        """Return True if a connection must wait, even if it is no suspect."""
        if not self._is_crowded or load.is_uploading:
            return False
        is_trusted = load.is_known or self._is_proven(connection.peer)
        if load.is_heavy:
            return not (is_trusted and self._has_place(connection))
        return not is_trusted and self._now >= load.passes_until

    def _has_place(self, connection: Connection) -> bool:
        """Return True if a heavy connection is one of those that pass. While others wait, each has its place for
        `PLACE_S` at most."""
        until = self._places.get(connection)
        if until is None:
            if len(self._places) >= PLACES:
                return False
        elif self._now < until or self._waited:
            return self._now < until
        self._places[connection] = self._now + PLACE_S
        return True

    def _chosen(self, pause_s: float) -> set[Connection]:
        """Return the connections that pass in the next look. Each time that this does no harm, twice as many pass."""
        if self._is_crowded or self._is_attacked:
            self._at_once = 1
        asking = [each for each in self._waiting if each[0].is_asking or not self._is_crowded]
        if not asking or self._now - self._passed_at < pause_s:
            return set()

        def order(waiting: tuple[Connection, Load]) -> tuple[int, float, float]:
            connection, load = waiting
            is_preferred = not load.passed_at and (not load.has_called or self._is_proven(connection.peer))
            waits_since = load.passed_at or load.held_since
            return (
                self.ended[connection.host],
                self._passed_hosts.get(connection.host, 0.0),
                waits_since - HEAD_START_S * is_preferred,
            )

        chosen = {connection for connection, _ in sorted(asking, key=order)[: self._at_once]}
        self._passed_at = self._now
        self._passed_hosts.update((each.host, self._now) for each in chosen)
        self._at_once *= 2
        return chosen
