"""The HTTP port of a sentinel: cards, the registry, catalogs, and probes."""

import json
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlencode

from aiohttp import web

from a2a_grpc.address import join_address, split_address
from a2a_grpc.agent.card import card_json
from a2a_grpc.deadlines import time_limit
from a2a_grpc.errors import InvalidRequestError, UnimplementedError, Violation
from a2a_grpc.listening.descriptors import shares
from a2a_grpc.listening.http import HttpPort, add_metrics, add_probes, asked_host, document, etag_of
from a2a_grpc.listening.tls import TlsFiles
from a2a_grpc.offload import offload
from a2a_grpc.principal import Principal
from a2a_grpc.protocol import CARD_PATH
from a2a_grpc.sentinel.directory import Directory, Listing
from a2a_grpc.sentinel.http_callers import HttpCallers
from a2a_grpc.sentinel.http_catalog import (
    CATALOG_TYPE,
    JsonObject,
    ai_catalog,
    ard_manifest,
    entry_of,
    is_identifier,
    name_of,
    plain_list,
)
from a2a_grpc.sentinel.http_errors import NOT_ATTACHED, in_json
from a2a_grpc.sentinel.http_search import page_size, query_of, search
from a2a_grpc.sentinel.settings import SentinelSettings
from a2a_grpc.telemetry.prometheus import Scrape

MAX_BODY_BYTES = 64 << 10
"""The largest size of the body of a search."""
BODY_S = 10.0
"""Seconds in which the body of a request has to come."""
CATALOG_AGENTS = 500
"""Agents of one catalog, or of one plain list. Further ones have a page of their own."""
ENTRY_BYTES = 1 << 10
"""The size of an entry of a catalog, about."""


class SentinelHttp(HttpPort):
    """Serves HTTP for a sentinel.

    Guarantees:

    - A card has the bytes that its agent has sent.
    - A caller sees the agents that it may call. With authenticators, callers without credentials see only the probes
      and, if they are shown, the metrics.
    - An agent that does not exist and one that the caller may not call have one answer.

    Args:
        directory: The agents.
        callers: Identifies the callers.
        public_url: The URL at which clients reach this port; empty if that is the host that each request names.
        is_tls: True if the port uses TLS.
        card_max_age_s: Seconds that clients may cache a card.
        is_alive: Returns False if only a restart helps.
        is_ready: Returns True if the sentinel accepts calls.
        scrape: The metrics; None if they are not shown.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        callers: HttpCallers,
        public_url: str,
        is_tls: bool,
        card_max_age_s: int,
        is_alive: Callable[[], bool],
        is_ready: Callable[[], Awaitable[bool]],
        scrape: Scrape | None = None,
    ) -> None:
        self._directory = directory
        self._callers = callers
        self._public_url = public_url.rstrip("/")
        self._scheme = "https" if is_tls else "http"
        self._card_max_age_s = card_max_age_s
        application = web.Application(middlewares=[in_json], client_max_size=MAX_BODY_BYTES)
        add_metrics(application, scrape)
        add_probes(application, is_alive=is_alive, is_ready=is_ready)
        for method, path, serve in (
            ("GET", f"/agents/{{name:.+}}{CARD_PATH}", self._card),
            ("GET", "/registry/agents", self._plain_list),
            ("GET", "/.well-known/ai-catalog.json", self._ai_catalog),
            ("GET", "/.well-known/ard.json", self._ard_manifest),
            ("GET", "/agents", self._list),
            ("GET", "/agents/{identifier}", self._entry),
            ("POST", "/search", self._search),
            ("POST", "/explore", self._explore),
        ):
            name = f"{method} {path.replace(':.+', '')}"
            handler = callers.guarded(name, serve)
            if method == "GET":
                application.router.add_get(path, handler)
            else:
                application.router.add_post(path, handler)
        super().__init__(application)

    async def _card(self, request: web.Request, caller: Principal) -> web.Response:
        listing = await self._found(caller, request.match_info["name"])
        body = listing.body or card_json(listing.card)
        headers = self._callers.caching(f"max-age={self._card_max_age_s}")
        return document(request, body, {"ETag": etag_of(body), **headers})

    async def _entry(self, request: web.Request, caller: Principal) -> web.Response:
        identifier = request.match_info["identifier"]
        if not is_identifier(identifier):
            said = "must be urn:air:DOMAIN:a2a:NAME, with each of the signs outside of letters and digits escaped"
            raise InvalidRequestError.of(Violation("identifier", said))
        base = self._base(request)
        return self._json(request, entry_of(base, await self._found(caller, name_of(base, identifier))))

    async def _plain_list(self, request: web.Request, caller: Principal) -> web.Response:
        return await self._catalog(request, caller, plain_list)

    async def _ai_catalog(self, request: web.Request, caller: Principal) -> web.Response:
        return await self._catalog(request, caller, ai_catalog, CATALOG_TYPE)

    async def _ard_manifest(self, request: web.Request, caller: Principal) -> web.Response:
        return await self._catalog(request, caller, ard_manifest)

    async def _list(self, request: web.Request, caller: Principal) -> web.Response:
        for name in request.query:
            if name not in ("pageSize", "pageToken"):
                raise InvalidRequestError.of(Violation(name[:64], "is not supported; search with POST /search"))
        size, token = page_size(request.query.get("pageSize")), request.query.get("pageToken", "")
        listings, token = await self._directory.find(caller, token=token, limit=size)
        base = self._base(request)
        answer: JsonObject = {"items": [entry_of(base, listing) for listing in listings]}
        return self._json(request, answer | ({"pageToken": token} if token else {}))

    async def _search(self, request: web.Request, caller: Principal) -> web.Response:
        try:
            async with time_limit(BODY_S):
                query = query_of(await request.read())
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        base = self._base(request)
        results, token = await search(self._directory, caller, query, base)
        answer: JsonObject = {"results": results}
        if query.wants_referrals:
            answer["referrals"] = []
        return self._json(request, answer | ({"pageToken": token} if token else {}))

    async def _explore(self, request: web.Request, caller: Principal) -> web.Response:
        raise UnimplementedError("this registry does not explore; search with POST /search")

    async def _found(self, caller: Principal, name: str) -> Listing:
        listing = await self._directory.at(caller, name) if name else None
        if listing is None:
            raise web.HTTPNotFound(reason=NOT_ATTACHED)
        return listing

    async def _catalog(
        self,
        request: web.Request,
        caller: Principal,
        make: Callable[[str, Sequence[Listing], str], object],
        content_type: str = "application/json",
    ) -> web.Response:
        """Return one page of a catalog.

        `make` gets the URL of this port, the agents of the page, and the URL of the next page.
        """
        base = self._base(request)
        token = request.query.get("pageToken", "")
        listings, token = await self._directory.find(caller, token=token, limit=CATALOG_AGENTS)
        next_url = f"{base}{request.path}?{urlencode({'pageToken': token})}" if token else ""
        body = await offload(len(listings) * ENTRY_BYTES, lambda: _encoded(make(base, listings, next_url)))
        headers = self._callers.caching("no-cache")
        if next_url:
            headers["Link"] = f'<{next_url}>; rel="next"'
        return document(request, body, {"ETag": etag_of(body), **headers}, content_type)

    def _json(self, request: web.Request, answer: object) -> web.Response:
        body, headers = _encoded(answer), self._callers.caching("no-cache")
        if request.method == "POST":
            return web.Response(body=body, content_type="application/json", headers=headers)
        return document(request, body, {"ETag": etag_of(body), **headers})

    def _base(self, request: web.Request) -> str:
        """Return the URL of this port, without a slash at its end."""
        if self._public_url:
            return self._public_url
        header = request.headers.get("Host", "")
        if asked_host(header):
            return f"{self._scheme}://{header.lower()}"
        socket = request.transport.get_extra_info("sockname") if request.transport else None
        place = join_address(str(socket[0]).removeprefix("::ffff:"), int(socket[1])) if socket else "localhost"
        return f"{self._scheme}://{place}"


async def served(
    directory: Directory,
    callers: HttpCallers,
    settings: SentinelSettings,
    tls: TlsFiles | None,
    *,
    is_alive: Callable[[], bool],
    is_ready: Callable[[], Awaitable[bool]],
    scrape: Scrape | None = None,
) -> tuple[str, SentinelHttp]:
    """Listen for HTTP. Return the URL, without a path, and the port.

    Args:
        directory: The agents.
        callers: Identifies the callers.
        settings: The settings of the sentinel.
        tls: The TLS files; None for plaintext.
        is_alive: Returns False if only a restart helps.
        is_ready: Returns True if the sentinel accepts calls.
        scrape: The metrics; None if they are not shown.

    Raises:
        ListenError: The address cannot be listened on.
    """
    http = SentinelHttp(
        directory,
        callers=callers,
        public_url=settings.public_url,
        is_tls=tls is not None,
        card_max_age_s=settings.card_max_age_s,
        is_alive=is_alive,
        is_ready=is_ready,
        scrape=scrape,
    )
    host, port = split_address("http_listen", settings.http_listen)
    limit = shares(1, settings.max_connections).http
    address = await http.start(host, port, limit=limit, tls=(lambda: tls.http_asking) if tls else None)
    return f"{'https' if tls else 'http'}://{address}", http


def _encoded(answer: object) -> bytes:
    return json.dumps(answer, ensure_ascii=False).encode()


__all__ = ["HttpCallers", "SentinelHttp", "served"]
