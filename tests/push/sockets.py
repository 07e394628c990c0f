"""Receivers and name servers for tests of webhooks."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trustme
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from a2a_grpc.lifecycle import COMPLETED, element_of
from a2a_grpc.push.delivery import Delivery
from a2a_grpc.wire import Task, TaskPushNotificationConfig, TaskStatus

PUBLIC = "8.8.8.8"
"""An address that is public. No test connects to it."""


class Names(AbstractResolver):
    """A name server. Each host has a list of answers; the last one is given again and again."""

    def __init__(self, answers: Mapping[str, list[list[str]]]) -> None:
        self._answers = {host: list(several) for host, several in answers.items()}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append(host)
        answers = self._answers.get(host)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


@dataclass
class Trap:
    """A socket that counts the connections that reach it."""

    port: int
    connections: int = 0


@asynccontextmanager
async def trap() -> AsyncIterator[Trap]:
    """Listen on every address of this machine, of both versions of IP, at one port."""

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caught.connections += 1
        writer.close()

    listening = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    caught = Trap(listening.getsockname()[1])
    async with await asyncio.start_server(count, sock=listening):
        yield caught


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def bare(serve: Serve, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """Serve connections as a function says, and return the port. They are ended with the block."""
    running: set[asyncio.Task[None]] = set()

    async def of_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await reader.readuntil(b"\r\n\r\n")
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            running.discard(task)
            writer.close()

    async with await asyncio.start_server(of_connection, host, 0, backlog=2048) as server:
        yield server.sockets[0].getsockname()[1]
        for task in running:
            task.cancel()


@dataclass
class Received:
    """A request that a receiver got."""

    headers: Mapping[str, str]
    body: bytes
    path: str
    connection: object


@dataclass
class Hook:
    """A receiver that keeps what it gets, and answers as `answer` says."""

    port: int = 0
    answer: Callable[[web.Request], Awaitable[web.Response]] | None = None
    received: list[Received] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.received.append(Received(request.headers, body, request.path_qs, request.transport))
        return await self.answer(request) if self.answer is not None else web.Response(status=204)


@asynccontextmanager
async def hook(tls: ssl.SSLContext | None = None) -> AsyncIterator[Hook]:
    """Serve a receiver on 127.0.0.1."""
    receiver = Hook()
    application = web.Application(client_max_size=1 << 26)
    application.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        receiver.port = runner.addresses[0][1]
        yield receiver
    finally:
        await runner.cleanup()


def tls_of(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """Return the TLS of a server with a certificate for these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def delivery(url: str, *, seq: int = 3, attempt: int = 1, text: str = "", **config: Any) -> Delivery:
    """Return a delivery of a completed task to a url."""
    task = Task(id="t-1", context_id="c-1", status=TaskStatus(state=COMPLETED))
    if text:
        task.artifacts.add(artifact_id="a").parts.add(text=text)
    asked = TaskPushNotificationConfig(task_id="t-1", id="p-1", url=url, **config)
    return Delivery("t-1", seq, asked, element_of(task), "1.0", attempt, settled=task)
