"""Agent cards over HTTP, kept as long as their servers say (RFC 9111, CARD-4)."""

import asyncio
import errno
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from a2a_grpc.address import is_loopback
from a2a_grpc.client.card import read_card
from a2a_grpc.client.errors import AgentCardError, UnreachableError
from a2a_grpc.client.target import CardFile, CardUrl
from a2a_grpc.wire import AgentCard

DEFAULT_MAX_AGE_S = 60.0
"""How long a card is fresh whose server does not say (CARD-4)."""

MAX_CARD_BYTES = 1 << 20


@dataclass(slots=True)
class Kept:
    """A card with what its server said of it."""

    card: AgentCard
    fresh_until: float
    validators: dict[str, str]


class Cards:
    """Fetches cards and keeps them: a fresh one costs no request, a stale one is asked for with its validators.

    Belongs to one event loop.
    """

    def __init__(self, *, timeout_s: float = 5.0, ca_cert: str | None = None) -> None:
        self._timeout_s = timeout_s
        self._ca_cert = ca_cert
        self._kept: dict[str, Kept] = {}
        self._session: Any = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the HTTP connections; kept cards stay."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def load(self, where: CardUrl | CardFile) -> AgentCard:
        """The card, as it was published: not checked. Raises AgentCardError or UnreachableError, naming where."""
        if isinstance(where, CardFile):
            return read_card_file(where.path)
        kept = self._kept.get(where.url)
        if kept is not None and time.monotonic() < kept.fresh_until:
            return kept.card
        return await self._fetch(where, kept)

    async def _fetch(self, where: CardUrl, kept: Kept | None) -> AgentCard:
        import aiohttp  # here, as calls by address do without it

        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                headers={"Accept": "application/json"},
                trust_env=not is_loopback(where.host),
            )
        context = ssl.create_default_context(cafile=self._ca_cert) if where.url.startswith("https:") else None
        try:
            async with self._session.get(
                where.url, headers=kept.validators if kept else {}, ssl=context or True
            ) as response:
                if response.status == 304 and kept is not None:
                    kept.fresh_until = time.monotonic() + max_age_s(response.headers)
                    return kept.card
                if response.status != 200:
                    raise AgentCardError(f"{where.url} answers {response.status} {response.reason}; there is no card")
                content = await response.content.read(MAX_CARD_BYTES + 1)
                while len(content) <= MAX_CARD_BYTES and (more := await response.content.read(MAX_CARD_BYTES)):
                    content += more
        except aiohttp.ClientConnectorCertificateError as error:
            raise UnreachableError(
                f"the certificate of {where.url} is not accepted: {error.certificate_error}; "
                "give its roots as ca_cert (--ca-cert)"
            ) from error
        except aiohttp.ClientConnectorDNSError as error:
            raise UnreachableError(f"there is no host '{where.host}'; check the name of {where.url}") from error
        except aiohttp.ClientConnectorSSLError as error:
            raise UnreachableError(f"{where.url} does not speak TLS; is it http://?") from error
        except aiohttp.ClientConnectorError as error:
            if error.os_error.errno == errno.ECONNREFUSED:
                raise UnreachableError(
                    f"nothing listens at {where.url}; check the port, and that the agent is running"
                ) from error
            raise UnreachableError(f"{where.url} cannot be reached: {error.os_error.strerror}") from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientResponseError) as error:
            raise UnreachableError(
                f"{where.url} does not speak HTTP; an agent's gRPC port is called as HOST:PORT or grpc://"
            ) from error
        except aiohttp.ClientError as error:
            raise UnreachableError(f"the card at {where.url} cannot be had: {error or type(error).__name__}") from error
        except (TimeoutError, asyncio.IncompleteReadError):
            raise UnreachableError(f"{where.url} does not answer within {self._timeout_s:g} s") from None
        if len(content) > MAX_CARD_BYTES:
            raise AgentCardError(f"the card at {where.url} has more than {MAX_CARD_BYTES} bytes")
        card = read_card(content, where.url)
        if "no-store" not in response.headers.get("Cache-Control", ""):
            pairs = (("If-None-Match", "ETag"), ("If-Modified-Since", "Last-Modified"))
            validators = {ask: response.headers[tell] for ask, tell in pairs if tell in response.headers}
            self._kept[where.url] = Kept(card, time.monotonic() + max_age_s(response.headers), validators)
        return card


def read_card_file(path: str) -> AgentCard:
    """Raises AgentCardError, naming the path."""
    try:
        return read_card(Path(path).read_bytes(), path)
    except OSError as error:
        raise AgentCardError(f"cannot read the card '{path}': {error.strerror}") from error


def max_age_s(headers: Any) -> float:
    """How long a response stays fresh: `max-age` less `Age`, else `Expires` less `Date`, else a minute."""
    directives = {
        name.strip().lower(): value.strip(' "')
        for name, _, value in (item.partition("=") for item in headers.get("Cache-Control", "").split(","))
    }
    if "no-cache" in directives or "no-store" in directives:
        return 0.0
    if (age := directives.get("max-age", "")).isdecimal():
        spent = headers.get("Age", "0")
        return max(0.0, float(age) - (float(spent) if spent.isdecimal() else 0.0))
    if "Expires" in headers:
        try:
            expires = parsedate_to_datetime(headers["Expires"])
            begun = parsedate_to_datetime(headers["Date"]).timestamp() if "Date" in headers else time.time()
        except ValueError:
            return 0.0  # an Expires that is no date means: already expired
        return max(0.0, expires.timestamp() - begun)
    return DEFAULT_MAX_AGE_S
