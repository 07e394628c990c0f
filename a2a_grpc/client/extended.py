"""The extended card of an agent, which takes the place of the public one for a caller with credentials (XCRD-5)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from a2a_grpc.client.card import MAX_NAMED, missing_fields
from a2a_grpc.client.connection import Link
from a2a_grpc.client.contact import Contact
from a2a_grpc.client.disconnects import Passing, is_refused_for_now
from a2a_grpc.client.errors import ConnectionLostError
from a2a_grpc.client.retry import RetryPolicy
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError
from a2a_grpc.wire import AgentCard, GetExtendedAgentCardRequest

Unary: TypeAlias = Callable[..., Awaitable[Any]]
"""`Calls.unary`, which makes a unary call."""

logger = logging.getLogger("a2a_grpc.client")

TIMEOUT_S = 5.0
"""Seconds for the call."""


class Once(RetryPolicy):
    """The policy of a call that is tried again only if a limit of the agent has refused the call for now."""

    async def wait(self, error: Passing) -> None:
        """Wait until the limit allows the call. Raise any other error."""
        if not is_refused_for_now(error):
            raise error
        await super().wait(error)


class Extended:
    """Fetches the extended card once, before the first call, if the public card offers one.

    Guarantees:

    - Calls at the same time wait for one fetch.
    - If the card cannot be had or lacks required members, the client goes on with the public card, and the log says
      why. After a lost connection the next call tries again.
    """

    def __init__(self, contact: Contact) -> None:  # without its calls, since the cycle would keep the channel open
        self._contact = contact
        self._lock = asyncio.Lock()
        self._is_known = False
        """True if there is nothing more to fetch."""
        self._card: AgentCard | None = None
        self._version = ""
        """The version of the public card in whose place the extended card is."""

    @property
    def is_used(self) -> bool:
        """True if an extended card is in place of the public one."""
        return self._card is not None

    async def link(self, link: Link, unary: Unary) -> Link:
        """Return the link with the card that the agent shows to this caller."""
        if self._is_known or link.card is None or not link.card.capabilities.extended_agent_card:
            return link
        async with self._lock:
            if not self._is_known:
                await self._fetch(link.card, unary)
        return self._contact.connection.link or link

    def in_place_of(self, public: AgentCard) -> AgentCard:
        """Return the extended card, or the public card if there is no extended one of this version.

        If the version has changed, the next call fetches the extended card again.
        """
        if self._card is None or public.version == self._version:
            return self._card or public
        self._card, self._is_known = None, False
        self._contact.connection.replace_card(public)
        return public

    async def _fetch(self, public: AgentCard, unary: Unary) -> None:
        request = GetExtendedAgentCardRequest()
        timeout_s = min(TIMEOUT_S, self._contact.settings.timeout_s)
        retry = Once(self._contact, within_s=timeout_s)
        try:
            card: AgentCard = await unary("GetExtendedAgentCard", request, retry=retry)
        except (A2AError, ConfigurationError) as error:
            # The call that is about to be made reports a connection or credentials that do not work.
            self._is_known = isinstance(error, A2AError) and not isinstance(error, ConnectionLostError)
            return self._unused(type(error).__name__)
        self._is_known = True
        if missing := missing_fields(card):
            return self._unused(f"{', '.join(missing[:MAX_NAMED])} is missing")
        self._card, self._version = card, public.version
        self._contact.connection.replace_card(card)
        return None

    def _unused(self, problem: str) -> None:
        logger.info("extended card not used agent=%s problem=%s", self._contact.connection.target, problem)
