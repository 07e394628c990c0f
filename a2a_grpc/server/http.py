"""The HTTP listener: the agent card, which gRPC has no method for, with the probes."""

import hashlib
import json
import ssl
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from functools import lru_cache

from aiohttp import web
from google.protobuf import json_format

from a2a_grpc.listening.acceptor import Acceptor
from a2a_grpc.listening.ports import bound
from a2a_grpc.protocol import CARD_PATH
from a2a_grpc.server.published import asked_host, card_at
from a2a_grpc.wire import AgentCard

CARD_PATHS = (CARD_PATH, "/.well-known/agent-card", "/agent-card", "/.well-known/agent.json")
"""The well-known path of the specification (§8.2), then what older clients ask for."""

KNOWN_HOSTS = 64
"""Hosts whose card is remembered."""


class HttpListener:
    """Serves the card with its validators, `/livez` (the process can serve) and `/readyz` (it takes work).

    The bytes of the card are made once; its ETag is a hash of them (CARD-3, CARD-6). A card that names the host that it
    is asked at is made once for each of the last KNOWN_HOSTS.
    """

    def __init__(
        self,
        card: AgentCard,
        *,
        max_age_s: int,
        is_alive: Callable[[], bool],
        is_ready: Callable[[], Awaitable[bool]],
        names_asked_host: bool = False,
    ) -> None:
        self._public = card
        self._names_asked_host = names_asked_host
        self._made = lru_cache(KNOWN_HOSTS)(self._make)
        self._common = {"Cache-Control": f"public, max-age={max_age_s}", "Last-Modified": formatdate(usegmt=True)}
        self._is_alive = is_alive
        self._is_ready = is_ready
        self._acceptor: Acceptor | None = None
        application = web.Application()
        for path in CARD_PATHS:
            application.router.add_get(path, self._card)
        application.router.add_get("/livez", self._alive)
        application.router.add_get("/readyz", self._ready)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)

    async def start(
        self, host: str, port: int, *, tls: Callable[[], ssl.SSLContext] | None, reuse_port: bool = False, limit: int
    ) -> int:
        """Begin to listen; at most `limit` connections are kept. Return the real port. Raises OSError for an address
        that cannot be had."""
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        sockets = await bound(host, port, reuse_port=reuse_port)

        def give_up() -> None:
            if oldest := next((one for one in server.connections if one.transport is not None), None):
                oldest.force_close()  # it has no transport from now on, and leaves the list in a moment

        self._acceptor = Acceptor(
            server,
            limit=limit,
            count=lambda: sum(one.transport is not None for one in server.connections),
            give_up=give_up,
        )
        self._acceptor.start(sockets, tls)
        return int(sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening, end the connections."""
        if self._acceptor is not None:
            await self._acceptor.stop()
        await self._runner.cleanup()

    async def _card(self, request: web.Request) -> web.Response:
        body, headers = self._made(self._host(request))
        etag = headers["ETag"]
        asked = [item.strip().removeprefix("W/") for item in request.headers.get("If-None-Match", "").split(",")]
        if etag in asked or "*" in asked:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type="application/json", headers=headers)

    def _host(self, request: web.Request) -> str:
        """Return the host that the card has to name; "" for the one that it names itself."""
        if not self._names_asked_host:
            return ""
        if host := asked_host(request.headers.get("Host", "")):
            return host
        socket = request.transport.get_extra_info("sockname") if request.transport else None
        return str(socket[0]).removeprefix("::ffff:") if socket else ""

    def _make(self, host: str) -> tuple[bytes, dict[str, str]]:
        """Return the bytes of the card at a host, with the headers of the response."""
        card = card_at(self._public, host) if host else self._public
        body = json.dumps(json_format.MessageToDict(card), ensure_ascii=False, indent=2).encode()
        return body, {"ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"', **self._common}

    async def _alive(self, request: web.Request) -> web.Response:
        alive = self._is_alive()
        return web.Response(text="ok\n" if alive else "failed\n", status=200 if alive else 503)

    async def _ready(self, request: web.Request) -> web.Response:
        ready = await self._is_ready()
        return web.Response(text="ready\n" if ready else "not ready\n", status=200 if ready else 503)
