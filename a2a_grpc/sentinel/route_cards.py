"""The cards of the agents of plain routes, which the sentinel fetches."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from a2a_grpc.agent.card import card_json
from a2a_grpc.backoff import Backoff
from a2a_grpc.client.errors import AgentCardError, UnreachableError
from a2a_grpc.client.fetch import Cards
from a2a_grpc.client.target import CardFile, CardUrl, parse
from a2a_grpc.config import ConfigurationError
from a2a_grpc.harmless import one_line
from a2a_grpc.protocol import GRPC_BINDING, PROTOCOL_VERSION
from a2a_grpc.sentinel.described import Description, described
from a2a_grpc.sentinel.direct import Direct, by_address
from a2a_grpc.sentinel.errors import BadCardError
from a2a_grpc.sentinel.routes import Routes
from a2a_grpc.wire import AgentCard, AgentInterface

logger = logging.getLogger("a2a_grpc.sentinel")

EVERY_S = 30.0
"""Seconds between two looks at a card. A card that is fresh, as its server says, is not fetched."""
RETRY_INITIAL_S, RETRY_MAXIMUM_S = 0.5, 30.0
"""Seconds before the first and the later attempts to fetch a card again."""
FETCH_S = 5.0
FORM = "URL"

Place: TypeAlias = CardUrl | CardFile


class RouteCards:
    """Keeps the cards of agents of plain routes. They are fetched until `close`.

    Guarantees:

    - A card that is served names the sentinel, so that clients call the agent there.
    - If a card cannot be fetched, or is wrong, the former one is kept, and the log says why.

    Args:
        routes: The agents of the sentinel.
        places: The places of the cards, by the logical addresses of the agents.
        public: HOST:PORT at which clients reach the sentinel.
        ca_cert: PEM file with the root certificates for `https://`; None for those of the system.
    """

    def __init__(self, routes: Routes, places: Mapping[str, Place], public: str, *, ca_cert: str | None) -> None:
        self._routes = routes
        self._public = public
        self._cards = Cards(timeout_s=FETCH_S, ca_cert=ca_cert)
        self._keeping = [
            asyncio.create_task(self._keep(upstream, places[upstream.address]), name="a2a-grpc:route-card")
            for upstream in routes.plain
            if upstream.address in places
        ]

    async def close(self) -> None:
        """Fetch no more cards."""
        for keeping in self._keeping:
            keeping.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        await self._cards.close()

    async def _keep(self, upstream: Direct, place: Place) -> None:
        """Fetch a card, and look from time to time if it has changed. Try again after each failure."""
        backoff, said = Backoff(RETRY_INITIAL_S, RETRY_MAXIMUM_S), ""
        while True:
            try:
                card = await self._cards.load(place)
                description = await asyncio.to_thread(routed, card, upstream.address, self._public)
            except (AgentCardError, UnreachableError, BadCardError, ConfigurationError) as error:
                if str(error) != said:
                    said = str(error)
                    logger.warning("no card of a plain route address=%s reason=%s", upstream.address, one_line(said))
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            said = ""
            if description != upstream.description:
                upstream.description = description
                self._routes.changed.set()
            await asyncio.sleep(EVERY_S)


def places_of(text: str, routes: Iterable[Direct]) -> dict[str, Place]:
    """Return the places of the cards of plain routes, by the logical addresses of the agents.

    Args:
        text: `ADDRESS=URL` for each card, with commas between them. The path of a file may take the place of the URL.
        routes: The plain routes.

    Raises:
        ConfigurationError: A part of the text has another form, or names no plain route.
    """
    known, places = {upstream.address for upstream in routes}, {}
    for address, target in by_address("route_card", text, FORM).items():
        if address not in known:
            raise ConfigurationError(f"route_card names the address '{address}', which route does not name")
        try:
            place = parse(target)
        except ConfigurationError as error:
            raise ConfigurationError(f"route_card{str(error).removeprefix('target')}") from None
        if not isinstance(place, Place):
            raise ConfigurationError(
                f"route_card is '{address}={target}'; it must be ADDRESS={FORM}, or the path of a file"
            )
        places[address] = place
    return places


def routed(card: AgentCard, address: str, public: str) -> Description:
    """Return the card of an agent as the sentinel serves it. Raise BadCardError if it cannot be served.

    A card that names the logical address as tenant is served as it is. In any other one the interfaces are replaced by
    the one at the sentinel, and the signatures, which would not be valid any more, are left out.

    Args:
        card: The card that the agent serves.
        address: The logical address of the agent.
        public: HOST:PORT at which clients reach the sentinel.
    """
    if all(interface.tenant != address for interface in card.supported_interfaces):
        own, card = card, AgentCard()
        card.CopyFrom(own)
        del card.signatures[:]
        del card.supported_interfaces[:]
        here = AgentInterface(
            url=public, protocol_binding=GRPC_BINDING, tenant=address, protocol_version=PROTOCOL_VERSION
        )
        card.supported_interfaces.append(here)
    return described(card_json(card), address)
