"""The connections to agents that are called back."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Self

import grpc
import grpc.aio

from a2a_grpc.address import join_address
from a2a_grpc.client.channel import open_channel
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.target import Address, grpc_address
from a2a_grpc.push.callback_settings import CallbackSettings
from a2a_grpc.push.place import Place
from a2a_grpc.wire import SERVICE_NAME, SendMessageRequest

IDLE_S = 60.0
"""Seconds after which a connection without calls is ended."""
MAX_CHANNELS = 256
"""The number of agents to which connections are kept."""
METHOD = f"/{SERVICE_NAME}/SendMessage"

MAX_RESPONSE_BYTES = 8 << 20

OPTIONS = {
    "grpc.enable_http_proxy": 0,
    "grpc.client_idle_timeout_ms": int(IDLE_S * 1000),
    "grpc.max_receive_message_length": MAX_RESPONSE_BYTES,
}


@dataclass(frozen=True, slots=True)
class Target:
    """What is dialled: an address, with TLS or without.

    Attributes:
        address: The address, with an IP address as its host if the host was looked up.
        host: The name that the certificate must have; empty for the host of the address.
        is_sentinel: True for the sentinel, which is called with the settings for it.
    """

    address: Address
    host: str = ""
    is_sentinel: bool = False

    @classmethod
    def at(cls, place: Place, address: str) -> Self:
        """Return the target for a place whose host has this IP address."""
        dial = join_address(address, place.port)
        return cls(Address(dial, address, place.port, place.scheme == "grpcs"), place.host)

    @classmethod
    def of_sentinel(cls, settings: CallbackSettings) -> Self:
        """Return the target of the sentinel."""
        return cls(grpc_address(settings.callback_sentinel), is_sentinel=True)


@dataclass(slots=True)
class _Line:
    """A channel to one target."""

    channel: grpc.aio.Channel
    send: Any
    calls: int = 0
    used_at: float = field(default_factory=monotonic)


class Lines:
    """Keeps one connection to each agent, and ends it after a minute without calls.

    Guarantees:

    - There are at most 256 channels. For another one the channel that was not used for longest is closed, unless it
      has calls.
    - A response is not read beyond 8 MiB, and not decompressed or parsed.

    Args:
        settings: Certificates.
    """

    def __init__(self, settings: CallbackSettings) -> None:
        self._client = ClientSettings(
            ca_cert=settings.callback_ca_cert,
            client_cert=settings.callback_cert,
            client_key=settings.callback_key,
        )
        self._sentinel = replace(self._client, plaintext=True) if settings.callback_plaintext else self._client
        self._lines: dict[Target, _Line] = {}
        self._places: dict[tuple[str, int, bool], Target] = {}

    def connected(self, place: Place) -> Target | None:
        """Return the target of a place to which there is a connection. Its host need not be looked up again."""
        target = self._places.get((place.host, place.port, place.scheme == "grpcs"))
        line = self._lines.get(target) if target is not None else None
        is_ready = line is not None and line.channel.get_state() is grpc.ChannelConnectivity.READY
        return target if is_ready else None

    async def send(
        self, target: Target, request: SendMessageRequest, metadata: Sequence[tuple[str, str]], timeout_s: float
    ) -> None:
        """Call SendMessage of an agent. The content of its answer does not matter.

        Raises:
            grpc.aio.AioRpcError: The call failed.
        """
        line = self._lines.get(target)
        if line is None:
            await self._make_room()
            line = self._lines.get(target) or self._add(target)
        line.calls += 1
        try:
            await line.send(request, metadata=metadata, timeout=timeout_s)
        finally:
            line.calls -= 1
            line.used_at = monotonic()

    def __len__(self) -> int:
        return len(self._lines)

    async def close(self) -> None:
        """End the connections."""
        lines = list(self._lines.values())
        self._lines.clear()
        self._places.clear()
        await asyncio.gather(*(line.channel.close(None) for line in lines))

    async def _make_room(self) -> None:
        """Close the channel that was not used for longest if there are too many."""
        if len(self._lines) < MAX_CHANNELS:
            return
        idle = [(line.used_at, target) for target, line in self._lines.items() if not line.calls]
        if idle:
            _, oldest = min(idle, key=lambda one: one[0])
            line = self._lines.pop(oldest)
            self._places = {place: target for place, target in self._places.items() if target != oldest}
            await line.channel.close(None)

    def _add(self, target: Target) -> _Line:
        line = self._lines[target] = self._open(target)
        if not target.is_sentinel:
            address = target.address
            self._places[target.host, address.port, bool(address.tls)] = target
        return line

    def _open(self, target: Target) -> _Line:
        settings = self._sentinel if target.is_sentinel else self._client
        if target.host:
            settings = replace(settings, authority=target.host)
        if not target.is_sentinel and not target.address.tls:
            settings = replace(settings, ca_cert=None, client_cert=None, client_key=None, plaintext=True)
        channel = open_channel(target.address, settings, more=OPTIONS)
        send: Any = channel.unary_unary(
            METHOD,
            request_serializer=SendMessageRequest.SerializeToString,
        )
        return _Line(channel, send)
