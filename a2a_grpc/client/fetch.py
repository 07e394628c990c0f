"""Agent cards over HTTP, kept for as long as their servers say (RFC 9111, spec §8.6.2)."""

import errno
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from a2a_grpc.address import is_loopback, join_address
from a2a_grpc.client.card import MAX_REASON_CHARS, read_card
from a2a_grpc.client.errors import AgentCardError, UnreachableError
from a2a_grpc.client.page import fetch_page
from a2a_grpc.client.probe import accepts_tls
from a2a_grpc.client.target import Address, CardFile, CardUrl, shown
from a2a_grpc.config import ConfigurationError
from a2a_grpc.masking import mask_url
from a2a_grpc.wire import AgentCard

DEFAULT_MAX_AGE_S = 60.0
"""Seconds for which a card is fresh if its server does not say it (spec §8.6.2)."""

TLS_TIMEOUT_S = 1.0
"""Seconds to find out if a peer that does not speak HTTP speaks TLS."""


@dataclass(slots=True)
class Kept:
    """A card, and how long it is fresh."""

    card: AgentCard
    max_age_s: float
    fresh_until: float
    validators: dict[str, str]


class Cards:
    """Agent cards that several clients share: `connect(…, cards=cards)`. Use it in an `async with` block.

    A card that is fresh costs no request. A card that is not fresh is fetched only if it has changed (spec §8.6.2). An
    object belongs to one event loop.

    Args:
        timeout_s: Seconds to fetch a card.
        ca_cert: PEM file with the root certificates to trust; None for those of the system.

    Attributes:
        problems: For each card that was read, the members that were left out because they break the protocol.
    """

    def __init__(self, *, timeout_s: float = 5.0, ca_cert: str | None = None) -> None:
        self._timeout_s = timeout_s
        self._ca_cert = ca_cert
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

    async def load(self, where: CardUrl | CardFile) -> AgentCard:
        """Return the card at a place. The card is not checked.

        Args:
            where: The place of the card, as the client has read it from its target.

        Raises:
            AgentCardError: There is no card.
            UnreachableError: The server of the card does not answer.
        """
        if isinstance(where, CardFile):
            return read_card_file(where.path, self._problems_of(where))
        kept = self._kept.get(where.url)
        if kept is not None and time.monotonic() < kept.fresh_until:
            return kept.card
        import aiohttp  # here, as calls by address do without it

        try:
            return await self._fetch(where, kept)
        except (aiohttp.ClientError, aiohttp.http.HttpProcessingError, EOFError, TimeoutError) as error:
            babbled = isinstance(
                error, (aiohttp.ServerDisconnectedError, aiohttp.ClientResponseError, aiohttp.ClientOSError)
            )
            was_connected = not isinstance(error, aiohttp.ClientConnectorError)
            if babbled and was_connected and where.url.startswith("http:") and await speaks_tls(where):
                raise UnreachableError(f"{where} speaks TLS, and was called in plaintext; is it https://?") from None
            raise UnreachableError(_why(error, where, self._timeout_s)) from None  # aiohttp's own text has the URL
        except ConfigurationError:
            raise
        except (ValueError, OSError) as error:  # a name that cannot be one, a header that cannot be
            raise UnreachableError(f"the card at {where} cannot be had: {mask_url(str(error))}") from None

    async def _fetch(self, where: CardUrl, kept: Kept | None) -> AgentCard:
        headers = kept.validators if kept else {}
        page = await fetch_page(
            self._session(where), where.url, headers, tls=trusting(self._ca_cert), timeout_s=self._timeout_s
        )
        told = page.headers
        max_age_s = lifetime_s(told)
        if page.status == 304 and kept is not None:
            kept.max_age_s = kept.max_age_s if max_age_s is None else max_age_s
            kept.fresh_until = time.monotonic() + kept.max_age_s
            return kept.card
        if page.status != 200:
            raise AgentCardError(f"{where} answers {page.status} {page.reason[:MAX_REASON_CHARS]}; there is no card")
        card = read_card(decoded(page.content, told), str(where), self._problems_of(where))
        self._kept.pop(where.url, None)
        if "no-store" not in directives(told):
            pairs = (("If-None-Match", "ETag"), ("If-Modified-Since", "Last-Modified"))
            validators = {ask: told[tell] for ask, tell in pairs if is_plain(told.get(tell, ""))}
            max_age_s = DEFAULT_MAX_AGE_S if max_age_s is None else max_age_s
            self._kept[where.url] = Kept(card, max_age_s, time.monotonic() + max_age_s, validators)
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


def _why(error: Exception, where: CardUrl, timeout_s: float) -> str:
    """Return a sentence about a failed request that says what to do."""
    import aiohttp

    match error:
        case aiohttp.ClientConnectorCertificateError():
            return (
                f"the certificate of {where} is not accepted: {error.certificate_error}; "
                "give its roots as ca_cert (--ca-cert)"
            )
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, socket.gaierror):
            return f"there is no host '{where.host}'; check the name in {where}"
        case aiohttp.ClientConnectorSSLError():
            return f"the server at {_place(where)} does not speak TLS; try http:// in place of https:// in {where}"
        case aiohttp.ClientConnectorError() if error.os_error.errno == errno.ECONNREFUSED:
            return f"nothing listens at {where}; check the port, and that the agent is running"
        case aiohttp.ClientConnectorError():
            return f"{where} cannot be reached: {error.os_error.strerror}"
        case TimeoutError():
            return f"{where} does not answer within {timeout_s:g} s"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientResponseError() | aiohttp.ClientOSError():
            place = _place(where)
            return (
                f"the server at {place} does not speak HTTP; if this is the gRPC port of the agent, give its address "
                f"without http:// (--agent {place})"
            )
    return f"the card at {where} cannot be had: {mask_url(str(error)) or type(error).__name__}"


def _place(where: CardUrl) -> str:
    """Return the host and the port of a URL."""
    parts = urlsplit(where.url)
    return join_address(where.host, parts.port or (443 if parts.scheme == "https" else 80))


async def speaks_tls(where: CardUrl) -> bool:
    """Return True if the server speaks TLS, although its URL says plaintext."""
    address = Address(where.url, where.host, urlsplit(where.url).port or 80, None)
    return await accepts_tls(address, TLS_TIMEOUT_S)


def trusting(ca_cert: str | None) -> ssl.SSLContext:
    """Return a TLS context with these root certificates, or those of the system.

    Raise ConfigurationError if they cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=ca_cert)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(f"cannot read ca_cert '{ca_cert}': {error.strerror or error}") from error


def decoded(content: bytes, headers: Any) -> bytes | str:
    """Return the text of a page that is not UTF-8, as its Content-Type says. Return any other page as it is."""
    charset = str(headers.get("Content-Type", "")).lower().partition("charset=")[2].split(";")[0].strip(' "')
    try:
        content.decode()
    except UnicodeDecodeError:
        with suppress(LookupError, UnicodeDecodeError):
            return content.decode(charset) if charset else content
    return content


def read_card_file(path: str, problems: list[str] | None = None) -> AgentCard:
    """Return the card in a file. Raise AgentCardError, which names the path."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        # The error of the system names the path, which may be a URL with a secret.
        without_path = OSError(error.errno, error.strerror)
        raise AgentCardError(f"cannot read the card '{shown(path)}': {error.strerror}") from without_path
    except ValueError as error:  # no path at all, such as one with a NUL
        raise AgentCardError(f"cannot read the card '{shown(path)}': {error}") from None
    return read_card(content, shown(path), problems)


def is_plain(text: str) -> bool:
    """Return True for a header's value that can be sent back."""
    return bool(text) and text.isascii() and text.isprintable()


def directives(headers: Any) -> dict[str, str]:
    """Return the directives of all Cache-Control headers, in small letters."""
    items = ",".join(headers.getall("Cache-Control", [])).split(",")
    return {name.strip().lower(): argument.strip(' "') for name, _, argument in (item.partition("=") for item in items)}


def lifetime_s(headers: Any) -> float | None:
    """Return the seconds for which a response stays fresh; None if it does not say it.

    These are `max-age` less `Age`, or `Expires` less `Date`.
    """
    told = directives(headers)
    if "no-cache" in told or "no-store" in told:
        return 0.0
    if (age := told.get("max-age", "")).isdecimal():
        spent = headers.get("Age", "0")
        return max(0.0, float(age) - (float(spent) if spent.isdecimal() else 0.0))
    if "Expires" in headers:
        try:
            expires = parsedate_to_datetime(headers["Expires"])
            begun = parsedate_to_datetime(headers["Date"]).timestamp() if "Date" in headers else time.time()
            return max(0.0, expires.timestamp() - begun)
        except (ValueError, TypeError, OverflowError, OSError):
            return 0.0  # an Expires that is no date means: already expired
    return None
