"""Agent cards over HTTP, kept for as long as their servers say (RFC 9111, spec §8.6.2)."""

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from a2a_grpc.address import is_loopback
from a2a_grpc.client.card_source import read_card_file, read_card_page
from a2a_grpc.client.credentials import entries_of, refuse
from a2a_grpc.client.errors import UnreachableError
from a2a_grpc.client.fresh import directives, lifetime_s, validators_of
from a2a_grpc.client.guarded import ASKING, Entries, may_show, refusal
from a2a_grpc.client.page import Page, fetch_page
from a2a_grpc.client.security import Given, all_of
from a2a_grpc.client.target import CardFile, CardUrl
from a2a_grpc.client.trust import trusting
from a2a_grpc.client.unfetched import unreachable
from a2a_grpc.masking import mask_url
from a2a_grpc.wire import AgentCard

DEFAULT_MAX_AGE_S = 60.0
"""Seconds for which a card is fresh if its server does not say it (spec §8.6.2)."""


@dataclass(slots=True)
class Kept:
    """A card, and how long it is fresh."""

    card: AgentCard
    max_age_s: float
    fresh_until: float
    validators: dict[str, str]
    shown: Entries
    """The credentials that the card was fetched with. The card is for callers that have them only."""


class Cards:
    """Agent cards that several clients share: `connect(…, cards=cards)`. Use it in an `async with` block.

    A card that is fresh costs no request. A card that is not fresh is fetched only if it has changed (spec §8.6.2). An
    object belongs to one event loop.

    A card is fetched without credentials. If its server asks for credentials (401, 403), or says that there is no card
    (404), the card is fetched once more with those of the caller. They go to the scheme, host and port of the URL only,
    with TLS or to this machine. A card that was fetched so is kept for callers with the same credentials.

    Args:
        timeout_s: Seconds to fetch a card.
        ca_cert: PEM file with the root certificates to trust; None for those of the system.
        client_cert: PEM file with the certificate chain to show to a server that asks for one; None for none.
        client_key: PEM file with the private key of the certificate.

    Attributes:
        problems: For each card that was read, the members that were left out because they break the protocol.
    """

    def __init__(
        self,
        *,
        timeout_s: float = 5.0,
        ca_cert: str | None = None,
        client_cert: str | None = None,
        client_key: str | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._ca_cert = ca_cert
        self._client_cert = client_cert
        self._client_key = client_key
        self._kept: dict[str, Kept] = {}
        self.problems: dict[CardUrl | CardFile, list[str]] = {}
        self._sessions: dict[bool, Any] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the HTTP connections. The cards stay. The block calls this."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def load(self, where: CardUrl | CardFile, credentials: Given | None = None) -> AgentCard:
        """Return the card at a place. The card is not checked.

        Args:
            where: The place of the card, as the client has read it from its target.
            credentials: Credentials for a server that asks for some, as `connect` takes them.

        Raises:
            AgentCardError: There is no card.
            UnreachableError: The server of the card does not answer.
            UnauthenticatedError: The server asks for credentials, or does not accept those that were given.
            PermissionDeniedError: The server says that the credentials do not cover the card.
            ConfigurationError: The credentials would go over plaintext to another machine, or are not complete.
        """
        if isinstance(where, CardFile):
            return read_card_file(where.path, self._problems_of(where))
        kept = self._kept.get(where.url)
        if kept is not None and kept.shown and kept.shown != await entries_of(all_of(credentials)):
            kept = None  # it is the card of another caller
        if kept is not None and time.monotonic() < kept.fresh_until:
            return kept.card
        shown = kept.shown if kept is not None else {}
        page = await self._page(where, kept.validators if kept is not None else {}, shown)
        if page.status in ASKING and credentials and may_show(where, page):
            refuse(all_of(credentials), shown.values())
            page, shown = await self._shown_page(where, page, shown, credentials)
        if page.status == 304 and kept is not None:
            max_age_s = lifetime_s(page.headers)
            kept.max_age_s = kept.max_age_s if max_age_s is None else max_age_s
            kept.fresh_until = time.monotonic() + kept.max_age_s
            return kept.card
        if page.status != 200:
            raise refusal(where, page, has_shown=bool(shown))
        return self._read(where, page, shown)

    async def _shown_page(self, where: CardUrl, page: Page, shown: Entries, credentials: Given) -> tuple[Page, Entries]:
        """Return the page for a caller with credentials, and the credentials.

        The server has answered with `page` to `shown`. If it refuses credentials that can be renewed, the renewed ones
        are shown once.
        """
        for _ in range(2):
            entries = await entries_of(all_of(credentials))
            if entries == shown:
                break
            page, shown = await self._page(where, {}, entries), entries
            if page.status != 401:
                break
            refuse(all_of(credentials), shown.values())
        return page, shown

    async def _page(self, where: CardUrl, validators: dict[str, str], shown: Entries) -> Page:
        """Return the response of the server of a card. Raise UnreachableError, which says why there is none."""
        import aiohttp  # here, as calls by address do without it

        tls = trusting(self._ca_cert, self._client_cert, self._client_key)
        try:
            return await fetch_page(
                self._session(where), where.url, validators, secrets=shown, tls=tls, timeout_s=self._timeout_s
            )
        except (aiohttp.ClientError, aiohttp.http.HttpProcessingError, EOFError, TimeoutError) as error:
            raise await unreachable(error, where, self._timeout_s, self._client_cert) from None
        except (ValueError, OSError) as error:  # a name that cannot be one, a header that cannot be
            raise UnreachableError(f"the card at {where} cannot be had: {mask_url(str(error))}") from None

    def _read(self, where: CardUrl, page: Page, shown: Entries) -> AgentCard:
        """Return the card of a page. Keep the card, if its server allows that."""
        headers = page.headers
        card = read_card_page(page.content, headers, str(where), self._problems_of(where))
        self._kept.pop(where.url, None)
        if "no-store" not in directives(headers):
            max_age_s = lifetime_s(headers)
            max_age_s = DEFAULT_MAX_AGE_S if max_age_s is None else max_age_s
            self._kept[where.url] = Kept(card, max_age_s, time.monotonic() + max_age_s, validators_of(headers), shown)
        return card

    def _problems_of(self, where: CardUrl | CardFile) -> list[str]:
        """Return the list for the problems of a card that is about to be read."""
        self.problems[where] = []
        return self.problems[where]

    def _session(self, where: CardUrl) -> Any:
        """Return the HTTP session for other machines, or that for this one, which uses no proxies."""
        import aiohttp

        is_local = is_loopback(where.host)
        if is_local not in self._sessions:
            self._sessions[is_local] = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                auto_decompress=False,
                trust_env=not is_local,
            )
        return self._sessions[is_local]
