"""A small authorization server for tests: it records each request, and answers as a test tells it."""

import asyncio
import base64
import json
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote_plus

from aiohttp import web

CLIENT_ID = "worker:1"
"""With a character that has to be escaped in the header."""
CLIENT_SECRET = "s3cr3t-canary+/%"

Answer = tuple[int, dict[str, Any]] | web.Response


@dataclass(slots=True)
class Asked:
    """One request: its path, its form, and the id and secret of the client in its header."""

    path: str
    form: dict[str, str] = field(default_factory=dict)
    basic: tuple[str, str] | None = None


def jwt(**claims: Any) -> str:
    """Return a text that has the form of a JWT with these claims, and no valid signature."""

    def part(content: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'RS256'})}.{part(claims)}.c2ln"


class Authority:
    """An authorization server on a free port. The token endpoint gives `token-1`, `token-2` and so on.

    Attributes:
        requests: The requests to the token endpoint and the device endpoint.
        metadata_requests: The paths of the requests for metadata.
        answers: The answers to the next requests, one after the other; then tokens are given.
        held: If it is set, requests wait for it.
        lifetime_s: `expires_in` of the tokens; None to leave it out.
        methods: The ways of showing a secret that are accepted.
    """

    def __init__(self, *, tls: Any = None) -> None:
        self.requests: list[Asked] = []
        self.metadata_requests: list[str] = []
        self.answers: list[Answer] = []
        self.metadata: dict[str, Any] = {}
        self.held: asyncio.Event | None = None
        self.lifetime_s: float | None = 3600
        self.methods = {"client_secret_basic", "client_secret_post"}
        self.given = 0
        self.issuer = ""
        self.page = ""
        self._tls = tls
        self._runner: web.AppRunner

    @property
    def token_url(self) -> str:
        return f"{self.issuer}/token"

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post("/token", self._token)
        application.router.add_post("/device", self._device)
        application.router.add_get("/{path:.*}", self._metadata)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        self.issuer = f"{'https' if self._tls else 'http'}://127.0.0.1:{self._runner.addresses[0][1]}"
        self.metadata = {
            "issuer": self.issuer,
            "token_endpoint": self.token_url,
            "device_authorization_endpoint": f"{self.issuer}/device",
        }
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.held is not None:
            self.held.set()
        await self._runner.cleanup()

    def token(self) -> dict[str, Any]:
        """Return the answer with the next token."""
        self.given += 1
        answer: dict[str, Any] = {"access_token": f"token-{self.given}", "token_type": "bearer"}
        return answer if self.lifetime_s is None else {**answer, "expires_in": self.lifetime_s}

    async def _token(self, request: web.Request) -> web.Response:
        asked = await self._asked(request)
        self.requests.append(asked)
        if self.held is not None:
            await self.held.wait()
        if self.answers:
            return said(self.answers.pop(0))
        if asked.form.get("grant_type") == "client_credentials":
            method = "client_secret_basic" if asked.basic else "client_secret_post"
            shown = asked.basic or (asked.form.get("client_id"), asked.form.get("client_secret"))
            if method not in self.methods or shown != (CLIENT_ID, CLIENT_SECRET):
                return said((401, {"error": "invalid_client", "error_description": "unknown client"}))
            return said((200, self.token()))
        return said((200, {**self.token(), "refresh_token": f"refresh-canary-{self.given}"}))

    async def _device(self, request: web.Request) -> web.Response:
        self.requests.append(await self._asked(request))
        return said(
            (
                200,
                {
                    "device_code": "device-canary-1",
                    "user_code": "ABCD-EFGH",
                    "verification_uri": self.page or f"{self.issuer}/activate",
                    "expires_in": 60,
                    "interval": 0,
                },
            )
        )

    async def _metadata(self, request: web.Request) -> web.Response:
        self.metadata_requests.append(request.path)
        if not request.path.startswith("/.well-known/openid-configuration"):
            return web.Response(status=404)
        return said((200, self.metadata))

    async def _asked(self, request: web.Request) -> Asked:
        form = {key: str(value) for key, value in (await request.post()).items()}
        basic = None
        if (header := request.headers.get("Authorization", "")).startswith("Basic "):
            name, _, secret = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
            basic = unquote_plus(name), unquote_plus(secret)
        return Asked(request.path, form, basic)


def said(answer: Answer) -> web.Response:
    """Return the response for an answer of a test."""
    return answer if isinstance(answer, web.Response) else web.json_response(answer[1], status=answer[0])


def expiring(in_s: float) -> str:
    """Return a JWT that ends in so many seconds."""
    return jwt(sub="worker", exp=time.time() + in_s)
