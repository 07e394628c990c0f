"""The agents that a caller finds over HTTP."""

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from a2a_grpc.errors import InvalidRequestError, Violation
from a2a_grpc.principal import Principal
from a2a_grpc.sentinel.routes import Routes
from a2a_grpc.wire import AgentCard

MayCall = Callable[[Principal, str], bool]
"""Returns True if a caller may call the agent at an address."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Listing:
    """One agent that a caller may call."""

    address: str
    """The logical address of the agent."""
    card: AgentCard
    token: str
    """The token of the page that begins after this agent."""
    body: bytes = b""
    """The JSON of the card, if the agent is attached here."""
    url: str = ""
    """The URL of the card of an agent that is not attached."""
    matched: int = 0
    """The number of words of the search that the card has."""


class Directory(Protocol):
    """The agents, as each caller may see them.

    Guarantees:

    - A caller finds the agents that it may call, and no others.
    - The pages of a list together have each agent once, as long as no agent comes or goes.
    """

    async def at(self, caller: Principal, address: str) -> Listing | None:
        """Return the agent at an address. Return None if there is none that the caller may call.

        Args:
            caller: The caller.
            address: The logical address.
        """

    async def find(
        self, caller: Principal, words: Sequence[str] = (), *, token: str = "", limit: int
    ) -> Sequence[Listing]:
        """Return a page of the agents whose cards have at least one of the words.

        The agents with most words come first. Agents with as many words are ordered by their addresses.

        Args:
            caller: The caller.
            words: The words, in small letters; none for all agents.
            token: The token of the page; empty for the first one.
            limit: The largest number of agents of the page. A page with fewer agents is the last one.

        Raises:
            InvalidRequestError: The token is not one of a list.
        """


class AttachedAgents:
    """The directory of the agents that are attached to this sentinel.

    Args:
        routes: The attached agents.
        may_call: Decides who may call which agent.
    """

    def __init__(self, routes: Routes, may_call: MayCall) -> None:
        self._routes = routes
        self._may_call = may_call

    async def at(self, caller: Principal, address: str) -> Listing | None:
        return next((one for one in self._listings(caller, ()) if one.address == address), None)

    async def find(
        self, caller: Principal, words: Sequence[str] = (), *, token: str = "", limit: int
    ) -> Sequence[Listing]:
        listings = [one for one in self._listings(caller, words) if one.matched or not words]
        listings.sort(key=_order)
        if token:
            after = _place(token)
            listings = [one for one in listings if _order(one) > after]
        return listings[:limit]

    def _listings(self, caller: Principal, words: Sequence[str]) -> list[Listing]:
        listings = []
        # Agents that share an address have one entry.
        attached = {one.address: one for one in self._routes.all() if one.takes_calls and one.description is not None}
        for tunnel in attached.values():
            said = tunnel.description
            if said is not None and self._may_call(caller, tunnel.address):
                matched = _matched(said.card, words)
                token = base64.urlsafe_b64encode(f"{matched} {tunnel.address}".encode()).decode()
                listings.append(Listing(tunnel.address, said.card, token, said.body, matched=matched))
        return listings


def _order(listing: Listing) -> tuple[int, str]:
    return -listing.matched, listing.address


def _place(token: str) -> tuple[int, str]:
    try:
        matched, address = base64.urlsafe_b64decode(token.encode()).decode().split(" ")
        return -int(matched), address
    except ValueError:
        raise InvalidRequestError.of(Violation("pageToken", "is not a token of this list")) from None


def _matched(card: AgentCard, words: Sequence[str]) -> int:
    """Return how many of the words a card has."""
    texts = [card.name, card.description]
    for skill in card.skills:
        texts += [skill.id, skill.name, skill.description, *skill.tags, *skill.examples]
    there = frozenset(word for text in texts for word in _WORD.findall(text.casefold()))
    return sum(word in there for word in words)
