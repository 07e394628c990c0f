"""Calling back agents with the results of tasks."""

import asyncio
import socket
from collections.abc import Mapping

import grpc
import grpc.aio
from aiohttp.abc import AbstractResolver

from a2a_grpc.agent.callback import AUTHORIZATION, PLAIN_HEADERS
from a2a_grpc.client.origin import TOO_LARGE
from a2a_grpc.client.status import to_error
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError, InvalidRequestError, Violation
from a2a_grpc.harmless import one_line
from a2a_grpc.logical import is_logical
from a2a_grpc.protocol import PROTOCOL_VERSION, Key
from a2a_grpc.push.allowed import DestinationPolicy, not_public
from a2a_grpc.push.callback_settings import CallbackSettings
from a2a_grpc.push.delivery import Delivery, Outcome, Verdict
from a2a_grpc.push.dialling import RestrictedResolver, SystemResolver
from a2a_grpc.push.headers import check_headers, is_secret_scheme
from a2a_grpc.push.lines import Lines, Target
from a2a_grpc.push.place import Place, PlaceError, read, refused
from a2a_grpc.push.result import asked_for, request_of
from a2a_grpc.telemetry.names import TRACEPARENT
from a2a_grpc.wire import SendMessageRequest, Task, TaskPushNotificationConfig

PORTS = {"grpcs": 443, "grpc": 50051}
"""The schemes of the urls of agents, each with its port."""
LOOKUP_TIMEOUT_S = 5.0
"""Seconds for the lookup of a host."""

ANSWER_TOO_LARGE = "CLIENT: Received message larger than max"
"""What gRPC says of an answer over the limit. The agent has taken the result."""

UNAUTHORIZED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
LATER = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DATA_LOSS,
)
"""The codes after which the same call may succeed. After all others it cannot."""


class ForbiddenError(Exception):
    """The url must not be called. The message is the end of a sentence about it."""


class Callbacks:
    """Calls the agents that asked for the results of tasks. It is the `Destination` of `grpc://`, `grpcs://` and
    logical addresses.

    Guarantees:

    - Nothing is sent before a task is settled, and no connection is opened before.
    - A delivery is one call of SendMessage. Each attempt has the same message id and the same idempotency key, so that
      it has one effect.
    - Nothing is sent to an address that is not allowed. The host is looked up for each connection, all its addresses
      are checked, and one of these is dialled. Proxies of the environment are not used.
    - The credentials of the caller that has started the task are not used. The token and the authentication of the
      config are sent, or else the token of `callback_tokens` for this target.
    - No outcome has a token or credentials in it.

    Args:
        policy: Decides which addresses are allowed.
        settings: The sentinel, certificates and tokens.
        timeout_s: Seconds for one attempt.
        resolver: Looks up hosts; by default as the system does. It is closed with this.

    Attributes:
        lines: The connections.
    """

    SCHEMES = tuple(PORTS)

    def __init__(
        self,
        policy: DestinationPolicy,
        settings: CallbackSettings | None = None,
        *,
        timeout_s: float = 15.0,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._policy = policy
        self._settings = settings or CallbackSettings()
        self._timeout_s = timeout_s
        self._resolver = RestrictedResolver(policy, resolver or SystemResolver())
        self.lines = Lines(self._settings)

    @staticmethod
    def takes(url: str) -> bool:
        """Return True if a url is one for this destination.

        Args:
            url: The url of a config.
        """
        return is_logical(url) or url.partition("://")[0].lower() in PORTS

    async def check(self, config: TaskPushNotificationConfig) -> None:
        """Check the config when it is registered.

        Raises:
            InvalidRequestError: The url is not allowed, or names an agent at a sentinel, and no sentinel is set, or the
                token or the credentials cannot be sent. The error names the field.
        """
        _check_metadata(config)
        try:
            if is_logical(config.url):
                self._sentinel()
                return
            place = self._place(config.url)
            await self._target(place)
        except (ForbiddenError, PlaceError) as error:
            raise refused(config.url, str(error)) from None
        except OSError as error:
            if error.errno != socket.EAI_AGAIN:
                raise refused(config.url, not_public(place)) from None
        except TimeoutError:
            return

    def needs_settled(self, config: TaskPushNotificationConfig) -> bool:
        """Return True: an agent gets the results of tasks."""
        return True

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Call the agent once, if the delivery settles its task. Otherwise do nothing."""
        settled, config = delivery.settled, delivery.config
        if settled is None:
            return Outcome(Verdict.DELIVERED, "an agent is called back only when the task is settled")
        try:
            _check_metadata(config)
            async with asyncio.timeout(self._timeout_s):
                return await self._call(config, settled, delivery.seq, delivery.trace)
        except TimeoutError:
            return Outcome(Verdict.RETRY, f"no answer within {self._timeout_s:g} s")
        except ConfigurationError as error:
            return Outcome(Verdict.RETRY, str(error))
        except (ForbiddenError, PlaceError) as error:
            return Outcome(Verdict.REFUSED, f"the url {error}")
        except InvalidRequestError as error:
            return Outcome(Verdict.REFUSED, str(error))
        except OSError as error:
            return Outcome(Verdict.RETRY, one_line(error.strerror or str(error), 200))

    async def close(self) -> None:
        """End the connections."""
        await self.lines.close()
        await self._resolver.close()

    # -- one call

    async def _call(
        self, config: TaskPushNotificationConfig, settled: Task, seq: int, trace: Mapping[str, str]
    ) -> Outcome:
        asked = asked_for(settled, config.url)
        request = request_of(settled, seq, asked.data if asked else None)
        if is_logical(config.url):
            request.tenant = config.url
            target = self._sentinel()
        else:
            place = self._place(config.url)
            target = self.lines.connected(place) or await self._target(place)
        headers = asked.headers if asked else {}
        if TRACEPARENT not in headers:  # the caller may want a trace of its own
            headers = {**headers, **trace}
        metadata = self._metadata(config, request, headers)
        try:
            await self.lines.send(target, request, metadata, self._timeout_s)
        except grpc.aio.AioRpcError as failure:
            if ANSWER_TOO_LARGE not in (failure.details() or ""):
                return outcome_of(to_error(failure))
        return Outcome(Verdict.DELIVERED, "the agent has taken the result")

    def _metadata(
        self, config: TaskPushNotificationConfig, request: SendMessageRequest, asked: Mapping[str, str]
    ) -> list[tuple[str, str]]:
        entries: list[tuple[str, str]] = [
            (Key.VERSION, PROTOCOL_VERSION),
            (Key.IDEMPOTENCY, request.message.message_id),
            *((name, value) for name, value in asked.items() if name in PLAIN_HEADERS),
        ]
        authentication = config.authentication
        if config.token:
            entries.append((Key.TOKEN, config.token))
        if authentication.scheme:
            entries.append((AUTHORIZATION, f"{authentication.scheme} {authentication.credentials}".strip()))
        elif token := self._settings.token_for(config.url) or self._sentinel_token(config.url):
            entries.append((AUTHORIZATION, f"Bearer {token}"))
        return entries

    def _sentinel_token(self, url: str) -> str:
        return self._settings.token_for(self._settings.callback_sentinel) if is_logical(url) else ""

    # -- where

    def _sentinel(self) -> Target:
        """Return how the sentinel is reached. Raise ForbiddenError if there is none."""
        if not self._settings.callback_sentinel:
            raise ForbiddenError("is an address at a sentinel, and the server has none: set callback_sentinel")
        return Target.of_sentinel(self._settings)

    def _place(self, url: str) -> Place:
        """Return the place of a url. Raise ForbiddenError if no address can make it allowed."""
        place = read(url, PORTS)
        if problem := self._policy.problem_before_lookup(place):
            raise ForbiddenError(problem)
        return place

    async def _target(self, place: Place) -> Target:
        """Look a place up. Return one of its addresses, all of which are allowed."""
        if place.address is not None:
            return Target.at(place, place.host)
        async with asyncio.timeout(LOOKUP_TIMEOUT_S):
            found = await self._resolver.look_up(place)
        if not self._policy.names_host(place) and (problem := self._resolver.problem(place, found)):
            raise ForbiddenError(problem)
        return Target.at(place, found[0]["host"])


def _check_metadata(config: TaskPushNotificationConfig) -> None:
    """Raise InvalidRequestError if the token or the credentials of a config cannot be sent in metadata."""
    check_headers(config)
    if is_secret_scheme(config):
        raise InvalidRequestError.of(
            Violation("authentication.scheme", "Standard-Webhooks signs calls of http urls; an agent needs another one")
        )


def outcome_of(error: A2AError) -> Outcome:
    """Return what follows from a call that failed."""
    reason = f"{error.code.name}: {one_line(error.message, 200)}"
    if error.code in UNAUTHORIZED:
        return Outcome(Verdict.UNAUTHORIZED, reason)
    if error.code in LATER and not TOO_LARGE.search(error.message):
        return Outcome(Verdict.RETRY, reason, retry_after_s=error.retry_after_s)
    return Outcome(Verdict.REFUSED, reason)
