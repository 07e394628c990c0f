"""The agents that a caller finds over HTTP: those of the registry, and those that are attached here."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import NamedTuple

from a2a_grpc.database.unavailable import StoreUnavailable
from a2a_grpc.errors import InvalidRequestError, UnavailableError, Violation
from a2a_grpc.principal import Principal
from a2a_grpc.registry import Entry, EntryStore, Found, Place, Search
from a2a_grpc.registry.pages import place_of, token_of
from a2a_grpc.sentinel.routes import Routes
from a2a_grpc.sentinel.rules import Rules
from a2a_grpc.text import flaw
from a2a_grpc.wire import AgentCard

ALL = Search()
READ_AT_ONCE = 128
"""Entries that are read of the registry at once."""
PAGE_BYTES = 4 << 20
"""The size of the cards of a page, about."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One agent that a caller may call."""

    name: str
    """The logical address of an attached agent, or the name under which another agent is registered."""
    card: AgentCard
    body: bytes = b""
    """The JSON of the card as an attached agent has sent it. Lists are without it."""
    url: str = ""
    """The URL of the card of an agent that is not attached, or its HOST:PORT."""
    place: Place | None = None
    """The place of the agent in the list in which it was found."""
    search: Search = ALL
    """What was looked for in this list."""

    @property
    def token(self) -> str:
        """The token of the page that begins after this agent."""
        return token_of(self.place, self.search)

    @property
    def matched(self) -> int:
        """The number of words of the search that the card has."""
        return self.place.matched if self.place else 0


class Page(NamedTuple):
    """A part of a list."""

    listings: Sequence[Listing]
    token: str
    """The token of the next page; empty if this is the last one."""


class Directory:
    """The agents, as each caller may see them.

    Guarantees:

    - A caller finds the agents that it may call, and no others.
    - The pages of a list together have each agent once, while no agent comes or goes.
    - The card of an agent that is attached here is there, even if the store of the registry does not answer.

    Args:
        entries: The registry.
        routes: The agents of this sentinel.
        rules: The rules that say which callers may call which agents.
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
        for upstream in self._routes.upstreams():
            if upstream.address == name and upstream.takes_calls and upstream.description is not None:
                if not self._rules.may_call(caller, name):
                    return None
                return Listing(name, upstream.description.card, body=upstream.description.body)
        try:
            entries = await self._entries.at(name)
        except StoreUnavailable:
            raise unavailable() from None
        # An agent whose card is not known is not shown.
        return next((_listing(one) for one in entries if one.card and self._rules.may_see(caller, one)), None)

    async def find(self, caller: Principal, search: Search = ALL, *, token: str = "", limit: int) -> Page:
        """Return a page of the agents that a caller looks for.

        The agents with most words of the search come first. Agents with as many words are ordered by their names.

        Args:
            caller: The caller.
            search: What the caller looks for.
            token: The token of the page; empty for the first one.
            limit: The largest number of agents of the page. A page with large cards has fewer.

        Raises:
            InvalidRequestError: The token is not one of this list.
            UnavailableError: The store of the registry does not answer.
        """
        search = replace(search, tenants=caller.tenants)
        try:
            after = place_of(token, search)
        except InvalidRequestError as error:
            raise InvalidRequestError.of(Violation("pageToken", error.violations[0].description)) from None
        listings: list[Listing] = []
        size = 0
        shown = (after.matched, after.key.name) if after else None
        try:
            async with aclosing(seen(self._entries, self._rules, caller, search, after, READ_AT_ONCE)) as found:
                async for place, entry in found:
                    this = place.matched, place.key.name
                    if this == shown or not entry.card:  # each process of an agent has an entry
                        continue
                    if len(listings) == limit or size > PAGE_BYTES:
                        return Page(listings, listings[-1].token)
                    shown = this
                    size += len(entry.card)
                    listings.append(_listing(entry, place, search))
        except StoreUnavailable:
            raise unavailable() from None
        return Page(listings, "")


async def seen(
    entries: EntryStore, rules: Rules, caller: Principal, search: Search, after: Place | None, limit: int
) -> AsyncGenerator[Found, None]:
    """Yield the entries of a search that a caller may see. They are read from the store `limit` at a time."""
    while True:
        await asyncio.sleep(0)  # a store in memory does not wait for anything
        found = await entries.find(search, after=after, limit=limit)
        for one in found:
            if rules.may_see(caller, one.entry):
                yield one
        if len(found) < limit:
            return
        after = found[-1].place


def unavailable() -> UnavailableError:
    """Return the error of a registry whose store does not answer."""
    return UnavailableError("the registry does not answer; try again", retry_after_s=1.0)


def _listing(entry: Entry, place: Place | None = None, search: Search = ALL) -> Listing:
    return Listing(entry.name, AgentCard.FromString(entry.card), entry.body, entry.url, place, search)
