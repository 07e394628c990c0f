"""Count the bytes that each connection had a reason to send, which are those of its calls."""

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

CALL_BYTES = 256
"""Bytes for the frames of a call, in addition to its metadata and its request."""
RESET_BYTES = 1024
"""The charge for a call that was reset before its request was read. The server does the work of many frames for it."""
ANSWERS_PER_RESET = 8
"""The number of answered calls that outweigh the charge for one call that was reset."""
MESSAGE_BYTES = 64
"""Bytes for the frames of a further message of a call, with what TLS adds to them."""
ALARM_BYTES = 256 * 1024
"""A charge of this size is an attack. It is sixteen times the metadata that a call may have."""

calling_peer: ContextVar[str] = ContextVar("a2a_grpc peer of the call", default="")
"""The peer of the current call, as gRPC names it. "" if the loop of grpc.aio has accepted the call."""


class Account:
    """The account of a connection: its calls, and the bytes that belong to them."""

    __slots__ = (
        "accepted",
        "answered",
        "arrived",
        "arriving",
        "begun",
        "charged",
        "dropped",
        "explained",
        "held_at",
        "lost",
        "waiting",
    )

    def __init__(self) -> None:
        self.accepted = 0
        """The number of calls that gRPC has given to this process."""
        self.begun = 0
        """The number of calls that were begun, so that their metadata are counted."""
        self.explained = 0
        """Bytes of metadata and frames of calls that were begun, and of requests that arrived, minus charges."""
        self.arrived = 0
        """The number of calls whose request has arrived."""
        self.charged = 0
        """The sum of all charges."""
        self.waiting = 0
        """The number of calls that have begun and whose request has not arrived."""
        self.arriving = 0
        """The number of calls among these whose request was asked for."""
        self.dropped = 0
        """The number of calls that were accepted but not begun, because they were reset. Each was charged."""
        self.answered = 0
        """The number of calls that have ended with a status of the server."""
        self.lost = 0
        """The number of calls that were begun and have ended without a request, or without a status of the server."""
        self.held_at = -math.inf
        """The time of the event loop at which the bytes of the connection were last held. See `Intake`."""


class Traffic:
    """The accounts of all connections, by the peer as gRPC names it."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._absent: set[str] = set()
        self.left = 0
        """The number of connections that are gone, began calls, and sent no whole request and got no answer."""
        self.on_alarm: Callable[[], None] = lambda: None
        """A function that is called at once if a single call is charged `ALARM_BYTES` or more."""

    def account(self, peer: str) -> Account:
        """Return the account of a connection, or a new one if there is none."""
        account = self._accounts.get(peer)
        if account is None:
            account = self._accounts[peer] = Account()
        return account

    @contextmanager
    def receiving(self, peer: str) -> Iterator[Callable[[bytes], None]]:
        """Yield a function to call with each message of a call that receives many. The call lasts while the block runs.

        Without it the messages of such a call would count as a flood. One more message may be on its way.
        """
        account = self.account(peer)

        def explain(message: bytes) -> None:
            account.arrived += 1
            account.explained += len(message) + MESSAGE_BYTES

        account.waiting += 1
        account.arriving += 1
        try:
            yield explain
        finally:
            account.waiting -= 1
            account.arriving -= 1

    def drop(self, peer: str) -> None:
        """Charge a connection for a call that is not begun, because it was reset."""
        self.account(peer).dropped += 1
        self.charge(peer, RESET_BYTES)

    def charge(self, peer: str, size: int) -> None:
        """Subtract bytes from the account of a connection, for work of the server that belongs to no useful call."""
        account = self.account(peer)
        account.explained -= size
        account.charged += size
        if size >= ALARM_BYTES:
            self.on_alarm()

    def answered(self, peer: str) -> None:
        """Note that a call has ended with a status of the server."""
        if (account := self._accounts.get(peer)) is not None:
            account.answered += 1

    def lose(self, peer: str) -> None:
        """Note a call that has ended without a request, or because its client has left.

        Charge the connection if there are more of them than requests that arrived. The requests of honest calls arrive,
        also if the calls are canceled. Rapid resets come before the requests are read.
        """
        account = self.account(peer)
        account.lost += 1
        if account.lost > account.arrived:
            self.charge(peer, RESET_BYTES)

    def is_proven(self, peer: str) -> bool:
        """Return True if calls of the connection were answered and outweigh its charges, so that it is no flood."""
        account = self._accounts.get(peer)
        if account is None or not account.answered:
            return False
        answers = min(account.answered, account.arrived)  # a call that was reset can get a status, too
        return account.charged * ANSWERS_PER_RESET <= answers * RESET_BYTES

    def forget_idle(self) -> None:
        """Forget the accounts of connections on which no call waits for its request."""
        self.keep([peer for peer, account in self._accounts.items() if account.waiting])

    def keep(self, peers: Collection[str]) -> None:
        """Forget the accounts of all other peers at the second call, since a connection may be newer than `peers`.

        Count in `left` those of them that began calls and sent no whole request.
        """
        absent = self._accounts.keys() - set(peers)
        for gone in absent & self._absent:
            account = self._accounts.pop(gone)
            self.left += account.begun > 0 and not (account.arrived or account.answered)
        self._absent = absent
