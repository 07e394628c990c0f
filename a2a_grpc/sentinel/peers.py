"""The way to agents that are attached to other sentinels of the same store."""

import asyncio
import itertools
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence

import grpc
import grpc.aio

from a2a_grpc.client.channel import open_channel
from a2a_grpc.client.origin import UNREACHED
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.target import grpc_address
from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.unavailable import StoreUnavailable
from a2a_grpc.errors import A2AError, PermissionDeniedError, UnavailableError
from a2a_grpc.principal import Principal
from a2a_grpc.registry import Entry, EntryStore
from a2a_grpc.sentinel.direct import Direct, renamed
from a2a_grpc.sentinel.errors import NotAttachedError, SentinelUnreachedError
from a2a_grpc.sentinel.hop import Hops
from a2a_grpc.sentinel.settings import SentinelSettings
from a2a_grpc.sentinel.tunnel import Tunnel
from a2a_grpc.sentinel.way import has_no_details
from a2a_grpc.throttle import Throttle

logger = logging.getLogger("a2a_grpc.sentinel")

PEER_SETTINGS = {"ca_cert": "peer_ca_cert", "client_cert": "peer_cert", "client_key": "peer_key"}
"""The settings of the sentinel that stand for settings of the client."""
KNOWN_S = 1.0
"""Seconds for which the sentinels of an address are remembered."""
PATIENCE_S = 0.5
"""Seconds that the store has to answer, if there is an answer that is not older than a lease."""
MAX_KNOWN = 10_000
"""Addresses whose sentinels are remembered."""
DOWN_S = 2.0
"""Seconds for which a sentinel that could not be reached gets no calls."""
IDLE_S = 60.0
"""Seconds after which the connections to a sentinel without calls are closed."""


class Peer(Direct):
    """Makes calls to agents at another sentinel."""

    settings = PEER_SETTINGS
    down_until = 0.0
    """The monotonic time until which the sentinel gets no calls."""
    used_at = 0.0
    """The monotonic time of the last call."""

    def failure(self, error: grpc.aio.AioRpcError, cuts: int) -> A2AError | None:
        """Return the error for a call whose connection was lost, or could not be opened. None for other failures."""
        if has_no_details(error) and UNREACHED.match(error.details() or ""):
            self.down_until = time.monotonic() + DOWN_S
            return SentinelUnreachedError()
        return super().failure(error, cuts)


class Peers:
    """Finds the sentinels that agents are attached to, in the store that the sentinels share.

    Guarantees:

    - The entries of a sentinel that is lost are not found after their lease has ended. If the sentinel cannot be
      reached, calls go to another one at once.
    - While the store does not answer, the last answer counts, for the time of a lease.

    Args:
        entries: The store.
        hops: The marks of calls between the sentinels.
        sentinel: HOST:PORT at which other sentinels call this one.
        client: How to connect to other sentinels.
        max_calls: The number of calls that may be open to one sentinel.
    """

    def __init__(
        self, entries: EntryStore, hops: Hops, sentinel: str, client: ClientSettings, *, max_calls: int
    ) -> None:
        self._entries = entries
        self._hops = hops
        self._sentinel = sentinel
        self._client = client
        self._max_calls = max_calls
        self._known: OrderedDict[str, tuple[float, list[str]]] = OrderedDict()
        self._asking: dict[str, tuple[asyncio.Task[list[str]], float]] = {}
        self._peers: dict[str, Peer] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._turns = itertools.count()
        self._lines = Throttle(logger)

    async def find(self, address: str) -> Peer:
        """Return the way to a sentinel that an agent is attached to. Raise NotAttachedError if there is none.

        Args:
            address: The logical address of the agent.
        """
        sentinels, now = await self._sentinels(address), time.monotonic()
        turn = next(self._turns)
        for place in range(len(sentinels)):
            peer = self._peer(sentinels[(turn + place) % len(sentinels)])
            if peer is not None and peer.down_until <= now:
                peer.used_at = now
                return peer
        raise NotAttachedError

    def mark(self, principal: Principal, address: str) -> str:
        """Return the mark of a call that is passed on to another sentinel.

        Args:
            principal: The caller.
            address: The logical address of the agent.
        """
        return self._hops.mark(principal, address)

    def is_for_another(self, marks: Sequence[str | bytes], address: str) -> bool:
        """Return True if a valid mark is for another address than the one that is called.

        Args:
            marks: The values of the metadata entry.
            address: The logical address that is called.
        """
        return self._hops.caller(marks) is not None and self._hops.caller(marks, address) is None

    def forget(self, address: str) -> None:
        """Ask the store again for the sentinels of an address, for its next call.

        Args:
            address: The logical address of the agent.
        """
        self._known.pop(address, None)

    async def check(self, tunnel: Tunnel) -> None:
        """Raise an error if an agent may not be attached, because of agents at other sentinels.

        Args:
            tunnel: The agent.

        Raises:
            PermissionDeniedError: The address belongs to another principal.
            UnavailableError: An agent that does not share the store is attached to another sentinel.
        """
        try:
            others = [one for one in await self._entries.at(tunnel.address) if self._is_elsewhere(one)]
        except StoreUnavailable:
            return  # agents are attached all the same
        where = {"address": tunnel.address}
        if any(one.owner != tunnel.principal.owner for one in others):
            raise PermissionDeniedError("the address belongs to another principal", metadata=where)
        for one in others:
            if one.key.instance != tunnel.instance and not (tunnel.store and one.store == tunnel.store):
                said = (
                    "another agent is attached at this address, to another sentinel; stop it, or share a store with it"
                )
                raise UnavailableError(said, metadata=where, retry_after_s=1.0)

    async def close(self) -> None:
        """Close the connections to other sentinels."""
        self._lines.close()
        askings = [asking for asking, _ in self._asking.values()]
        for asking in askings:
            asking.cancel()
        closings = [asyncio.create_task(peer.close(), name="a2a-grpc:peer") for peer in self._peers.values()]
        await asyncio.gather(*closings, *self._closing, *askings, return_exceptions=True)
        self._peers.clear()

    async def _sentinels(self, address: str) -> list[str]:
        """Return the sentinels of an address. Calls that come at the same time ask the store once.

        If the store takes its time, the last answer counts.
        """
        known, now = self._known.get(address), time.monotonic()
        if known is not None and now < known[0] + KNOWN_S:
            return known[1]
        if address not in self._asking:
            asking = asyncio.create_task(self._ask(address), name="a2a-grpc:peers")
            self._asking[address] = (asking, now)
            asking.add_done_callback(lambda done: self._asking.pop(address, None))
        asking, began = self._asking[address]
        is_usable = known is not None and now < known[0] + self._entries.lease_s
        await asyncio.wait([asking], timeout=max(0.0, began + PATIENCE_S - now) if is_usable else None)
        if known is not None and is_usable and not asking.done():
            return known[1]
        return await asyncio.shield(asking)

    async def _ask(self, address: str) -> list[str]:
        try:
            found = await self._entries.at(address)
        except StoreUnavailable as error:
            self._lines.warning("store", "the routes to other sentinels cannot be read error=%s", error)
            known = self._known.get(address)
            is_old = known is None or time.monotonic() > known[0] + self._entries.lease_s
            return [] if known is None or is_old else known[1]
        sentinels = sorted({one.key.sentinel for one in found if self._is_elsewhere(one)})
        self._known[address] = (time.monotonic(), sentinels)
        self._known.move_to_end(address)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return sentinels

    def _is_elsewhere(self, entry: Entry) -> bool:
        return entry.is_attached and entry.key.sentinel != self._sentinel

    def _peer(self, sentinel: str) -> Peer | None:
        """Return the way to a sentinel; None if it cannot be called."""
        if (peer := self._peers.get(sentinel)) is not None:
            return peer
        self._drop_idle()
        try:
            peer = Peer("", grpc_address(sentinel), self._client, max_calls=self._max_calls)
            peer.open()
        except ConfigurationError as error:
            self._lines.warning(sentinel, "a sentinel cannot be called sentinel=%s error=%s", sentinel, error)
            return None
        self._peers[sentinel] = peer
        return peer

    def _drop_idle(self) -> None:
        """Close the connections to sentinels that have had no calls for a while."""
        before = time.monotonic() - IDLE_S
        for name in [name for name, peer in self._peers.items() if not peer.open_calls and peer.used_at < before]:
            closing = asyncio.create_task(self._peers.pop(name).close(), name="a2a-grpc:peer")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


async def opened_peers(entries: EntryStore, hops: Hops, sentinel: str, settings: SentinelSettings) -> Peers:
    """Return the other sentinels of a store.

    Args:
        entries: The store, which is open.
        hops: The marks of calls between the sentinels, which get the secret of the store.
        sentinel: HOST:PORT at which other sentinels call this one.
        settings: The settings of this sentinel.

    Raises:
        ConfigurationError: The certificates for calls to other sentinels cannot be used.
        StoreUnavailable: The store does not answer.
    """
    try:
        client = ClientSettings(
            plaintext=settings.peer_plaintext,
            ca_cert=settings.peer_ca_cert,
            client_cert=settings.peer_cert,
            client_key=settings.peer_key,
        )
        await open_channel(grpc_address(sentinel), client).close()  # so that wrong files are reported at once
    except ConfigurationError as error:
        raise renamed(error, PEER_SETTINGS) from None
    hops.use(await entries.secret())
    return Peers(entries, hops, sentinel, client, max_calls=settings.max_calls + settings.max_streams)
