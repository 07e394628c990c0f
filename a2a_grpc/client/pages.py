"""Lists that an agent returns in pages."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any, Self, TypeAlias, TypeVar, cast

from a2a_grpc.errors import InvalidAgentResponseError
from a2a_grpc.wire import ListTasksRequest

MAX_EMPTY_PAGES = 100
"""The largest number of pages in a row without an item. A server may filter after it has cut the pages."""

Call: TypeAlias = Callable[[str, Any], Awaitable[Any]]
"""Makes a unary call of a method with a request."""
Item = TypeVar("Item")


class Pages(AsyncIterator[Item]):
    """The items of all pages of a list, to read with `async for`. `Client.list` returns it.

    The client asks for a page when the loop needs it. The loop raises InvalidAgentResponseError for a list without an
    end: a page token that comes twice, or more than 100 pages in a row that hold nothing. Lists of a registry may have
    10,000 pages.

    Attributes:
        total: The number of items on all pages, as the agent said with the last page. None before the first page, and
            if the agent does not count them.
    """

    def __init__(self, call: Call, method: str, request: Any, items: str, *, max_pages: int | None = None) -> None:
        """Read the list of a method. `items` is the field of a page that holds its items."""
        self.total: int | None = None
        self._max_pages = max_pages
        self._items = self._all(call, method, request, items)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        return cast(Item, await anext(self._items))

    async def aclose(self) -> None:
        """End the list. The client asks for no further page."""
        await self._items.aclose()

    async def _all(self, call: Call, method: str, request: Any, items: str) -> AsyncGenerator[Any, None]:
        seen: set[bytes] = set()
        empty = 0
        while True:
            page = await call(method, request)
            self.total = getattr(page, "total_size", None)
            for item in getattr(page, items):
                yield item
            if not page.next_page_token:
                return
            place = hashlib.blake2b(page.next_page_token.encode(), digest_size=16).digest()  # tokens may be long
            if place in seen:
                raise InvalidAgentResponseError(f"{method} has no end: the agent gave the same page token twice")
            seen.add(place)
            if len(seen) == self._max_pages:
                raise InvalidAgentResponseError(f"{method} has no end: it has more than {self._max_pages:,} pages")
            empty = 0 if getattr(page, items) else empty + 1
            if empty > MAX_EMPTY_PAGES:
                raise InvalidAgentResponseError(f"{method} has no end: {empty} pages in a row were empty")
            request.page_token = page.next_page_token


def list_request(*, since: datetime | None, **conditions: Any) -> ListTasksRequest:
    """Return the request for a list of tasks. The conditions are fields of the request."""
    request = ListTasksRequest(**conditions)
    if since is not None:
        request.status_timestamp_after.FromDatetime(since)
    return request
