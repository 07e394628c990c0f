"""Pages of a list of agents, and the tokens by which callers read the next one."""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence

from a2a_grpc.errors import InvalidRequestError, Violation
from a2a_grpc.registry.entry import Found, Key, Place, Search

DEFAULT_SIZE, MAX_SIZE = 50, 100
"""The number of agents on a page."""
MAX_BYTES = 2 << 20
"""The size of all cards of a page, except that a page has at least one agent. A client takes 4 MiB by default."""
MAX_TOKEN_CHARS = 4096


def page_size(asked: int) -> int:
    """Return the size of a page. Raise InvalidRequestError for a negative one.

    Args:
        asked: The size that the caller has asked for; 0 for the default.
    """
    if asked < 0:
        raise InvalidRequestError.of(Violation("page_size", f"is {asked}; it must be 0 to {MAX_SIZE}"))
    return min(asked or DEFAULT_SIZE, MAX_SIZE)


def cut(found: Sequence[Found], size: int) -> tuple[Sequence[Found], Place | None]:
    """Return a page, and the place after which the next one begins; None if there is no next one.

    Args:
        found: The entries that were found, one more than the page may have if there are more.
        size: The size of the page.
    """
    count, total = 0, 0
    for one in found[:size]:
        total += len(one.entry.card)
        if count and total > MAX_BYTES:
            break
        count += 1
    return found[:count], found[count - 1].place if count < len(found) else None


def token_of(place: Place | None, search: Search) -> str:
    """Return the token of a place in the list of a search; "" for None.

    Args:
        place: The place after which the page begins.
        search: What the caller looks for.
    """
    if place is None:
        return ""
    raw = json.dumps([_fingerprint(search), place.matched, *place.key]).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def place_of(token: str, search: Search) -> Place | None:
    """Return the place that a token stands for; None for an empty one.

    Args:
        token: The token that the caller gives.
        search: What the caller looks for.

    Raises:
        InvalidRequestError: The token is none of this registry, or belongs to another search or another caller.
    """
    if not token:
        return None
    try:
        if len(token) > MAX_TOKEN_CHARS:
            raise ValueError
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        fingerprint, matched, name, instance, sentinel = json.loads(raw)
        place = Place(int(matched), Key(str(name), str(instance), str(sentinel)))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise _refused("is not a token of this registry") from None
    if fingerprint != _fingerprint(search):
        raise _refused("belongs to a list with other conditions")
    if any("\0" in part for part in place.key) or not 0 <= place.matched < 1000:
        raise _refused("is not a token of this registry")
    return place


def _fingerprint(search: Search) -> str:
    tenants = None if search.tenants is None else sorted(search.tenants)
    said = json.dumps([search.skill, search.tags, search.words, tenants])
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _refused(description: str) -> InvalidRequestError:
    return InvalidRequestError.of(Violation("page_token", description))
