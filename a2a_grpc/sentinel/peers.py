"""The other sentinels of the same store: passing calls on to them, and what sentinels ask one another."""

import asyncio
import itertools
import logging
import time
from collections.abc import Collection, Coroutine, Sequence
from typing import Any

import grpc.aio

from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.target import grpc_address
from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.unavailable import StoreUnavailable
from a2a_grpc.errors import PermissionDeniedError, UnavailableError
from a2a_grpc.principal import Principal
from a2a_grpc.registry import EntryStore
from a2a_grpc.sentinel.errors import NotAttachedError
from a2a_grpc.sentinel.hop import Hops
from a2a_grpc.sentinel.locations import Locations
from a2a_grpc.sentinel.outgoing import check_files, client_of
from a2a_grpc.sentinel.peer import Peer
from a2a_grpc.sentinel.settings import SentinelSettings
from a2a_grpc.sentinel.tunnel import Tunnel
from a2a_grpc.throttle import Throttle

logger = logging.getLogger("a2a_grpc.sentinel")

IDLE_S = 60.0
"""Seconds after which the connections to a sentinel without calls are closed."""


class Peers:
    """Calls the sentinels that agents are attached to.

    Guarantees:

    - A sentinel that cannot be reached gets no calls for two seconds. Calls go to another one at once.

    Args:
        locations: Finds the sentinels that an agent is attached to.
        hops: The marks of calls between the sentinels.
        client: How to connect to other sentinels.
        max_calls: The number of calls that may be open to one sentinel.
    """

    def __init__(self, locations: Locations, hops: Hops, client: ClientSettings, *, max_calls: int) -> None:
        self._locations = locations
        self._hops = hops
        self._client = client
        self._max_calls = max_calls
        self._peers: dict[str, Peer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = itertools.count()
        self._lines = Throttle(logger)

    async def find(self, address: str) -> Peer:
        """Return a sentinel that an agent is attached to. Raise NotAttachedError if there is none.

        Args:
            address: The logical address of the agent.
        """
        sentinels, now = await self._locations.sentinels_of(address), time.monotonic()
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
        self._locations.forget(address)

    def ask_to_look(self, sentinels: Collection[str], address: str) -> None:
        """Have other sentinels look soon whether their agents at an address were replaced.

        Args:
            sentinels: HOST:PORT of each of the sentinels.
            address: The logical address.
        """
        mark = self._hops.mark(Principal(), address)
        for peer in filter(None, map(self._peer, sentinels)):
            peer.used_at = time.monotonic()
            self._run(self._look(peer, address, mark))

    async def check(self, tunnel: Tunnel) -> None:
        """Raise an error if an agent may not be attached, because of agents at other sentinels.

        Args:
            tunnel: The agent.

        Raises:
            PermissionDeniedError: The address belongs to another principal.
            UnavailableError: An agent that does not share the store is attached to another sentinel, and this one does
                not replace it.
        """
        try:
            others = await self._locations.entries_of(tunnel.address)
        except StoreUnavailable:
            return  # agents are attached all the same
        where = {"address": tunnel.address}
        if any(one.owner != tunnel.principal.owner for one in others):
            raise PermissionDeniedError("the address belongs to another principal", metadata=where)
        if tunnel.replaces:
            return
        if any(one.excludes(tunnel.instance, tunnel.store) for one in others):
            said = (
                "another agent is attached at this address, to another sentinel; stop it, attach with --replace, or "
                "share a store with it"
            )
            raise UnavailableError(said, metadata=where, retry_after_s=1.0)

    async def close(self) -> None:
        """Close the connections to other sentinels."""
        self._lines.close()
        closings = [asyncio.create_task(peer.close(), name="a2a-grpc:peer") for peer in self._peers.values()]
        await asyncio.gather(*closings, *self._tasks, self._locations.close(), return_exceptions=True)
        self._peers.clear()

    async def _look(self, peer: Peer, address: str, mark: str) -> None:
        try:
            await peer.look(address, mark)
        except (grpc.aio.AioRpcError, asyncio.CancelledError):
            pass  # it looks when it renews its leases

    def _peer(self, sentinel: str) -> Peer | None:
        """Return a sentinel; None if it cannot be called."""
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
            self._run(self._peers.pop(name).close())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in a task that `close` waits for."""
        task = asyncio.create_task(work, name="a2a-grpc:peer")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


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
    client = client_of(settings, "peer")
    await check_files(grpc_address(sentinel), client, "peer")
    hops.use(await entries.secret())
    max_calls = settings.max_calls + settings.max_streams
    return Peers(Locations(entries, sentinel), hops, client, max_calls=max_calls)
