"""The entries of a registry, and what is looked for in one."""

import hashlib
import json
import time
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from a2a_grpc.registry.words import NOTHING, Indexed, indexed


class Key(NamedTuple):
    """The full name of an entry. There is one entry for each process of an agent and each sentinel it is attached to.

    Attributes:
        name: The logical address of an attached agent, or the name under which another agent is registered.
        instance: A random name of the agent's process.
        sentinel: HOST:PORT of the sentinel that the agent is attached to; empty for an agent that is called directly.
    """

    name: str
    instance: str
    sentinel: str = ""

    def digest(self, owner: str) -> bytes:
        """Return the 16 bytes by which a store finds the entry of an owner.

        Args:
            owner: The owner of the principal that has added the entry.
        """
        return hashlib.blake2b(json.dumps([owner, *self]).encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One agent in the registry.

    Attributes:
        key: The full name of the entry.
        owner: The owner of the principal that has added the entry (`Principal.owner`).
        url: The URL of the agent's card, or its gRPC address. Empty for an attached agent, which is called at any
            sentinel of the registry.
        tenant: The tenant of requests to the agent. Only callers whose credentials cover the tenant see the entry.
        store: A name for the task store of an attached agent. Empty if the agent shares the store with no other.
        replaces: True if the agent was attached to replace the others at its address.
        since: When an attached agent was attached, in seconds, by the monotonic clock of this process. Comparisons of
            entries leave it out. Entries that a database has returned have the time of reading.
        card: The agent's card, a serialised AgentCard. Empty while it is not known.
        body: The card in JSON, byte for byte as an attached agent has sent it; empty if it is not known.
        indexed: What of the card can be looked for.
    """

    key: Key
    owner: str = ""
    url: str = ""
    tenant: str = ""
    store: str = ""
    replaces: bool = False
    since: float = field(default_factory=time.monotonic, compare=False)
    card: bytes = b""
    body: bytes = b""
    indexed: Indexed = NOTHING

    @property
    def name(self) -> str:
        """The name of the agent."""
        return self.key.name

    @property
    def is_attached(self) -> bool:
        """True if the agent is attached to a sentinel, so that it is called there."""
        return bool(self.key.sentinel)

    def excludes(self, instance: str, store: str) -> bool:
        """Return True if an attached agent and another one cannot both have its address.

        Agents that share a store can, and so can two tunnels of one process.

        Args:
            instance: The random name of the other agent's process.
            store: The name of the other agent's task store; empty if it shares the store with no other agent.
        """
        return self.is_attached and instance != self.key.instance and not (store and store == self.store)

    def with_card(self, card: bytes, body: bytes = b"") -> "Entry":
        """Return the entry with a card, which can be looked for.

        Args:
            card: A serialised AgentCard; empty if it is not known.
            body: The card in JSON, as its agent serves it; empty if it is not known.

        Raises:
            ValueError: The bytes are no AgentCard.
        """
        return replace(self, card=card, body=body, indexed=indexed(self.name, card))


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is looked for. An entry is found if it meets all conditions that are set.

    Attributes:
        skill: The id of a skill that the agent has.
        tags: Tags that the agent's skills have, in small letters.
        words: Words of which the agent's card has at least one, in small letters. A word of the card matches if it
            begins with the word that is looked for.
        tenants: The tenants that the caller may call; None for all.
    """

    skill: str = ""
    tags: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    tenants: frozenset[str] | None = None


class Place(NamedTuple):
    """The place of an entry in a list.

    A list begins with the entries that match most words. Entries that match as many words are ordered by their keys,
    by code points. So a list without words is ordered by name.
    """

    matched: int
    key: Key

    @property
    def order(self) -> tuple[int, Key]:
        """What lists are sorted by."""
        return -self.matched, self.key


class Found(NamedTuple):
    """An entry of a list.

    Attributes:
        place: The place of the entry, after which the next page begins.
        entry: The entry.
    """

    place: Place
    entry: Entry
