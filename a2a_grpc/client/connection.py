"""The connection to one agent. At its first use the target is resolved and a channel is opened."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import grpc.aio
from google.protobuf.message import Message as ProtobufMessage

from a2a_grpc.client.card import usable_interface
from a2a_grpc.client.channel import open_channel, speaks_tls
from a2a_grpc.client.fetch import Cards
from a2a_grpc.client.pool import Pool
from a2a_grpc.client.renewal import Renewal
from a2a_grpc.client.responses import CheckedChannel
from a2a_grpc.client.security import Given
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.target import Address, CardFile, CardUrl, reached, shown
from a2a_grpc.forking import FORK
from a2a_grpc.wire import AgentCard


@dataclass(frozen=True, slots=True)
class Link:
    """An open connection to an agent, with what is known of the agent.

    Attributes:
        address: The address of the agent's gRPC.
        tls: True if the calls use TLS.
        tenant: The tenant of each request; empty for none.
        card: The agent's card; None if the target is an address, since gRPC has no method for the public card.
        pool: The channels.
    """

    address: Address
    tls: bool
    tenant: str
    card: AgentCard | None
    pool: Pool

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel of the first connection, for stubs of other services."""
        return self.pool.channel

    @property
    def may_stream(self) -> bool:
        """False if the card says that the agent does not stream (CARD-10). True without a card."""
        return self.card is None or self.card.capabilities.streaming


class Connection:
    """Opens a link at its first use. Several uses at the same time share the link."""

    def __init__(
        self,
        target: str,
        settings: ClientSettings,
        *,
        cards: Cards | None = None,
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
        credentials: Given | None = None,
    ) -> None:
        self.target = shown(target)
        """The target without its secrets, for errors."""
        self._where, self.settings = reached(target, settings)
        self._cards = cards
        self._interceptors = interceptors
        self._credentials = credentials
        self._opening = asyncio.Lock()
        self.link: Link | None = None
        """None before the first use, and once it is closed."""
        self.is_closed = False
        self._process = 0
        """The id of the process in which the link was opened; 0 before."""

    async def open(self, request: ProtobufMessage | None = None) -> Link:
        """Open the link, unless it is open. Return the link.

        If a request is given, set the tenant of the link in the request (SEL-2, TEN-2).

        Raise AgentCardError, UnreachableError or ConfigurationError if the agent cannot be called. Raise RuntimeError
        if the connection is closed, or the process was forked.
        """
        self.check_fork()
        link = self.link
        if link is None:
            async with self._opening:
                if self.is_closed:
                    raise closed()
                if self.link is None:
                    self.link = await self._open()
                link = self.link
        if link.tenant and request is not None:
            request.tenant = link.tenant  # type: ignore[attr-defined]
        return link

    @property
    def card_host(self) -> str:
        """The host of the agent's card; empty if the target is an address or a file."""
        return self._where.host if isinstance(self._where, CardUrl) else ""

    def replace_card(self, card: AgentCard) -> None:
        """Use another card of the same agent from now on."""
        assert self.link is not None
        self.link = replace(self.link, card=card)

    def check_fork(self) -> None:
        """Raise RuntimeError if the process was forked, so that a call would hang or crash."""
        FORK.check(self._process)

    @property
    def is_forked(self) -> bool:
        """True in a process that was forked from the one in which the connection was opened."""
        return self._process not in (0, os.getpid())

    async def card(self) -> AgentCard | None:
        """Return the agent's card; None if the target is an address. A card that is not fresh is fetched again."""
        if isinstance(self._where, Address):
            return None
        return await self._load(self._where)

    async def close(self) -> None:
        """End all calls and close the channels, for good. After a fork do nothing, since they are the parent's."""
        self.is_closed = True
        if self.is_forked:
            return
        link, self.link = self.link, None
        if link is not None:
            await link.pool.close()
            FORK.done(link.pool)

    async def _open(self) -> Link:
        settings, tenant = self.settings, ""
        card = await self.card()
        match self._where:
            case Address() as address:
                pass
            case CardUrl() | CardFile():
                assert card is not None
                interface, address = usable_interface(
                    card, self.target, card_host=self.card_host, any_host=settings.any_card_host
                )
                tenant = interface.tenant
        if settings.tenant is not None:
            tenant = settings.tenant
        interceptors = self._interceptors

        def open_one() -> Any:  # has no reference to this connection, since the cycle would keep the channel open
            return CheckedChannel(open_channel(address, settings, interceptors), settings)

        renewal = Renewal(settings)  # before the files are read, so that no change is missed
        pool = Pool(open_one, settings.calls_per_connection, renewal)
        FORK.uses_grpc(pool)
        self._process = os.getpid()
        return Link(address, speaks_tls(address, settings), tenant, card, pool)

    async def _load(self, where: CardUrl | CardFile) -> AgentCard:
        if self._cards is not None:
            return await self._cards.load(where, self._credentials)
        async with cards_for(self.settings, self.settings.connect_timeout_s) as cards:
            return await cards.load(where, self._credentials)


def cards_for(settings: ClientSettings, timeout_s: float) -> Cards:
    """Return cards that are fetched with the TLS files of a client."""
    return Cards(
        timeout_s=timeout_s,
        ca_cert=settings.ca_cert,
        client_cert=settings.client_cert,
        client_key=settings.client_key,
    )


def closed() -> RuntimeError:
    """Return the error for a use of a client that was closed."""
    return RuntimeError("the client is closed")
