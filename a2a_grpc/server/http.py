"""The HTTP port of a server, with the agent card, for which gRPC has no method, and the probes."""

from collections.abc import Awaitable, Callable
from email.utils import formatdate
from functools import lru_cache

from aiohttp import web

from a2a_grpc.agent.card import card_json
from a2a_grpc.listening.http import HttpPort, add_metrics, add_probes, asked_host, document, etag_of
from a2a_grpc.protocol import CARD_PATH
from a2a_grpc.push.signing import JWKS_PATH
from a2a_grpc.server.published import card_at
from a2a_grpc.telemetry.prometheus import Scrape
from a2a_grpc.wire import AgentCard

CARD_PATHS = (CARD_PATH, "/.well-known/agent-card", "/agent-card", "/.well-known/agent.json")
"""The well-known path of the specification (§8.2), and the path that older clients use."""

KNOWN_HOSTS = 64
"""The number of hosts whose cards are remembered."""


class CardPort(HttpPort):
    """Serves the card with its validators, the public keys of notifications, the metrics, and the probes.

    The probes are `/livez` (the process can serve) and `/readyz` (the server accepts calls).

    The bytes of the card are made once, and its ETag is a hash of them (CARD-3, CARD-6). If the card names the host of
    the request, it is made once for each of the last KNOWN_HOSTS hosts.
    """

    def __init__(
        self,
        card: AgentCard,
        *,
        max_age_s: int,
        is_alive: Callable[[], bool],
        is_ready: Callable[[], Awaitable[bool]],
        names_asked_host: bool = False,
        jwks: bytes | None = None,
        scrape: Scrape | None = None,
    ) -> None:
        self._public = card
        self._names_asked_host = names_asked_host
        self._made = lru_cache(KNOWN_HOSTS)(self._make)
        self._common = {"Cache-Control": f"public, max-age={max_age_s}", "Last-Modified": formatdate(usegmt=True)}
        application = web.Application()
        for path in CARD_PATHS:
            application.router.add_get(path, self._card)
        if jwks is not None:
            self._jwks = jwks, {"ETag": etag_of(jwks), **self._common}
            application.router.add_get(JWKS_PATH, self._keys)
        add_metrics(application, scrape)
        add_probes(application, is_alive=is_alive, is_ready=is_ready)
        super().__init__(application)

    async def _card(self, request: web.Request) -> web.Response:
        return document(request, *self._made(self._host(request)))

    async def _keys(self, request: web.Request) -> web.Response:
        return document(request, *self._jwks)

    def _host(self, request: web.Request) -> str:
        """Return the host that the card has to name, or "" if the card keeps its own."""
        if not self._names_asked_host:
            return ""
        if host := asked_host(request.headers.get("Host", "")):
            return host
        socket = request.transport.get_extra_info("sockname") if request.transport else None
        return str(socket[0]).removeprefix("::ffff:") if socket else ""

    def _make(self, host: str) -> tuple[bytes, dict[str, str]]:
        """Return the bytes of the card at a host, with the headers of the response."""
        card = card_at(self._public, host) if host else self._public
        body = card_json(card)
        return body, {"ETag": etag_of(body), **self._common}
