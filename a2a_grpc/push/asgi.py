"""A receiver as an ASGI application."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from a2a_grpc.push.reply import Reply

AsgiScope = MutableMapping[str, Any]
AsgiEvent = MutableMapping[str, Any]
AsgiReceive = Callable[[], Awaitable[AsgiEvent]]
AsgiSend = Callable[[AsgiEvent], Awaitable[None]]

Receiving = Callable[[str, Iterable[tuple[str, str]], AsyncIterable[bytes]], Awaitable[Reply]]


class _GoneError(Exception):
    """The client has closed the connection before its request was complete."""


async def serve_asgi(
    take: Receiving, close: Callable[[], Awaitable[None]], scope: AsgiScope, receive: AsgiReceive, send: AsgiSend
) -> None:
    """Serve a connection of HTTP, or the lifespan of the server. WebSockets are closed.

    Args:
        take: Takes a request, and returns its answer.
        close: Ends the application.
        scope: The scope of ASGI, which describes the connection.
        receive: Returns the next event of the server.
        send: Takes an event for the server.
    """
    match scope["type"]:
        case "lifespan":
            await _live(close, receive, send)
        case "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        case "http":
            await _serve(take, scope, receive, send)


async def _live(close: Callable[[], Awaitable[None]], receive: AsgiReceive, send: AsgiSend) -> None:
    while True:
        kind = (await receive())["type"]
        if kind == "lifespan.shutdown":
            await close()
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def _serve(take: Receiving, scope: Mapping[str, Any], receive: AsgiReceive, send: AsgiSend) -> None:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    try:
        reply = await take(scope["method"], headers, _body(receive))
    except _GoneError:
        return
    content = (reply.text or "").encode()
    answer = list(reply.headers)
    if content:
        answer += [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(content)))]
    await send(
        {
            "type": "http.response.start",
            "status": reply.status,
            "headers": [(name.lower().encode(), value.encode()) for name, value in answer],
        }
    )
    await send({"type": "http.response.body", "body": content})


async def _body(receive: AsgiReceive) -> AsyncIterator[bytes]:
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise _GoneError
        yield event.get("body", b"")
        if not event.get("more_body", False):
            return
