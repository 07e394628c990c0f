"""A sentinel among those that share its store: the entries of its agents, and the connections to the others."""

from contextlib import AsyncExitStack

from a2a_grpc.registry import EntryStore
from a2a_grpc.sentinel.hop import Hops
from a2a_grpc.sentinel.peers import Peers, opened_peers
from a2a_grpc.sentinel.presence import Presence
from a2a_grpc.sentinel.routes import Routes
from a2a_grpc.sentinel.settings import SentinelSettings


class Membership:
    """Opens the store, keeps the agents of this sentinel in it, and calls the other sentinels.

    Args:
        entries: The store.
        routes: The agents of this sentinel.
        settings: The settings of this sentinel.
        hops: The marks of calls between the sentinels.

    Attributes:
        peers: The other sentinels, once the store is open; None if there cannot be any.
    """

    def __init__(self, entries: EntryStore, routes: Routes, settings: SentinelSettings, hops: Hops) -> None:
        self._entries = entries
        self._routes = routes
        self._settings = settings
        self._hops = hops
        self._undo = AsyncExitStack()
        self._presence: Presence
        self.peers: Peers | None = None

    async def open(self, address: str) -> None:
        """Open the store.

        Args:
            address: HOST:PORT at which this sentinel listens.

        Raises:
            ConfigurationError: The store, or the certificates for calls to other sentinels, cannot be used.
            StoreUnavailable: The store does not answer.
        """
        address = self._settings.peer_address or self._settings.public_address or address
        async with AsyncExitStack() as undo:
            await self._entries.open()
            undo.push_async_callback(self._entries.close)
            if self._settings.has_peers:
                self.peers = await opened_peers(self._entries, self._hops, address, self._settings)
                undo.push_async_callback(self.peers.close)
            self._presence = Presence(self._entries, self._routes, address, self.peers)
            self._undo = undo.pop_all()

    def look(self, address: str) -> None:
        """Look soon whether the agents at an address were replaced.

        Args:
            address: The logical address.
        """
        self._presence.look(address)

    async def leave(self) -> None:
        """Remove the entries of this sentinel, so that others pass no more calls on."""
        await self._presence.close()

    async def close(self) -> None:
        """Remove the entries of this sentinel, and close the connections to the others and to the store."""
        await self._presence.close()
        await self._undo.aclose()
