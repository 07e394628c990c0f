"""What an attached agent says of itself: the bytes of its card, and what they mean."""

from dataclasses import dataclass

from a2a_grpc.client.card import read_card
from a2a_grpc.client.errors import AgentCardError
from a2a_grpc.errors import A2AError
from a2a_grpc.sentinel.errors import BadCardError
from a2a_grpc.wire import AgentCard

MAX_CARD_BYTES = 256 << 10
"""The largest size of a card. The sentinel keeps one for each agent."""
MAX_CARDS = 1000
"""The number of cards that an agent may send on one tunnel: reading a card takes some milliseconds."""


@dataclass(frozen=True, slots=True)
class Description:
    """The card of an agent."""

    body: bytes
    """The card in JSON, as the agent serves it."""
    card: AgentCard


def described(body: bytes, address: str) -> Description:
    """Return what a card says. Raise BadCardError if the sentinel cannot serve it.

    Args:
        body: The card in JSON.
        address: The logical address of the agent, which is its tenant.
    """
    check_size(body)
    try:
        card = read_card(body, address)
    except AgentCardError as error:
        raise BadCardError(error.message) from None
    tenants = [interface.tenant for interface in card.supported_interfaces if interface.tenant]
    if other := next((tenant for tenant in tenants if tenant != address), ""):
        raise BadCardError(f"the card names the tenant '{other[:256]}'; this agent has '{address}'")
    if not tenants:
        raise BadCardError(f"no interface of the card names the tenant '{address}'")
    if not card.name:
        raise BadCardError("the card has no name")
    return Description(body, card)


def check_size(body: bytes) -> None:
    """Raise BadCardError for a card that is too large. Agents check this, too, before they send the card.

    Args:
        body: The card in JSON.
    """
    if len(body) > MAX_CARD_BYTES:
        raise BadCardError(f"the card has {len(body)} bytes; at most {MAX_CARD_BYTES} are allowed")


def is_bad_card(error: A2AError) -> bool:
    """Return True if a sentinel has refused the card of an agent."""
    return error.reason == BadCardError.reason
