"""Receiving push notifications: `PushReceiver`."""

import hashlib
import logging
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from a2a_grpc.arguments import checking
from a2a_grpc.auth.discovery import KeyFile, KeyUrl, url_problem
from a2a_grpc.auth.jwks import KeyCache
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import UnavailableError
from a2a_grpc.harmless import one_line
from a2a_grpc.offload import offload
from a2a_grpc.push import notification as notifications
from a2a_grpc.push.asgi import AsgiReceive, AsgiScope, AsgiSend, serve_asgi
from a2a_grpc.push.expected import Expected
from a2a_grpc.push.incoming import RefusedError, checked_headers, content_of
from a2a_grpc.push.notification import Notification, UnreadableError
from a2a_grpc.push.proof import MAX_ID_CHARS, ProofError, Shown
from a2a_grpc.push.repeats import Repeats
from a2a_grpc.push.reply import Reply
from a2a_grpc.push.signing import check_installed
from a2a_grpc.throttle import Throttle
from a2a_grpc.wire import TaskPushNotificationConfig

if TYPE_CHECKING:
    from aiohttp import web

logger = logging.getLogger("a2a_grpc.push")

REMIND_S = 10.0
"""Seconds between two log lines of a kind."""

OnNotification = Callable[[Notification], Awaitable[None]]


class PushReceiver:
    """Receives the notifications that agents send to a url.

    It is an ASGI application, and gives a handler and an application for aiohttp. Each notification is verified, and
    then given to a callback.

    Guarantees:

    - The callback gets only notifications of tasks that are expected, with the token and the credentials of the config.
      With `jwks_url` or `jwks_file` they also have a signature by a key of the sender.
    - A notification that is sent again is answered without a further call of the callback, as long as its id is among
      the last `remembered` ones. A callback that raises an exception is called again when the notification comes again.
    - The sender gets 2xx only after the callback has returned.
    - No token, and no credentials, are written to the log.

    Example:
        async def on_notification(notification: Notification) -> None:
            print(notification.task_id, notification.event)

        receiver = PushReceiver(on_notification)
        token = secrets.token_urlsafe()
        config = TaskPushNotificationConfig(task_id=task.id, url="https://me.example/hook", token=token)
        receiver.expect(config)
        await client.create_push_config(config)

    Args:
        callback: Takes a notification. It should return soon, since senders wait for about 15 seconds. If it raises an
            exception, the sender gets 500 and sends the notification again.
        jwks_url: The URL of the sender's key set. With it, each notification needs a signature `v1a`. A server of this
            package has its key set at `/.well-known/jwks.json` of its HTTP port.
        jwks_file: A file with the sender's key set, instead of a URL.
        max_body_bytes: The largest body that is read.
        max_skew_s: Seconds by which the timestamp of a notification may differ from the time of this machine.
        remembered: The number of ids of notifications that are remembered.
        clock: The Unix time in seconds.

    Raises:
        ConfigurationError: An argument has a value that is not possible, or a package is missing.
    """

    @partial(checking, call="PushReceiver")
    def __init__(
        self,
        callback: OnNotification,
        *,
        jwks_url: str | None = None,
        jwks_file: str | Path | None = None,
        max_body_bytes: int = 4 * 1024 * 1024,
        max_skew_s: float = 300.0,
        remembered: int = 10_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._callback = callback
        self._keys = _keys(jwks_url, jwks_file)
        self._max_body_bytes = max_body_bytes
        self._max_skew_s = max_skew_s
        self._clock = clock
        self._expected = Expected()
        self._repeats = Repeats(remembered)
        self._lines = Throttle(logger, REMIND_S)

    @checking
    def expect(self, config: TaskPushNotificationConfig) -> None:
        """Accept notifications of a config, which is registered at the agent with the same token and credentials.

        If the config names no task, notifications of any task are accepted that have its token or its credentials.
        This is for a config that is sent together with a message, before the task exists.

        Args:
            config: The config.

        Raises:
            InvalidRequestError: The token or the credentials cannot be sent in a header.
            ConfigurationError: The config has neither a token nor credentials, and there are no keys of the sender.
        """
        self._expected.add(config, has_keys=self._keys is not None)

    @checking
    def forget(self, task_id: str) -> None:
        """Accept no more notifications of the configs that name this task.

        Args:
            task_id: The id of the task.
        """
        self._expected.remove(task_id)

    async def close(self) -> None:
        """Stop reading keys. The ASGI application and the application for aiohttp call this at their end."""
        self._lines.close()
        if self._keys is not None:
            await self._keys.close()

    async def receive(self, method: str, headers: Iterable[tuple[str, str]], body: AsyncIterable[bytes]) -> Reply:
        """Take a request, and return the answer. This is for servers that have neither ASGI nor aiohttp.

        Args:
            method: The method of the request.
            headers: The headers. A name may occur several times.
            body: The content, in pieces.
        """
        try:
            return await self._received(method, list(headers), body)
        except RefusedError as refused:
            self._lines.warning(refused.reason, "a notification is refused reason=%s", refused.reason)
            return Reply(refused.status, refused.reason)

    async def handle(self, request: "web.Request") -> "web.Response":
        """Answer a request of aiohttp. Use it as a handler: `application.router.add_post("/hook", receiver.handle)`.

        Args:
            request: The request.
        """
        from aiohttp import web

        reply = await self.receive(request.method, request.headers.items(), request.content.iter_any())
        return web.Response(status=reply.status, text=reply.text, headers=dict(reply.headers))

    def application(self, path: str = "/") -> "web.Application":
        """Return an application of aiohttp, which can also be a sub-application of another one.

        Args:
            path: The path of the url.
        """
        from aiohttp import web

        application = web.Application()
        application.router.add_route("*", path, self.handle)

        async def close(_: web.Application) -> None:
            await self.close()

        application.on_cleanup.append(close)
        return application

    async def __call__(self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
        """Serve as an ASGI application.

        Args:
            scope: The scope of ASGI, which describes the connection.
            receive: Returns the next event of the server.
            send: Takes an event for the server.
        """
        await serve_asgi(self.receive, self.close, scope, receive, send)

    async def _received(self, method: str, given: list[tuple[str, str]], body: AsyncIterable[bytes]) -> Reply:
        if method != "POST":
            raise RefusedError(405, "the method is not POST")
        headers = checked_headers(given)
        content = await content_of(headers, body, self._max_body_bytes)
        shown = Shown(headers, content)
        if len(shown.id) > MAX_ID_CHARS:
            raise RefusedError(400, "the webhook-id is too long")
        try:
            found = await offload(len(content), notifications.read, content, shown.id)
        except UnreadableError as error:
            raise RefusedError(400, str(error)) from None
        configs = self._expected.of(found.task_id)
        if not configs:
            raise RefusedError(404, "the task is not expected")
        try:
            shown.check_time(self._clock(), self._max_skew_s)
            shown.check_any(configs)
            if self._keys is not None:
                await shown.check_key(self._keys)
        except ProofError as error:
            raise RefusedError(401, str(error)) from None
        except UnavailableError as error:
            self._lines.warning("keys", "notifications cannot be verified, since the keys of the sender cannot be read")
            return Reply.later(error.retry_after_s)
        return await self._hand_over(found)

    async def _hand_over(self, found: Notification) -> Reply:
        """Give a notification to the callback, unless the callback has had it."""
        work = partial(self._callback, found)
        try:
            if not found.id:
                await work()
            else:
                digest = hashlib.sha256(f"{len(found.id)}:{found.id}{found.task_id}".encode()).digest()
                await self._repeats.once(digest, work)
        except Exception:
            logger.exception("the callback for notifications failed task=%s", one_line(found.task_id, 256))
            return Reply(500, "the notification cannot be handled now")
        return Reply(204)


def _keys(url: str | None, file: str | Path | None) -> KeyCache | None:
    if url is None and file is None:
        return None
    if url is not None and file is not None:
        raise ConfigurationError("jwks_url and jwks_file are both given; give one of them")
    check_installed("cryptography", "jwt")
    if file is not None:
        return KeyCache(str(file), KeyFile(Path(file)))
    assert url is not None
    if problem := url_problem(url):
        raise ConfigurationError(f"jwks_url is '{url}', which {problem}")
    return KeyCache(url, KeyUrl(url))
