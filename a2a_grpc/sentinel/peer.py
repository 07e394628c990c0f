"""One other sentinel of the store, to which calls are passed on."""

import time
from typing import Any

import grpc
import grpc.aio

from a2a_grpc.client.channel import open_channel
from a2a_grpc.client.origin import UNREACHED
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.target import grpc_address
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError
from a2a_grpc.protocol import Key
from a2a_grpc.sentinel.direct import Direct, renamed
from a2a_grpc.sentinel.errors import SentinelUnreachedError
from a2a_grpc.sentinel.settings import SentinelSettings
from a2a_grpc.sentinel.upstream import RawStub, has_no_details
from a2a_grpc.sentinel.wire import LOOK, LOOK_PATH, LookRequest

PEER_SETTINGS = {"ca_cert": "peer_ca_cert", "client_cert": "peer_cert", "client_key": "peer_key"}
"""The settings of the sentinel that stand for settings of the client."""
DOWN_S = 2.0
"""Seconds for which a sentinel that could not be reached gets no calls."""
LOOK_S = 5.0
"""Seconds for a sentinel to answer that it looks at an address."""


class PeerStub(RawStub):
    """The methods that one sentinel calls at another one."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        look: Any = channel.unary_unary(LOOK_PATH)
        setattr(self, LOOK.name, look)


class Peer(Direct):
    """Makes calls to agents at another sentinel."""

    settings = PEER_SETTINGS
    stub = PeerStub
    down_until = 0.0
    """The monotonic time until which the sentinel gets no calls."""
    used_at = 0.0
    """The monotonic time of the last call."""

    def failure(self, error: grpc.aio.AioRpcError, cuts: int) -> A2AError | None:
        """Return the error for a call whose connection was lost, or could not be opened. None for other failures."""
        if has_no_details(error) and UNREACHED.match(error.details() or ""):
            self.down_until = time.monotonic() + DOWN_S
            return SentinelUnreachedError()
        return super().failure(error, cuts)

    async def look(self, address: str, mark: str) -> None:
        """Ask the sentinel to look whether its agents at an address were replaced. Raise AioRpcError if this fails.

        Args:
            address: The logical address.
            mark: The mark of the call.
        """
        assert self._pool is not None
        request = LookRequest(address=address).SerializeToString()
        await self._pool.unary(LOOK.name, request, metadata=((Key.HOP, mark),), timeout=LOOK_S)


async def peer_client(settings: SentinelSettings, sentinel: str) -> ClientSettings:
    """Return how a sentinel calls others. Raise ConfigurationError if its certificates cannot be used.

    Args:
        settings: The settings of the sentinel.
        sentinel: HOST:PORT of any sentinel.
    """
    try:
        client = ClientSettings(
            plaintext=settings.peer_plaintext,
            ca_cert=settings.peer_ca_cert,
            client_cert=settings.peer_cert,
            client_key=settings.peer_key,
        )
        await open_channel(grpc_address(sentinel), client).close()  # so that wrong files are reported at once
    except ConfigurationError as error:
        raise renamed(error, PEER_SETTINGS) from None
    return client
