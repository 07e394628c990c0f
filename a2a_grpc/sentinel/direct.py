"""Plain routes: agents that the sentinel calls at addresses of its own configuration."""

import re

import grpc
import grpc.aio

from a2a_grpc.address import split_address
from a2a_grpc.client.channel import open_channel
from a2a_grpc.client.origin import GOAWAY, UNREACHED
from a2a_grpc.client.pool import Pool
from a2a_grpc.client.renewal import Renewal
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.target import Address, grpc_address
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError
from a2a_grpc.logical import logical
from a2a_grpc.sentinel.errors import AgentGoneError, AgentUnreachableError
from a2a_grpc.sentinel.outgoing import client_of, renamed
from a2a_grpc.sentinel.settings import SentinelSettings
from a2a_grpc.sentinel.upstream import RawStub, Upstream, has_no_details

OWNER, INSTANCE = "plain route", "route"
"""The owner of the addresses of plain routes, which no principal has, and what stands for the process of an agent."""

CLOSED = re.compile(r"(?:Stream removed \()?(?:Socket closed|recvmsg:|sendmsg:|Connection (?:reset|closed))")
"""How gRPC's texts for a connection that has ended begin."""

RELAYED = {
    "grpc.per_message_decompression": 1,  # a relayed response says nothing of its compression
    "grpc.http2.bdp_probe": 0,  # with its defaults gRPC takes megabytes of a response that the caller does not read
}


class Direct(Upstream):
    """Makes calls to an agent at its own HOST:PORT.

    Args:
        address: The logical address of the agent.
        target: The address of the agent's gRPC.
        client: How to connect. Its `connect_timeout_s` is the time that a call waits for a connection at most.
        max_calls: The number of calls that may be open at the same time.
    """

    prefix = "route"
    """The prefix of the settings of the sentinel from which the settings of this client are taken."""
    owner, instance = OWNER, INSTANCE
    stub = RawStub
    """The methods that are called."""

    def __init__(self, address: str, target: Address, client: ClientSettings, *, max_calls: int) -> None:
        super().__init__(address, max_calls=max_calls)
        self.target = target
        self._client = client

    def open(self) -> None:
        """Open the first channel. It connects when the first call begins.

        Raises:
            ConfigurationError: The file with root certificates cannot be used.
        """
        try:
            self._pool = Pool(self._channel, self._client.calls_per_connection, Renewal(self._client), self.stub)
        except ConfigurationError as error:
            raise renamed(error, self.prefix) from None

    def failure(self, error: grpc.aio.AioRpcError, cuts: int) -> A2AError | None:
        """Return the error for a call whose connection was lost, or could not be opened. None for other failures."""
        said = error.details() or ""
        if not has_no_details(error):
            return None
        if UNREACHED.match(said):
            return AgentUnreachableError()
        return AgentGoneError() if self.is_gone or CLOSED.match(said) or GOAWAY.match(said) else None

    def _channel(self) -> grpc.aio.Channel:
        return open_channel(self.target, self._client, more=RELAYED)


def routes_of(text: str) -> dict[str, Address]:
    """Return the targets of plain routes by their logical addresses.

    Args:
        text: `ADDRESS=HOST:PORT` for each route, with commas between them.

    Raises:
        ConfigurationError: A part of the text is no route, or two routes have one address.
    """
    routes: dict[str, Address] = {}
    for name, target in by_address("route", text, "HOST:PORT").items():
        part = f"{name}={target}"
        try:
            split_address("route", target)
        except ConfigurationError:
            raise ConfigurationError(f"route is '{part}'; it must be ADDRESS=HOST:PORT") from None
        try:
            routes[name] = grpc_address(target)
        except ConfigurationError as error:
            raise ConfigurationError(f"route is '{part}': {error}") from None
    return routes


def by_address(setting: str, text: str, form: str) -> dict[str, str]:
    """Return what a setting says of logical addresses.

    Args:
        setting: The name of the setting.
        text: ADDRESS=VALUE for each address, with commas between them.
        form: The form of a value as errors show it, such as URL.

    Raises:
        ConfigurationError: A part of the text has another form, or an address is there twice.
    """
    values: dict[str, str] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, sign, value = part.partition("=")
        if not sign:
            raise ConfigurationError(f"{setting} is '{part}'; it must be ADDRESS={form}")
        if logical(setting, name) in values:
            raise ConfigurationError(f"{setting} names the address '{name}' twice")
        values[name] = value
    return values


def plain_routes(settings: SentinelSettings) -> list[Direct]:
    """Return the plain routes of a sentinel. Raise ConfigurationError if one of them is wrong.

    Args:
        settings: The settings of the sentinel.
    """
    client = client_of(settings, "route", connect_timeout_s=settings.route_connect_timeout_s)
    return [
        Direct(address, target, client, max_calls=settings.max_agent_calls)
        for address, target in routes_of(settings.route).items()
    ]
