"""The connections to webhooks. Each address is checked immediately before it is dialled.

A name server may give other addresses to each question. A host is looked up once for a connection: all its addresses
are checked, and the connection is made to one of these. The socket is made only for an address that is allowed.
"""

import asyncio
import ipaddress
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from a2a_grpc.push.allowed import DestinationPolicy
from a2a_grpc.push.place import Place

LOOKUPS = 32
"""The number of lookups at the same time. Each needs a thread, and is not to occupy those of other work."""
IDLE_S = 15.0
"""Seconds for which an unused connection is kept."""
CONNECT_TIMEOUT_S = 5.0
"""Seconds for one connection, without the lookup."""
MAX_HEADER_BYTES = 8190
"""The largest number of bytes of a line of an answer's head."""


class ForbiddenError(OSError):
    """The address must not be dialled. The message is the end of a sentence about the url."""


class Dial:
    """What one attempt dials, and why that was forbidden.

    Args:
        place: The place.
    """

    __slots__ = ("forbidden", "place")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.forbidden = ""


_current: ContextVar[Dial] = ContextVar("a2a_grpc_push_dial")
"""The dial of the running attempt. aiohttp resolves and connects in the task of the request, or in tasks that this one
begins, which have its context."""


class SystemResolver(AbstractResolver):
    """Looks up hosts as the system does, in threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS, "a2a-grpc-push-lookup")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raise OSError if there are none."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family, _, proto, _, address in found
        ]

    async def close(self) -> None:
        """Take no further lookups. Those that run end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class RestrictedResolver(AbstractResolver):
    """Looks up the host of an attempt, and refuses it if one of its addresses is not allowed.

    Args:
        policy: Decides which addresses are allowed.
        resolver: Looks up hosts.
    """

    def __init__(self, policy: DestinationPolicy, resolver: AbstractResolver) -> None:
        self._policy = policy
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of the host. Raise ForbiddenError, or OSError if there are none."""
        dial = _current.get()
        found = await self.look_up(dial.place, family)
        if dial.place.host != host or dial.place.port != port:
            raise _forbid(dial, "is not the url that is sent to")
        if problem := self.problem(dial.place, found):
            raise _forbid(dial, problem)
        return found

    async def look_up(self, place: Place, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Return the addresses of a place. Raise OSError if there are none."""
        try:
            found = await self._resolver.resolve(place.host, place.port, family)
        except UnicodeError as error:  # the system cannot write the name, for example with an empty label
            raise OSError(str(error)) from None
        if not found:
            raise OSError("no address")
        return found

    def problem(self, place: Place, found: list[ResolveResult]) -> str:
        """Return why one of these addresses of a place is not allowed, or "" if all are."""
        problems = (self._policy.problem(place, ipaddress.ip_address(one["host"])) for one in found)
        return next(filter(None, problems), "")

    async def close(self) -> None:
        """Close the resolver that looks up."""
        await self._resolver.close()


def socket_factory(policy: DestinationPolicy) -> Any:
    """Return a function that makes the socket for an address, or raises ForbiddenError if it is not allowed."""

    def make(info: tuple[int, int, int, str, tuple[Any, ...]]) -> socket.socket:
        family, kind, protocol, _, address = info
        dial = _current.get()
        if address[1] != dial.place.port:
            raise _forbid(dial, "is not the url that is sent to")
        if problem := policy.problem(dial.place, ipaddress.ip_address(address[0])):
            raise _forbid(dial, problem)
        return socket.socket(family, kind, protocol)

    return make


def open_session(policy: DestinationPolicy, resolver: RestrictedResolver, tls: ssl.SSLContext) -> aiohttp.ClientSession:
    """Open the session for all posts. It has no cookies, takes no proxy from the environment, and decodes nothing.

    Args:
        policy: Decides which addresses are allowed.
        resolver: Looks up hosts.
        tls: How receivers are verified.
    """
    connector = aiohttp.TCPConnector(
        resolver=resolver,
        use_dns_cache=False,
        socket_factory=socket_factory(policy),
        ssl=tls,
        limit=0,  # the slots of Webhooks are the limit
        keepalive_timeout=IDLE_S,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        read_bufsize=MAX_HEADER_BYTES,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        skip_auto_headers=("Accept", "User-Agent"),
    )


def dialling(place: Place) -> Dial:
    """Make a place the one that the current task dials. Return the dial."""
    dial = Dial(place)
    _current.set(dial)
    return dial


def _forbid(dial: Dial, problem: str) -> ForbiddenError:
    dial.forbidden = problem
    return ForbiddenError(problem)
