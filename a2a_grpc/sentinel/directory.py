"""The agents that a caller finds over HTTP: those of the registry, and those that are attached here."""

from collections.abc import Sequence
from dataclasses import dataclass

from a2a_grpc.database.unavailable import StoreUnavailable
from a2a_grpc.errors import InvalidRequestError, UnavailableError, Violation
from a2a_grpc.principal import Principal
from a2a_grpc.registry import Entry, EntryStore, Search
from a2a_grpc.registry.pages import place_of, token_of
from a2a_grpc.sentinel.routes import Routes
from a2a_grpc.sentinel.rules import Rules
from a2a_grpc.text import flaw
from a2a_grpc.wire import AgentCard

READ_AT_ONCE = 200
"""Entries that are read of the registry at once."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One agent that a caller may call."""

    name: str
    """The logical address of an attached agent, or the name under which another agent is registered."""
    card: AgentCard
    token: str = ""
    """The token of the page that begins after this agent."""
    body: bytes = b""
    """The JSON of the card, if the agent is attached here."""
    url: str = ""
    """Where an agent is called that is not attached: the URL of its card, or HOST:PORT."""
    matched: int = 0
    """The number of words of the search that the card has."""


class Directory:
    """The agents, as each caller may see them.

    Guarantees:

    - A caller finds the agents that it may call, and no others.
    - The pages of a list together have each agent once, as long as no agent comes or goes.
    - The card of an agent that is attached here is there, even if the store of the registry does not answer.

    Args:
        entries: The registry.
        routes: The attached agents.
        rules: Who may call which agents.
    """

    def __init__(self, entries: EntryStore, routes: Routes, rules: Rules) -> None:
        self._entries = entries
        self._routes = routes
        self._rules = rules

    async def at(self, caller: Principal, name: str) -> Listing | None:
        """Return the agent with a name. Return None if there is none that the caller may call.

        Args:
            caller: The caller.
            name: The logical address, or the name of a registered agent.
        """
        if flaw(name):
            return None
        for tunnel in self._routes.all():
            if tunnel.address == name and tunnel.takes_calls and tunnel.description is not None:
                if not self._rules.may_call(caller, name):
                    return None
                return Listing(name, tunnel.description.card, body=tunnel.description.body)
        try:
            entries = await self._entries.at(name)
        except StoreUnavailable:
            raise unavailable() from None
        return next((_listing(entry) for entry in entries if self._is_for(caller, entry)), None)

    async def find(
        self, caller: Principal, words: Sequence[str] = (), *, token: str = "", limit: int
    ) -> Sequence[Listing]:
        """Return a page of the agents whose cards have at least one of the words.

        The agents with most words come first. Agents with as many words are ordered by their names.

        Args:
            caller: The caller.
            words: The words, in small letters; none for all agents.
            token: The token of the page; empty for the first one.
            limit: The largest number of agents of the page. A page with fewer agents is the last one.

        Raises:
            InvalidRequestError: The token is not one of this list.
            UnavailableError: The store of the registry does not answer.
        """
        search = Search(words=tuple(words), tenants=caller.tenants)
        try:
            after = place_of(token, search)
        except InvalidRequestError as error:
            raise InvalidRequestError.of(Violation("pageToken", error.violations[0].description)) from None
        listings: list[Listing] = []
        shown = (after.matched, after.key.name) if after else None
        while True:
            try:
                found = await self._entries.find(search, after=after, limit=READ_AT_ONCE)
            except StoreUnavailable:
                raise unavailable() from None
            for place, entry in found:
                after, this = place, (place.matched, place.key.name)
                if this != shown and self._is_for(caller, entry):  # each process of an agent has an entry
                    shown = this
                    listings.append(_listing(entry, token_of(place, search), place.matched))
                    if len(listings) == limit:
                        return listings
            if len(found) < READ_AT_ONCE:
                return listings

    def _is_for(self, caller: Principal, entry: Entry) -> bool:
        """Return True if a caller may see an entry. An agent whose card is not known is not shown."""
        return bool(entry.card) and self._rules.may_see(caller, entry)


def unavailable() -> UnavailableError:
    """Return the error of a registry whose store does not answer."""
    return UnavailableError("the registry does not answer; try again", retry_after_s=1.0)


def _listing(entry: Entry, token: str = "", matched: int = 0) -> Listing:
    return Listing(entry.name, AgentCard.FromString(entry.card), token, b"", entry.url, matched)
