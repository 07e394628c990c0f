"""Count the bytes that a connection sent without a reason, and decide whether they are a flood."""

import math
from dataclasses import dataclass

from a2a_grpc.listening.connections import Connection
from a2a_grpc.listening.counters import Channelz, Counters
from a2a_grpc.rpc.options import FIRST_WINDOW_BYTES
from a2a_grpc.rpc.traffic import ALARM_BYTES, CALL_BYTES, RESET_BYTES, Account

RATE = 64 * 1024
"""Bytes a second that a connection may always send without a call: pings, resets, windows."""
BURST = 64 * 1024
"""Bytes that a connection may send at once without a call."""
CREDIT = 4 << 20
"""The credit in bytes that a connection can save if its calls explain more than it sends."""
UNPARSED_BYTES = 128 * 1024
"""Bytes that gRPC may have read and not parsed. Versions before 1.85 read more than the server asks for."""
ATTACK_CHARGES = ALARM_BYTES // 4
"""During an attack, charges of this size end a connection: 64 calls that were reset before they were begun."""
SENT_SHARE = 4
"""Bytes sent to a client that explain one byte from the client, which acknowledges reading, and pings to measure."""
REQUESTS_AT_ONCE = 4
"""The number of requests of the largest size that count before they have arrived."""
SILENT_S = 0.03
"""Seconds of an attack in which a connection may have too many bytes while none of its calls is begun."""
LATE_S = 0.5
"""Seconds. The difference of two looks that are so far apart shows no flood, because the event loop was busy."""
REACTIONS = 16 * 1024
"""The largest number of bytes that gRPC writes to an honest client while it answers no call of the client.

They are acknowledgements, windows, and hundreds of refusals of calls beyond the limit of streams.
"""
REACTION_SHARE = 128
"""Bytes of requests that explain one more such byte, because gRPC opens windows for them."""
END_BYTES = 1024
"""Bytes that gRPC may write for its status when a call ends without a message."""


LEAVING, LEAVING_RATE = 50, 10.0
"""If so many connections begin a call and leave without a request, and more than the rate a second follow, this is an
attack. Each costs a millisecond, and gRPC itself ends those that send empty frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """The sizes of data that gRPC accepts for calls before this process knows the calls."""

    request_bytes: int
    """The size of a request."""
    metadata_bytes: int
    """The size of the metadata of a call."""
    streams: int
    """The number of calls that may be open on one connection."""

    def known(self, account: Account) -> int:
        """Return the number of bytes that the begun calls explain."""
        arriving = self.request_bytes * min(account.arriving, REQUESTS_AT_ONCE)
        return BURST + arriving + FIRST_WINDOW_BYTES * account.waiting

    def pending(self, calls: int, unread: int) -> int:
        """Return the number of bytes that are explained by calls that wait in gRPC, and by bytes that gRPC has not
        read."""
        return calls * (self.metadata_bytes + CALL_BYTES + FIRST_WINDOW_BYTES) + unread + UNPARSED_BYTES

    def resets(self, started: int, account: Account) -> int:
        """Return how many of the calls that gRPC has accepted were reset before they were begun.

        At most the open calls wait to be begun, and as many that were reset and are not freed yet.
        """
        return max(0, started - account.begun - account.dropped - 2 * self.streams)


class Debt:
    """The debt of one connection."""

    __slots__ = (
        "_at",
        "_begun",
        "_charged",
        "_explained",
        "_marked",
        "_received",
        "_resets",
        "_sent",
        "_silent_since",
        "charges",
        "is_unclear",
        "size",
    )

    def __init__(self, now: float) -> None:
        self.size = 0.0
        """The number of bytes without a reason. It is below zero if the connection has saved credit."""
        self.charges = 0.0
        """The bytes among them that were charged for calls that were reset, or for metadata over the limit."""
        self.is_unclear = False
        """True if only the counters of gRPC can tell whether the connection is a flood, and they were not read."""
        self._at = now
        self._received = self._sent = self._explained = self._charged = self._begun = self._resets = 0
        self._silent_since = math.inf
        self._marked: tuple[int, int, Counters | None] | None = None

    def look(self, now: float, connection: Connection, account: Account) -> None:
        """Add the bytes that have come since the last look."""
        self.is_unclear = False
        is_late = now - self._at > LATE_S
        unexplained = (
            (connection.received - self._received)
            - (account.explained - self._explained)
            - (connection.sent - self._sent) / SENT_SHARE
        )
        self.size += unexplained
        if self.size > 0:
            self.size = max(0.0, self.size - RATE * (now - self._at))
        self.size = max(-CREDIT, self.size)
        self.charges = max(0.0, self.charges + account.charged - self._charged - RATE * (now - self._at))
        self._at, self._received, self._sent = now, connection.received, connection.sent
        self._explained, self._charged = account.explained, account.charged
        if account.begun != self._begun or is_late:
            self._silent_since = math.inf
        if is_late:
            self._marked = None
        self._begun = account.begun

    @property
    def is_suspect(self) -> bool:
        """True if the connection has sent too much during an attack, and may be a flood."""
        return self._silent_since < math.inf

    def is_flood(
        self,
        connection: Connection,
        account: Account,
        counted: Channelz | None,
        allowance: Allowance,
        *,
        is_attacked: bool,
    ) -> bool:
        """Return True if the connection has sent bytes that no call explains, neither begun nor waiting in gRPC.
        Call this once after each look.

        If `counted` is None, the counters of gRPC are not read, and the connection may be `is_unclear`.
        """
        if self.charges > (ATTACK_CHARGES if is_attacked else ALARM_BYTES):
            return True
        if self.size <= BURST:
            self._silent_since, self._marked = math.inf, None
            return False
        known = allowance.known(account)
        if self.size <= known:
            self._silent_since = math.inf
        elif is_attacked and not account.arrived:  # as a flood is, and too expensive to be read before it is judged
            self._silent_since = min(self._silent_since, self._at)
            if self._at - self._silent_since >= SILENT_S:
                return True
            if not account.begun:
                return False  # later, without gRPC's counters, which may hold the event loop for 100 ms
        if counted is None:
            self.is_unclear = True
            return False
        has_lost_calls = account.begun > account.arrived + account.waiting
        if (self.size > known or has_lost_calls) and (counters := counted.of(connection.peer)) is not None:
            if self._is_resetting(allowance.resets(counters.started, account)):
                return True
            pending = counters.pending(account.begun)
            if self.size > known + allowance.pending(pending, connection.unread):
                return True
        return self._is_refused(connection, account, counted)

    def _is_resetting(self, resets: int) -> bool:
        """Charge for the calls that were reset since the last look. Return True if these are too many."""
        self.charges += RESET_BYTES * max(0, resets - self._resets)
        self._resets = max(resets, self._resets)
        return self.charges > ALARM_BYTES

    def _is_refused(self, connection: Connection, account: Account, counted: Channelz) -> bool:
        """Return True if gRPC answers frames of the connection that are no calls.

        A client that opens too many streams gets a refusal for each, even if gRPC has not given the others to this
        process. The kernel counts the bytes. They are compared only while no call of the connection is being answered.
        """
        written = connection.sent + connection.unsent
        excess = 0.0
        if self._marked is not None:
            written_then, received_then, then = self._marked
            excess = written - written_then - REACTIONS - (self._received - received_then) / REACTION_SHARE
            if excess <= 0:
                return False
        if (now := counted.of(connection.peer)) is None:
            return False
        is_answered = now.started - now.ended > account.waiting + now.pending(account.begun)
        if self._marked is None or then is None or is_answered or now.messages != then.messages:
            self._marked = written, self._received, None if is_answered else now
            return False
        return excess > END_BYTES * (now.ended - then.ended)


class Leaving:
    """Counts the connections that begin a call and leave before its request."""

    def __init__(self) -> None:
        self._size = 0.0
        self._left = 0

    def are_many(self, left: int, passed_s: float) -> bool:
        """Return True if so many connections have left that this is an attack.

        Args:
            left: The number of connections that have left since the start.
            passed_s: The seconds since the last call of this function.
        """
        size = max(0.0, self._size - LEAVING_RATE * passed_s) + left - self._left
        self._size, self._left = min(size, 2 * LEAVING), left
        return self._size > LEAVING
