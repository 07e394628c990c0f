"""Peers that are not ours: a gRPC server on the bare contract, a site for agent cards, ports that misbehave."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio
import trustme
from aiohttp import web
from google.protobuf import message_factory
from google.protobuf.empty_pb2 import Empty

from a2a_grpc import Client, Task
from a2a_grpc.errors import A2AError
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.protocol import IDEMPOTENT_SEND_EXTENSION, Key
from a2a_grpc.rpc.status import to_status, trailing_metadata
from a2a_grpc.wire import (
    SERVICE,
    SERVICE_NAME,
    AgentCard,
    ListTaskPushNotificationConfigsResponse,
    ListTasksResponse,
    SendMessageResponse,
    StreamResponse,
    TaskPushNotificationConfig,
    TaskStatus,
)
from tests.harness import stop_listening

DONE = Task(id="t-1", context_id="c-1", status=TaskStatus(state=COMPLETED))
CONFIG = TaskPushNotificationConfig(id="p-1", task_id="t-1", url="https://hooks.example/a")

ANSWERS: dict[str, Any] = {
    "SendMessage": SendMessageResponse(task=DONE),
    "SendStreamingMessage": StreamResponse(task=DONE),
    "GetTask": DONE,
    "ListTasks": ListTasksResponse(tasks=[DONE], total_size=1, page_size=50),
    "CancelTask": DONE,
    "SubscribeToTask": StreamResponse(task=DONE),
    "CreateTaskPushNotificationConfig": CONFIG,
    "GetTaskPushNotificationConfig": CONFIG,
    "ListTaskPushNotificationConfigs": ListTaskPushNotificationConfigsResponse(configs=[CONFIG]),
    "DeleteTaskPushNotificationConfig": Empty(),
    "GetExtendedAgentCard": AgentCard(name="Extended"),
}
"""What a peer answers to each of the eleven RPCs; to a streaming one, its only element. A list or an iterator is
several elements, bytes are an answer as they are."""

RPCS = tuple(ANSWERS)
STREAMS = ("SendStreamingMessage", "SubscribeToTask")
UNARY = tuple(rpc for rpc in RPCS if rpc not in STREAMS)


async def collected(source: Any) -> list[Any]:
    """Everything that a TaskStream, or the iterator of a list, gives."""
    if hasattr(source, "__aenter__"):
        async with source as events:
            return [event async for event in events]
    return [item async for item in source]


OPERATIONS: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "SendMessage": lambda client: client.start("hello"),
    "SendStreamingMessage": lambda client: collected(client.stream("hello")),
    "GetTask": lambda client: client.get("t-1"),
    "ListTasks": lambda client: collected(client.list()),
    "CancelTask": lambda client: client.cancel("t-1"),
    "SubscribeToTask": lambda client: collected(client.subscribe("t-1")),
    "CreateTaskPushNotificationConfig": lambda client: client.create_push_config(CONFIG),
    "GetTaskPushNotificationConfig": lambda client: client.get_push_config("t-1", "p-1"),
    "ListTaskPushNotificationConfigs": lambda client: collected(client.list_push_configs("t-1")),
    "DeleteTaskPushNotificationConfig": lambda client: client.delete_push_config("t-1", "p-1"),
    "GetExtendedAgentCard": lambda client: client.extended_card(),
}
"""The client's operation for each of the eleven RPCs."""


@dataclass(slots=True)
class Received:
    """One call, as it came."""

    rpc: str
    request: Any
    metadata: list[tuple[str, str]]
    remaining_s: float | None
    """Seconds to its deadline; None where it has none."""
    at_s: float
    """When it came, on this process's monotonic clock."""

    def values(self, key: str) -> list[str]:
        """The values of every entry with this key."""
        return [value for name, value in self.metadata if name == key]


@dataclass(slots=True)
class Failure:
    """A status to end a call with."""

    code: grpc.StatusCode
    text: str = ""
    trailers: Sequence[tuple[str, str | bytes]] = ()

    @classmethod
    def of(cls, error: A2AError, *, code: grpc.StatusCode | None = None) -> "Failure":
        """The error as a server writes it; with another status code, as another generation of servers does."""
        status = to_status(error)
        if code is not None:
            status.code = code.value[0]
        return cls(code or error.code, status.message, trailing_metadata(status))


@dataclass(slots=True)
class Peer:
    """A server of the contract that knows nothing else of this project: records each call, answers as told."""

    address: str = ""
    server: Any = None
    calls: list[Received] = field(default_factory=list)
    failures: list[Failure | None] = field(default_factory=list)
    """What the next calls end with, one after the other; None answers."""
    always: Failure | None = None
    """What calls end with once `failures` are used up; None answers."""
    answers: dict[str, Any] = field(default_factory=lambda: dict(ANSWERS))
    held: asyncio.Event | None = None
    """Where it is there, calls wait for it before they are answered."""
    held_from: int = 1
    """The first call that waits."""
    canceled: int = 0
    """Calls that the client canceled while they waited."""
    repeats_safely: bool = True
    """Whether it says that a send may be repeated, when it is asked."""
    questions: int = 0
    """How often it was asked that; these calls are not among `calls`, and never fail."""

    def of(self, rpc: str) -> list[Received]:
        """The calls of one RPC."""
        return [call for call in self.calls if call.rpc == rpc]

    async def answer(self, rpc: str, request: Any, context: Any) -> Any:
        metadata = [(str(key), value) for key, value in context.invocation_metadata()]
        if (Key.EXTENSIONS, IDEMPOTENT_SEND_EXTENSION) in metadata:
            self.questions += 1
            if self.repeats_safely:
                context.set_trailing_metadata([(Key.EXTENSIONS, IDEMPOTENT_SEND_EXTENSION)])
            return self.answers[rpc]
        self.calls.append(Received(rpc, request, metadata, context.time_remaining(), time.monotonic()))
        if self.held is not None and len(self.calls) >= self.held_from:
            try:
                await self.held.wait()
            except asyncio.CancelledError:
                self.canceled += 1
                raise
        failure = self.failures.pop(0) if self.failures else self.always
        if failure is not None:
            await context.abort(failure.code, failure.text, failure.trailers)
        return self.answers[rpc]

    def handlers(self) -> Any:
        def unary(rpc: str) -> Any:
            async def handle(request: Any, context: Any) -> Any:
                return await self.answer(rpc, request, context)

            return handle

        def stream(rpc: str) -> Any:
            async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
                answer = await self.answer(rpc, request, context)
                for element in answer if isinstance(answer, list | Iterator) else [answer]:
                    yield element

            return handle

        methods: dict[str, Any] = {}
        for method in SERVICE.methods:
            make = (
                grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
            )
            methods[method.name] = make(
                (stream if method.server_streaming else unary)(method.name),
                request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
                response_serializer=lambda response: (
                    response if isinstance(response, bytes) else response.SerializeToString()
                ),
            )
        return grpc.method_handlers_generic_handler(SERVICE_NAME, methods)


@asynccontextmanager
async def peering(
    peer: Peer | None = None,
    *,
    credentials: grpc.ServerCredentials | None = None,
    listen: str = "127.0.0.1:0",
    compression: grpc.Compression | None = None,
) -> AsyncIterator[Peer]:
    """A peer on a free port, on a stock gRPC server with all its defaults."""
    peer = peer or Peer()
    server = grpc.aio.server(compression=compression)
    server.add_generic_rpc_handlers((peer.handlers(),))
    port = server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
    peer.address = listen if listen.startswith("unix:") else f"127.0.0.1:{port}"
    peer.server = server
    await server.start()
    try:
        yield peer
    finally:
        if peer.held is not None:
            peer.held.set()
        await server.stop(None)


def card_json(url: str, *, tenant: str = "", **members: Any) -> dict[str, Any]:
    """A valid card with one gRPC interface; `members` replace, those that are None are left out."""
    card = {
        "name": "Elsewhere",
        "description": "An agent of somebody else.",
        "version": "1.0.0",
        "supportedInterfaces": [interface_json(url, tenant=tenant)],
        "capabilities": {"streaming": True, "pushNotifications": True, "extendedAgentCard": True},
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain"],
        "skills": [{"id": "s", "name": "S", "description": "Does.", "tags": ["t"]}],
        **members,
    }
    return {name: member for name, member in card.items() if member is not None}


def interface_json(url: str, *, binding: str = "GRPC", version: str = "1.0", tenant: str = "") -> dict[str, Any]:
    interface = {"url": url, "protocolBinding": binding, "protocolVersion": version}
    return {**interface, "tenant": tenant} if tenant else interface


@dataclass(slots=True)
class Page:
    """An HTTP response."""

    body: bytes = b""
    headers: Iterable[tuple[str, str]] = ()
    status: int = 200

    @classmethod
    def card(cls, url: str = "127.0.0.1:1", *headers: tuple[str, str], **members: Any) -> "Page":
        return cls(json.dumps(card_json(url, **members)).encode(), headers)


class Site:
    """An HTTP server that records each request and answers with the next of its pages; the last one stays."""

    def __init__(self, *pages: Page, tls: Any = None) -> None:
        self.pages = list(pages)
        self.requests: list[tuple[str, dict[str, str]]] = []
        """Path and headers of each request."""
        self.held: asyncio.Event | None = None
        """Where it is there, requests wait for it."""
        self.url = ""
        self.port = 0
        self._tls = tls
        self._runner: web.AppRunner

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.held is not None:
            self.held.set()
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.raw_path, dict(request.headers)))
        if self.held is not None:
            await self.held.wait()
        page = self.pages.pop(0) if len(self.pages) > 1 else self.pages[0]
        response = web.Response(body=page.body if page.status != 304 else None, status=page.status)
        for name, content in page.headers:
            response.headers.add(name, content)
        return response


@asynccontextmanager
async def silent_port() -> AsyncIterator[str]:
    """An address that accepts connections, and never says a word."""
    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            while await reader.read(65536):
                pass
        except OSError:
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        await stop_listening(server)
        for writer in writers:
            writer.transport.abort()


@asynccontextmanager
async def http_1_server() -> AsyncIterator[str]:
    """The address of a server that answers what is no HTTP/1 as HTTP/1 servers do."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readline()
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        await stop_listening(server)


@asynccontextmanager
async def black_hole() -> AsyncIterator[str]:
    """An address at which connecting gets no answer: what knocks is dropped, as by a firewall."""
    with contextlib.ExitStack() as sockets:
        listening = sockets.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):  # the queue of those who wait to be accepted is full from then on
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@dataclass(slots=True)
class Certificate:
    """A certificate with its key and the authority that vouches for it, as files and as bytes."""

    chain: bytes
    key: bytes
    roots: bytes
    cert_file: str
    key_file: str
    roots_file: str

    def server_credentials(self, *, client_roots: bytes | None = None) -> grpc.ServerCredentials:
        """For a gRPC server; with `client_roots` it wants a certificate of every client."""
        return grpc.ssl_server_credentials(
            [(self.key, self.chain)], root_certificates=client_roots, require_client_auth=client_roots is not None
        )


def certificate(folder: Path, *names: str, authority: trustme.CA | None = None) -> Certificate:
    """A fresh certificate for these names, written below the folder."""
    authority = authority or trustme.CA()
    issued = authority.issue_cert(*names)
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    folder = folder / f"certificate-{len(list(folder.iterdir()))}"
    folder.mkdir()
    paths = [folder / name for name in ("cert.pem", "key.pem", "roots.pem")]
    contents = [chain, issued.private_key_pem.bytes(), authority.cert_pem.bytes()]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return Certificate(*contents, *map(str, paths))
