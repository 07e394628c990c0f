"""Searches of ARD (0.91, §5.3): what a request asks for, and which entries meet its filter."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from a2a_grpc.errors import InvalidRequestError, Violation
from a2a_grpc.principal import Principal
from a2a_grpc.registry import Search
from a2a_grpc.registry.words import asked, one_line, tag_of
from a2a_grpc.sentinel.directory import Directory
from a2a_grpc.sentinel.http_catalog import CARD_TYPE, JsonObject, entry_of, publisher_of

DEFAULT_RESULTS, DEFAULT_ITEMS, MAX_PAGE = 10, 20, 100
"""The sizes of pages: of a search, of a list, and the largest one."""
MAX_TEXT_CHARS = 4096
LOOKED_AT = 1000
"""Agents that a search with a filter looks at for one page."""
FEDERATIONS = ("auto", "referrals", "none")

_OF_ENTRY: Mapping[str, Callable[[JsonObject], Any]] = {
    "identifier": lambda entry: entry["identifier"],
    "displayName": lambda entry: entry["displayName"],
    "type": lambda entry: entry["type"],
    "tags": lambda entry: entry.get("tags", []),
    "capabilities": lambda entry: entry.get("capabilities", []),
    "version": lambda entry: entry.get("version", ""),
    "publisher": lambda entry: publisher_of(entry["identifier"]),
    "metadata.address": lambda entry: entry.get("metadata", {}).get("address", ""),
}
"""The terms that a filter may name."""

Filter = Mapping[str, frozenset[str]]
"""The allowed values of terms."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a search asks for."""

    text: str
    filter: Filter
    size: int
    token: str
    wants_referrals: bool


def query_of(body: bytes) -> Query:
    """Return what the body of a search asks for. Raise InvalidRequestError, which names the wrong member."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        raise _wrong("body", "is no JSON") from None
    request = _members(request, "body", {"query", "federation", "pageSize", "pageToken"})
    query = _members(request.get("query"), "query", {"@context", "text", "filter"})
    text = query.get("text")
    if not isinstance(text, str) or not 0 < len(text) <= MAX_TEXT_CHARS:
        raise _wrong("query.text", f"must be a text of 1 to {MAX_TEXT_CHARS} characters")
    federation = request.get("federation", "auto")
    if federation not in FEDERATIONS:
        raise _wrong("federation", f"must be one of {', '.join(FEDERATIONS)}")
    size = request.get("pageSize", DEFAULT_RESULTS)
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= MAX_PAGE:
        raise _wrong("pageSize", f"must be from 1 to {MAX_PAGE}")
    token = request.get("pageToken", "")
    if not isinstance(token, str):
        raise _wrong("pageToken", "must be a text")
    return Query(text, _filter(query.get("filter", {})), size, token, federation == "referrals")


async def search(directory: Directory, caller: Principal, query: Query, base: str) -> tuple[Sequence[JsonObject], str]:
    """Return the entries that a query finds, with their scores, and the token of the next page.

    The token is empty if there are no more. A page with a filter may have fewer entries than the query asks for, since
    at most `LOOKED_AT` agents are looked at.

    Args:
        directory: The agents.
        caller: The caller.
        query: What the search asks for.
        base: The URL of the sentinel.
    """
    words = asked(query.text)
    if not words or CARD_TYPE not in query.filter.get("type", (CARD_TYPE,)):
        return [], ""
    looked_for = Search(words=words, skill=one_line(_only(query.filter, "capabilities")), tags=_tags(query.filter))
    results: list[JsonObject] = []
    token = query.token
    for _ in range(LOOKED_AT // MAX_PAGE):
        page = await directory.find(caller, looked_for, token=token, limit=MAX_PAGE if query.filter else query.size)
        for listing in page.listings:
            if len(results) == query.size:
                return results, token
            token = listing.token
            if meets(entry := entry_of(base, listing), query.filter):
                score = max(1, round(100 * listing.matched / len(words)))
                results.append({**entry, "score": score, "source": f"{base}/"})
        if not (token := page.token):
            break
    return results, token


def meets(entry: JsonObject, filter: Filter) -> bool:
    """Return True if an entry meets each constraint of a filter.

    Args:
        entry: The entry.
        filter: The constraints.
    """
    for term, allowed in filter.items():
        value = _OF_ENTRY[term](entry)
        if allowed.isdisjoint(value if isinstance(value, list) else [value]):
            return False
    return True


def _only(filter: Filter, term: str) -> str:
    """Return the value of a term with one allowed value; "" otherwise. The store can look for such a value itself."""
    allowed = filter.get(term, frozenset())
    return next(iter(allowed)) if len(allowed) == 1 else ""


def _tags(filter: Filter) -> tuple[str, ...]:
    tag = tag_of(_only(filter, "tags"))
    return (tag,) if tag else ()


def page_size(text: str | None) -> int:
    """Return the size of a page of a list. Raise InvalidRequestError if the parameter is none."""
    if text is None:
        return DEFAULT_ITEMS
    if not (text.isascii() and text.isdecimal() and len(text) < 4 and 1 <= int(text) <= MAX_PAGE):
        raise _wrong("pageSize", f"must be from 1 to {MAX_PAGE}")
    return int(text)


def _filter(filter: object) -> Filter:
    members = _members(filter, "query.filter", set(_OF_ENTRY))
    allowed: dict[str, frozenset[str]] = {}
    for term, value in members.items():
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(one, str) for one in values):
            raise _wrong(f"query.filter.{term}", "must be a text or a list of texts")
        allowed[term] = frozenset(values)
    return allowed


def _members(value: object, name: str, known: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(name, "must be an object")
    if unknown := next((member for member in value if member not in known), None):
        raise _wrong(name, f"has the member '{unknown[:64]}'; only {', '.join(sorted(known))} are supported")
    return value


def _wrong(name: str, said: str) -> InvalidRequestError:
    return InvalidRequestError.of(Violation(name, said))
