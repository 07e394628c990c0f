"""The protocol of a store of entries."""

from collections.abc import Collection, Set
from typing import Protocol, TypeAlias

from a2a_grpc.registry.entry import Entry, Found, Key, Place, Search

Owned: TypeAlias = tuple[Key, str]
"""The full name of an entry, and the owner of the entry."""


class ReplacedError(Exception):
    """Another agent has taken the address of an attached one, perhaps at another sentinel."""


class OccupiedError(Exception):
    """Another agent was attached at the address of this one before it, at another sentinel."""


class EntryStore(Protocol):
    """A store of the entries of a registry. Several sentinels may share one.

    Guarantees:

    - An entry is there until its lease ends, by the clock of the store. A lease lasts `lease_s` from the last `add` or
      `renew` on.
    - While an entry is there, its name belongs to the owner of the entry. Entries of other owners are refused.
    - Of two attached agents that share no store, and replace one another, the last one has an entry. If neither
      replaces the other, the one that has been attached longer has an entry.
    - Lists are in the order of `Place`. The entries after a place are the same for each reader.

    Raises:
        StoreUnavailable: The database does not answer. Each method may raise this.

    Attributes:
        lease_s: Seconds for which an entry is there without a renewal.
    """

    lease_s: float

    async def open(self) -> None:
        """Make the store ready.

        Raises:
            ConfigurationError: The database cannot be used.
        """

    async def close(self) -> None:
        """Release everything. Entries stay until their leases end."""

    async def secret(self) -> bytes:
        """Return 32 random bytes, which are the same for all sentinels that share the store."""

    async def add(self, entry: Entry) -> None:
        """Add an entry, or replace the one with the same key and owner.

        The entries of attached agents that this agent excludes are removed.

        Args:
            entry: The entry.

        Raises:
            PermissionDeniedError: The name belongs to another owner.
            ResourceExhaustedError: The store has as many entries as it may.
            ReplacedError: An agent that replaces the one of this entry has taken the name.
            OccupiedError: An agent that excludes the one of this entry has been attached longer.
        """

    async def replace(self, entry: Entry) -> list[Key]:
        """Add the entry of an agent that takes the place of others. Return the keys of their entries, now removed.

        Args:
            entry: The entry, with `replaces`.

        Raises:
            PermissionDeniedError: The name belongs to another owner.
            ResourceExhaustedError: The store has as many entries as it may.
        """

    async def renew(self, key: Key, owner: str) -> bool:
        """Begin the lease of an entry again. Return False if the owner has no such entry, or its lease has ended.

        Renewals that are asked for at about the same time share a transaction.

        Args:
            key: The full name of the entry.
            owner: The owner of the entry.
        """

    async def renew_all(self, asked: Collection[Owned]) -> Set[Owned]:
        """Begin the leases of entries again, in as few transactions as possible. Return those that are there.

        Args:
            asked: The full names of the entries, and their owners.
        """

    async def remove(self, key: Key, owner: str) -> bool:
        """Remove an entry. Return False if the owner has no such entry.

        Args:
            key: The full name of the entry.
            owner: The owner of the entry.
        """

    async def at(self, name: str) -> list[Entry]:
        """Return the entries with a name, in the order of their keys.

        Args:
            name: The logical address of attached agents, or the name of registered ones.
        """

    async def find(self, search: Search, *, after: Place | None = None, limit: int) -> list[Found]:
        """Return the entries that are looked for, in the order of `Place`. They may be without their `body`.

        Args:
            search: What is looked for.
            after: The place after which the list begins; None for its beginning.
            limit: The largest number of entries to return.
        """


GATHER_S = 0.25
"""Seconds for which renewals are gathered: to write, and to answer, them together takes a fifth of the time."""
SWEEP_S = 5.0
"""Seconds between two removals of entries whose leases have ended. They are not found any more before that."""


def sees(tenants: Collection[str] | None, tenant: str) -> bool:
    """Return True if a caller may call agents of a tenant.

    Args:
        tenants: The tenants that the caller may call; None for all.
        tenant: The tenant of an agent.
    """
    return tenants is None or tenant in tenants
