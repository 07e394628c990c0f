"""Find out which extensions an agent offers."""

import asyncio
from typing import Any

import grpc.aio

from a2a_grpc.client.connection import Connection
from a2a_grpc.client.disconnects import is_refused_for_now
from a2a_grpc.client.failures import Failures, is_canceled
from a2a_grpc.client.headers import Headers
from a2a_grpc.client.retry import RetryPolicy
from a2a_grpc.errors import UnauthenticatedError, UnavailableError
from a2a_grpc.protocol import Key
from a2a_grpc.wire import ListTasksRequest


class Extensions:
    """Remembers for each extension whether the agent offers it."""

    def __init__(self, connection: Connection, headers: Headers, failures: Failures) -> None:
        self._connection = connection
        self._headers = headers
        self._failures = failures
        self._offered: dict[str, bool] = {}

    async def offers(self, uri: str, retry: RetryPolicy) -> bool:
        """Return True if the agent offers an extension. The agent is asked once.

        Raise UnavailableError if the agent cannot be asked in time.
        """
        while uri not in self._offered:
            try:
                self._offered[uri] = await self._ask(uri)
            except UnavailableError as error:
                await retry.wait(error)
        return self._offered[uri]

    async def _ask(self, uri: str) -> bool:
        """Return True if the agent offers an extension.

        Without a card the agent is asked. It repeats those of the requested extensions that it knows (OPEN-11).
        """
        request, timeout_s = ListTasksRequest(page_size=1), self._connection.settings.timeout_s
        link = await self._connection.open(request)
        if link.card is not None:
            return any(extension.uri == uri for extension in link.card.capabilities.extensions)
        asked = [(Key.EXTENSIONS, uri)]
        sent: list[tuple[str, str]] | None = await self._headers.merged(asked)
        may_renew = True
        while sent is not None:
            call: Any = link.pool.begin("ListTasks", request, metadata=sent, timeout=timeout_s)
            try:
                await call
            except grpc.aio.AioRpcError as failure:
                error = self._failures.error_of(failure)
                if is_refused_for_now(error):  # the question, not the send, which may have had its effect
                    raise UnavailableError(error.message, retry_after_s=error.retry_after_s) from failure
                if isinstance(error, UnavailableError):
                    raise error from failure
                if isinstance(error, UnauthenticatedError) and may_renew:
                    sent, may_renew = await self._headers.renewed(sent, asked), False
                    continue
            except asyncio.CancelledError:
                if is_canceled():
                    raise
                raise self._failures.error_of_cancel() from None
            break
        entries = (*(await call.initial_metadata() or ()), *(await call.trailing_metadata() or ()))
        return any(key == Key.EXTENSIONS and uri in map(str.strip, value.split(",")) for key, value in entries)
