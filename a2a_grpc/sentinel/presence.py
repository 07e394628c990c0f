"""The entries of the agents that are reached through this sentinel, kept in the registry."""

import asyncio
import logging
import time

from a2a_grpc.database.unavailable import StoreUnavailable
from a2a_grpc.errors import A2AError
from a2a_grpc.harmless import one_line
from a2a_grpc.registry import Entry, EntryStore, Key, OccupiedError, ReplacedError
from a2a_grpc.sentinel.peers import Peers
from a2a_grpc.sentinel.routes import Routes
from a2a_grpc.sentinel.tunnel import Tunnel
from a2a_grpc.sentinel.upstream import Upstream
from a2a_grpc.throttle import Throttle

logger = logging.getLogger("a2a_grpc.sentinel")

RETRY_S = 1.0
"""Seconds before entries that the store did not take are written again."""
UNKNOWN = object()
"""Stands for the card of an entry that the store may have, or may not have."""
LAST_S = 1.0
"""Seconds that the entries have to be removed when the sentinel stops."""


class Presence:
    """Keeps an entry in the registry for each agent that is attached, or has a plain route.

    Guarantees:

    - An agent that attaches, sends its card or leaves is in the registry so a moment later.
    - If the store does not answer, agents are attached all the same, and are written later.
    - If the sentinel is lost, its entries end with their leases.
    - An agent that replaces others also takes the place of those at other sentinels of the store. These sentinels are
      asked to look. One that does not hear of it looks when it renews its leases.
    - Of two agents that were attached to two sentinels while the store did not answer, and cannot both have their
      address, the one that was attached first stays. The other one is asked to attach again, and is refused.

    Args:
        entries: The store of the entries.
        routes: The agents of this sentinel.
        sentinel: HOST:PORT of this sentinel.
        peers: The other sentinels of the store; None if there are none.
    """

    def __init__(self, entries: EntryStore, routes: Routes, sentinel: str, peers: Peers | None = None) -> None:
        self._entries = entries
        self._routes = routes
        self._sentinel = sentinel
        self._peers = peers
        self._looked_for: set[str] = set()
        self._have_replaced: set[Key] = set()
        self._written: dict[Key, tuple[Entry, object]] = {}
        self._since: dict[Key, float] = {}
        """When the first tunnel of each agent was opened, by the clock of this process."""
        self._renew_at = time.monotonic()
        self._lines = Throttle(logger)
        self._keeping = asyncio.create_task(self._keep(), name="a2a-grpc:presence")

    def look(self, address: str) -> None:
        """Look soon whether the agents at an address were replaced.

        Args:
            address: The logical address.
        """
        self._looked_for.add(address)
        self._routes.changed.set()

    async def close(self) -> None:
        """Remove the entries, if the store answers. A second call does nothing."""
        self._keeping.cancel()
        await asyncio.wait([self._keeping])
        written, self._written = self._written, {}
        try:
            async with asyncio.timeout(LAST_S):
                for key, (entry, _) in written.items():
                    await self._entries.remove(key, entry.owner)
        except (TimeoutError, StoreUnavailable):
            pass  # they end with their leases
        self._lines.close()

    async def _keep(self) -> None:
        wait_s = 0.0
        while True:
            try:
                async with asyncio.timeout(wait_s):
                    await self._routes.changed.wait()
            except TimeoutError:
                pass
            self._routes.changed.clear()
            try:
                is_whole = await self._write()
            except StoreUnavailable as error:
                self._lines.warning("store", "the registry's store does not answer error=%s", error)
                is_whole = False
            except Exception:  # a bug must not end the leases of all agents
                logger.exception("the registry was not written")
                is_whole = False
            wait_s = max(0.0, self._renew_at - time.monotonic()) if is_whole else RETRY_S

    async def _write(self) -> bool:
        """Write what has changed, and renew what is due. Return False if the store refused an entry."""
        upstreams = {self._key(upstream): upstream for upstream in self._routes.upstreams()}
        self._since = {key: self._since.get(key, upstream.since) for key, upstream in upstreams.items()}
        for key in [key for key in self._written if key not in upstreams]:
            await self._entries.remove(key, self._written[key][0].owner)
            del self._written[key]  # not before: the sentinel may be stopped meanwhile
            self._have_replaced.discard(key)
        await self._renew()
        is_whole = True
        for key, upstream in upstreams.items():
            written = self._written.get(key)
            if written is not None and written[1] is upstream.description and written[0].owner == upstream.owner:
                continue
            entry, description = self._entry(key, upstream), upstream.description
            self._written[key] = (entry, UNKNOWN)  # the sentinel may be stopped before the store has answered
            try:
                await self._add(upstream, entry)
                self._written[key] = (entry, description)
            except (ReplacedError, OccupiedError) as error:
                del self._written[key]
                self._have_replaced.discard(key)
                self._give_way(upstream, is_replaced=isinstance(error, ReplacedError))
            except A2AError as error:  # the address is another principal's at another sentinel, for example
                del self._written[key]
                said = one_line(error.message)
                self._lines.warning(
                    f"entry {key.name}", "an agent is not in the registry address=%s reason=%s", key.name, said
                )
                is_whole = False
        return is_whole

    async def _add(self, upstream: Upstream, entry: Entry) -> None:
        """Write the entry of an agent. An agent that replaces others does so once, and gives way to later ones."""
        if not upstream.replaces or entry.key in self._have_replaced:
            await self._entries.add(entry)
            return
        replaced = await self._entries.replace(entry)
        self._have_replaced.add(entry.key)
        if self._peers is not None:
            self._peers.ask_to_look({key.sentinel for key in replaced}, entry.name)

    def _give_way(self, upstream: Upstream, *, is_replaced: bool) -> None:
        """Let an agent at another sentinel have the address of one that is attached here."""
        if self._peers is not None:
            self._peers.forget(upstream.address)
        if isinstance(upstream, Tunnel):
            self._routes.give_way(upstream, is_replaced=is_replaced)

    async def _renew(self) -> None:
        """Renew the leases that are due, and those at addresses to look at. An entry that is gone is written again."""
        is_due = time.monotonic() >= self._renew_at
        if is_due:
            self._renew_at = time.monotonic() + self._entries.lease_s / 3
        looked_for, self._looked_for = self._looked_for, set()
        asked = [(key, entry.owner) for key, (entry, _) in self._written.items() if is_due or key.name in looked_for]
        there = await self._entries.renew_all(asked)
        for key, owner in asked:
            if (key, owner) not in there:
                self._written[key] = (self._written[key][0], UNKNOWN)

    def _key(self, upstream: Upstream) -> Key:
        return Key(upstream.address, upstream.instance, self._sentinel)

    def _entry(self, key: Key, upstream: Upstream) -> Entry:
        entry = Entry(
            key=key,
            owner=upstream.owner,
            tenant=upstream.address,
            store=upstream.store,
            replaces=upstream.replaces,
            since=self._since[key],
        )
        if upstream.description is None:
            return entry.with_card(b"")
        return entry.with_card(upstream.description.card.SerializeToString(), upstream.description.body)
