"""Credentials for the server of an agent's card, which are shown only if the server asks for them."""

from typing import TypeAlias

from a2a_grpc.address import is_loopback
from a2a_grpc.client.card import MAX_REASON_CHARS
from a2a_grpc.client.errors import AgentCardError
from a2a_grpc.client.page import Page, origin
from a2a_grpc.client.target import CardUrl, shown
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError, PermissionDeniedError, UnauthenticatedError

Entries: TypeAlias = dict[str, str]
"""Header fields with credentials, by their names in small letters."""

REFUSALS = frozenset({401, 403})
ASKING = REFUSALS | {404}
"""Statuses after which a card is asked for again with credentials. Some servers hide a card with 404."""


def may_show(where: CardUrl, page: Page) -> bool:
    """Return True if credentials may be sent to the server of a card, which has answered with a page.

    The server must be the one that the caller has named, and be called with TLS or on this machine. Raise
    ConfigurationError or AgentCardError if a server that asks for credentials is not like this. So no redirect gets the
    credentials, not even one to another port of the same host.
    """
    is_private = where.url.lower().startswith("https:") or is_loopback(where.host)
    if is_private and origin(where.url) == origin(page.url):
        return True
    if page.status not in REFUSALS:
        return False
    if origin(where.url) != origin(page.url):
        raise AgentCardError(
            f"the card at {where} redirects to {shown(page.url)}, which asks for credentials; if you trust that "
            "server, call it by its URL"
        )
    raise ConfigurationError(
        f"the credentials are not sent to '{where}', since it is called in plaintext. Call it with TLS (https://), or "
        "through a proxy on this machine"
    )


def refusal(where: CardUrl, page: Page, *, has_shown: bool) -> A2AError:
    """Return the error about a page that is no card."""
    said = f"{page.status} {page.reason[:MAX_REASON_CHARS]}".strip()
    if page.status not in REFUSALS:
        return AgentCardError(f"{where} answers {said}; there is no card")
    if not has_shown:
        return UnauthenticatedError(f"the card at {where} needs credentials ({said})")
    if page.status == 403:
        return PermissionDeniedError(f"the credentials do not cover the card at {where} ({said})")
    return UnauthenticatedError(f"the credentials are not accepted for the card at {where} ({said})")
