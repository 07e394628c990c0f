"""Lists that come in pages."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Self, TypeVar, cast

from a2a_grpc.client.calls import Calls
from a2a_grpc.errors import InvalidAgentResponseError

MAX_EMPTY_PAGES = 100
"""Pages without an item, one after another, that a list may have: a server may filter after it cut the pages."""


Item = TypeVar("Item")


class Pages(AsyncIterator[Item]):
    """The items of every page of a list; the next page is asked for when it is needed.

    Iterating raises InvalidAgentResponseError for a list without an end: a page token that comes again, or too many
    pages in a row that hold nothing.
    """

    def __init__(self, calls: Calls, method: str, request: Any, items: str) -> None:
        """`items` names the field of a page that holds its items."""
        self.total: int | None = None
        """Items on all pages, as the agent said with the last page; None before the first one, and if no agent counts
        them."""
        self._items = self._all(calls, method, request, items)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        return cast(Item, await anext(self._items))

    async def aclose(self) -> None:
        """Ask for no further page."""
        await self._items.aclose()

    async def _all(self, calls: Calls, method: str, request: Any, items: str) -> AsyncGenerator[Any, None]:
        seen: set[bytes] = set()
        empty = 0
        while True:
            page = await calls.unary(method, request)
            self.total = getattr(page, "total_size", None)
            for item in getattr(page, items):
                yield item
            if not page.next_page_token:
                return
            place = hashlib.blake2b(page.next_page_token.encode(), digest_size=16).digest()  # tokens may be long
            if place in seen:
                raise InvalidAgentResponseError(f"{method} has no end: the agent gave the same page token twice")
            seen.add(place)
            empty = 0 if getattr(page, items) else empty + 1
            if empty > MAX_EMPTY_PAGES:
                raise InvalidAgentResponseError(f"{method} has no end: {empty} pages in a row were empty")
            request.page_token = page.next_page_token
