"""Posting notifications to webhooks."""

import asyncio
import io
import os
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.http import HttpProcessingError
from google.protobuf import json_format
from yarl import URL

from a2a_grpc.client.channel import user_agent
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import InvalidRequestError
from a2a_grpc.harmless import one_line
from a2a_grpc.offload import offload
from a2a_grpc.push.allowed import DestinationPolicy, not_public
from a2a_grpc.push.answer import outcome_of
from a2a_grpc.push.delivery import Delivery, Outcome, Verdict
from a2a_grpc.push.dialling import CONNECT_TIMEOUT_S, RestrictedResolver, SystemResolver, dialling, open_session
from a2a_grpc.push.headers import check_headers, headers_of
from a2a_grpc.push.place import PORTS, Place, PlaceError, read, refused
from a2a_grpc.push.settings import WebhookSettings
from a2a_grpc.push.signing import SigningKey
from a2a_grpc.push.slots import Slots
from a2a_grpc.push.versions import MIN_AIOHTTP, is_at_least
from a2a_grpc.regular import MAX_PEM_BYTES, check_regular
from a2a_grpc.wire import StreamResponse, TaskPushNotificationConfig

LOOKUP_TIMEOUT_S = 5.0
"""Seconds for the lookup of a host when its config is registered."""
MAX_ANSWER_BYTES = 64 * 1024
"""What is read of the content of an answer, so that its connection can be used again."""
ANSWER_TIMEOUT_S = 2.0
"""Seconds for reading it. The status says already whether the receiver has the notification."""


class Webhooks:
    """Sends notifications to http and https urls. It is the `Destination` of these.

    Guarantees:

    - Nothing is sent to a url that the settings do not allow, and no connection to its address is begun. The url is
      checked when it is registered, and its addresses are checked again for each connection.
    - Redirects are not followed. Proxies of the environment are not used. No cookies are kept.
    - An attempt takes at most `push_timeout_s`, and reads at most 64 KiB of the answer, which is not decompressed.
    - At most `push_posts_per_host` and `push_posts_per_tenant` attempts are at work. Others wait, without a limit.
    - No outcome and no error has a token or credentials in it.

    Args:
        settings: The settings.
        key: The key that signs notifications; None if they are signed with the secrets of configs only.
        resolver: Looks up hosts; by default as the system does. It is closed with the webhooks.
        clock: The Unix time in seconds.

    Raises:
        ConfigurationError: The file of `push_ca_cert` cannot be used, or aiohttp is too old.
    """

    SCHEMES = tuple(PORTS)
    """The schemes of the urls to which webhooks are sent."""

    def __init__(
        self,
        settings: WebhookSettings | None = None,
        *,
        key: SigningKey | None = None,
        resolver: AbstractResolver | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_installed()
        self._settings = settings or WebhookSettings()
        self._key = key
        self._clock = clock
        self._policy = DestinationPolicy(self._settings.rules)
        self._tls = _tls(self._settings.push_ca_cert)
        self._resolver = RestrictedResolver(self._policy, resolver or SystemResolver())
        self._hosts = Slots(self._settings.push_posts_per_host)
        self._tenants = Slots(self._settings.push_posts_per_tenant)
        self._session: aiohttp.ClientSession | None = None
        self._agent = user_agent()

    async def check(self, config: TaskPushNotificationConfig) -> None:
        """Check the config when it is registered.

        If the name server does not answer now, the host is checked only when it is dialled.

        Raises:
            InvalidRequestError: The url is not allowed, or its host has no address, or the token or the credentials
                cannot be sent. The error names the field.
        """
        place = self._place(config)
        check_headers(config)
        if place.address is not None or self._policy.names_host(place):
            return
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                found = await self._resolver.look_up(place)
        except TimeoutError:
            return
        except OSError as error:
            if error.errno == socket.EAI_AGAIN:
                return
            problem = not_public(place)  # the same text as for a private address reveals no names of private networks
        else:
            problem = self._resolver.problem(place, found)
        if problem:
            raise refused(config.url, problem)

    def needs_settled(self, config: TaskPushNotificationConfig) -> bool:
        """Return False: a receiver gets each change."""
        return False

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Send a notification once. Wait for a slot of its host and its tenant first."""
        try:
            place = self._place(delivery.config)
            check_headers(delivery.config)
        except InvalidRequestError as error:
            return Outcome(Verdict.REFUSED, str(error))
        # A host that does not answer keeps its own slots busy, and not those of the tenant.
        async with self._hosts.hold(f"{place.host}:{place.port}"), self._tenants.hold(delivery.config.tenant):
            return await self._post(place, delivery)

    async def close(self) -> None:
        """End the connections."""
        if self._session is not None:
            await self._session.close()
        await self._resolver.close()

    def _place(self, config: TaskPushNotificationConfig) -> Place:
        """Return the place of a config. Raise InvalidRequestError if no address can make it allowed."""
        try:
            place = read(config.url)
        except PlaceError as error:
            raise refused(config.url, str(error)) from None
        if problem := self._policy.problem_before_lookup(place):
            raise refused(config.url, problem)
        return place

    async def _post(self, place: Place, delivery: Delivery) -> Outcome:
        if self._session is None:
            self._session = open_session(self._policy, self._resolver, self._tls)
        try:
            body = await offload(delivery.event.ByteSize(), _body, delivery.event)
        except (json_format.Error, ValueError) as error:  # such as a number that JSON does not have
            return Outcome(Verdict.REFUSED, f"the event cannot be written as JSON: {one_line(str(error), 200)}")
        headers = {**headers_of(delivery, body, self._key, int(self._clock())), "User-Agent": self._agent}
        dial = dialling(place)
        try:
            async with asyncio.timeout(self._settings.push_timeout_s):
                async with self._session.post(
                    URL(place.url, encoded=True), data=io.BytesIO(body), headers=headers, allow_redirects=False
                ) as answer:
                    outcome = outcome_of(answer.status, answer.headers.get("Retry-After"), self._clock())
                    await _finish(answer)
                    return outcome
        except aiohttp.ServerTimeoutError:
            return Outcome(Verdict.RETRY, f"no connection within {CONNECT_TIMEOUT_S:g} s")
        except TimeoutError:
            return Outcome(Verdict.RETRY, f"no answer within {self._settings.push_timeout_s:g} s")
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError, EOFError) as error:
            if dial.forbidden:
                return Outcome(Verdict.REFUSED, f"the url {dial.forbidden}")
            return Outcome(Verdict.RETRY, _reason(error))


def check_installed() -> None:
    """Raise ConfigurationError if aiohttp is too old to check addresses when it dials them, and to limit answers."""
    if not is_at_least(aiohttp.__version__, MIN_AIOHTTP):
        raise ConfigurationError(
            f"push notifications need aiohttp {MIN_AIOHTTP}, but aiohttp is {aiohttp.__version__}: "
            'pip install --upgrade "a2a-grpc[push]"'
        )


async def _finish(answer: aiohttp.ClientResponse) -> None:
    """Read the rest of an answer if it is short, so that the connection can be used again. Otherwise end it."""
    left = MAX_ANSWER_BYTES
    with suppress(TimeoutError, aiohttp.ClientError, HttpProcessingError, OSError, ValueError, EOFError):
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while left > 0 and (chunk := await answer.content.read(left)):
                left -= len(chunk)
            if left > 0:
                return
    answer.close()


def _body(event: StreamResponse) -> bytes:
    return json_format.MessageToJson(event, indent=None, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _reason(error: Exception) -> str:
    """Return why a receiver could not be reached, in one line, without its address."""
    cause = getattr(error, "os_error", None) or error
    number = getattr(cause, "errno", None) or 0
    said = os.strerror(number) if number > 0 else getattr(cause, "strerror", None) or str(cause)
    return one_line(said, 200) or type(cause).__name__


def _tls(ca_cert: str | None) -> ssl.SSLContext:
    """Return how receivers are verified: with the CAs of the system, and with those of a file."""
    context = ssl.create_default_context()
    if ca_cert is not None:
        try:
            check_regular(ca_cert, MAX_PEM_BYTES)
            context.load_verify_locations(ca_cert)
        except OSError as error:  # an ssl.SSLError is one
            raise ConfigurationError(f"push_ca_cert {ca_cert}: cannot be used: {one_line(str(error), 200)}") from None
    return context
