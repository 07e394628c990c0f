"""An HTTP port: documents with validators, probes, and a bounded number of connections."""

import hashlib
import logging
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from aiohttp import web
from aiohttp.http import HttpProcessingError

from a2a_grpc.address import is_wildcard, join_address, split_address
from a2a_grpc.config import ConfigurationError
from a2a_grpc.listening.acceptor import Acceptor
from a2a_grpc.listening.ports import bound, cannot_listen
from a2a_grpc.telemetry.prometheus import CONTENT_TYPE, Scrape

logger = logging.getLogger("a2a_grpc.listening")

READ_BYTES = 16 * 1024
"""The number of bytes of a request's body that wait to be read. aiohttp handles bytes that have come in one step of the
event loop. With chunks of one byte such a step is long."""
MAX_HOST_CHARS = 253
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")


class HttpPort:
    """Serves an application of aiohttp on one address.

    Guarantees:

    - At most `limit` connections are kept. For a further connection the oldest one is ended.
    - Requests that are no HTTP leave no lines in the log.
    - A connection whose request is answered before all of its body has arrived is closed.
    - After `stop` nothing of the port is left.

    Args:
        application: The application.
    """

    def __init__(self, application: web.Application) -> None:
        logger.addFilter(_is_no_client_fault)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=1.0,
            logger=logger,
            read_bufsize=READ_BYTES,
            lingering_time=0.0,  # aiohttp would read and drop bodies for ten seconds
        )
        self._acceptor: Acceptor | None = None

    async def start(
        self,
        host: str,
        port: int,
        *,
        limit: int,
        tls: Callable[[], ssl.SSLContext] | None = None,
        reuse_port: bool = False,
    ) -> str:
        """Begin to listen. Return HOST:PORT, with the port that was chosen for port 0.

        Args:
            host: The host to listen on.
            port: The port.
            limit: The largest number of connections.
            tls: Returns the context for the next connection; None for plaintext.
            reuse_port: True if other processes share the port.

        Raises:
            ListenError: The address cannot be listened on.
        """
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        try:
            sockets = await bound(host, port, reuse_port=reuse_port)
        except OSError as error:
            await self.stop()
            raise cannot_listen(host, port, "http_listen", error) from error

        def give_up() -> None:
            if oldest := next((one for one in server.connections if one.transport is not None), None):
                oldest.force_close()  # it has no transport from now on, and leaves the list soon

        self._acceptor = Acceptor(
            server,
            limit=limit,
            count=lambda: sum(one.transport is not None for one in server.connections),
            give_up=give_up,
        )
        self._acceptor.start(sockets, tls)
        return join_address(host, int(sockets[0].getsockname()[1]))

    async def stop(self) -> None:
        """Stop listening, and end the connections."""
        if self._acceptor is not None:
            await self._acceptor.stop()
        await self._runner.cleanup()


def _is_no_client_fault(record: logging.LogRecord) -> bool:
    """Return False for a request that aiohttp could not read, because clients could fill the log with such
    tracebacks."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def add_probes(
    application: web.Application, *, is_alive: Callable[[], bool], is_ready: Callable[[], Awaitable[bool]]
) -> None:
    """Add `/livez` and `/readyz` to an application.

    Args:
        application: The application.
        is_alive: Returns False if only a restart of the process helps.
        is_ready: Returns True if the process takes work.
    """

    async def livez(request: web.Request) -> web.Response:
        alive = is_alive()
        return web.Response(text="ok\n" if alive else "failed\n", status=200 if alive else 503)

    async def readyz(request: web.Request) -> web.Response:
        ready = await is_ready()
        return web.Response(text="ready\n" if ready else "not ready\n", status=200 if ready else 503)

    application.router.add_get("/livez", livez)
    application.router.add_get("/readyz", readyz)


def add_metrics(application: web.Application, scrape: Scrape | None) -> None:
    """Add `/metrics` to an application, if there are metrics to show.

    Args:
        application: The application.
        scrape: The metrics; None if they are not shown.
    """
    if scrape is None:
        return

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=scrape.text(), headers={"Content-Type": CONTENT_TYPE})

    application.router.add_get("/metrics", metrics)


def etag_of(body: bytes) -> str:
    """Return the entity tag of a document, a hash of its bytes, in quotes (CARD-3)."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def document(
    request: web.Request, body: bytes, headers: Mapping[str, str], content_type: str = "application/json"
) -> web.Response:
    """Return the response with a document, or 304 if the client has the document already.

    Args:
        request: The request.
        body: The bytes of the document.
        headers: The headers of the response. `ETag` is among them.
        content_type: The media type of the document.
    """
    asked = [item.strip().removeprefix("W/") for item in request.headers.get("If-None-Match", "").split(",")]
    if headers["ETag"] in asked or "*" in asked:
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type=content_type, headers=headers)


def asked_host(header: str) -> str:
    """Return the host of the Host header of an HTTP request, in lower case. Return "" if the header is no host."""
    try:
        host, _ = split_address("Host", header if has_port(header) else f"{header}:0")
    except ConfigurationError:
        return ""
    host = host.lower()
    if len(host) > MAX_HOST_CHARS or is_wildcard(host):
        return ""
    if ":" in host:
        with suppress(OSError):
            socket.inet_pton(socket.AF_INET6, host)
            return host
        return ""
    return host if _NAME.fullmatch(host) else ""


def has_port(header: str) -> bool:
    """Return True if a Host header names a port."""
    return ":" in header.rpartition("]")[2]
