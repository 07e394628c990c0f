"""One HTTP page, fetched within bounds: of size, of redirects, of hosts."""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple

from a2a_grpc.bounded import Broken, TooLarge, inflated, read_within
from a2a_grpc.client.errors import AgentCardError, UnreachableError
from a2a_grpc.client.target import shown

MAX_PAGE_BYTES = 1 << 20
MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})

HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate"}


class Page(NamedTuple):
    """A response."""

    url: str
    """The URL that has answered, after redirects."""
    status: int
    reason: str
    headers: Any
    """Header fields, by names in any case."""
    content: bytes
    """Inflated; empty unless the status is 200."""


async def fetch_page(
    session: Any,
    url: str,
    headers: Mapping[str, str],
    *,
    secrets: Mapping[str, str],
    tls: ssl.SSLContext | bool,
    timeout_s: float,
) -> Page:
    """Return the page at a URL, within `timeout_s` in all. `session` is an aiohttp.ClientSession that does not inflate.

    A redirect is followed if it stays on the same scheme, host and port, or goes from http to https on the same host.
    The server of the URL has no say in which other hosts this client calls, some of which only this client may reach.
    The header fields `secrets` are sent to the scheme, host and port of the URL only.

    Raises AgentCardError for a redirect to another place and for a page that is too large, UnreachableError for too
    many redirects, TimeoutError, and what aiohttp raises.
    """
    from yarl import URL  # aiohttp's own URLs, so that what is compared is what is called

    here = URL(url)
    async with asyncio.timeout(timeout_s):
        for _ in range(1 + MAX_REDIRECTS):
            context = tls if here.scheme == "https" else True
            sent = {**HEADERS, **headers, **(secrets if here.origin() == URL(url).origin() else {})}
            async with session.get(here, headers=sent, ssl=context, allow_redirects=False) as answer:
                location = answer.headers.get("Location")
                if answer.status not in REDIRECTS or location is None:
                    content = await _content(answer, url) if answer.status == 200 else b""
                    return Page(str(here), answer.status, answer.reason or "", answer.headers, content)
            here = _followed(here, location)
    raise UnreachableError(f"{shown(url)} redirects in circles; check the URL of the card")


def origin(url: str) -> str:
    """Return the scheme, host and port of a URL."""
    from yarl import URL

    return str(URL(url).origin())


def _followed(here: Any, location: str) -> Any:
    """Return where a redirect leads, if the redirect may be followed."""
    try:
        there = here.join(type(here)(location))
        port = there.port  # raises if there is none
    except ValueError:
        raise AgentCardError(
            f"the card at {shown(str(here))} redirects to what is no URL: '{shown(location)}'"
        ) from None
    is_same_host = bool(there.raw_host) and there.raw_host == here.raw_host and there.raw_user is None
    is_same_place = there.scheme == here.scheme and port == here.port
    if is_same_host and (is_same_place or (here.scheme, there.scheme) == ("http", "https")):
        return there
    raise AgentCardError(
        f"the card at {shown(str(here))} redirects to another place, {shown(str(there))}; if you trust that one, call "
        "it by its URL"
    )


async def _content(answer: Any, url: str) -> bytes:
    """Return the body of a response, inflated."""
    encoding = answer.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise AgentCardError(f"the card at {shown(url)} is encoded as '{encoding[:32]}', which was not asked for")
    try:
        content = await read_within(answer.content, MAX_PAGE_BYTES)
        return inflated(content, MAX_PAGE_BYTES) if encoding not in ("", "identity") else content
    except TooLarge:
        raise AgentCardError(f"the card at {shown(url)} has more than {MAX_PAGE_BYTES} bytes") from None
    except Broken as error:
        raise AgentCardError(f"the card at {shown(url)} cannot be read: {error}") from None
