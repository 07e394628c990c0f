"""Requests that do not arrive hold places, and keep no new connection out."""

import asyncio
from contextlib import ExitStack

from a2a_grpc.lifecycle import COMPLETED
from tests.attacks import http2
from tests.attacks.floods import GET_TASK, acknowledge
from tests.attacks.http2 import Peer
from tests.harness import Served, eventually, request, scripted_agent, serving

CONNECTIONS, CALLS = 4, 4
"""As many connections as take the places of all new connections, with calls that are no reason to hurry any of them."""
KEPT = 12
"""So many of these places are not taken back soon."""
BEGUN = b"\0" + (4 << 20).to_bytes(4) + b"x" * 100
"""The first bytes of a request of 4 MiB."""


def begin(peer: Peer) -> None:
    """Begin calls, and send no more of their requests."""
    acknowledge(peer)
    block = http2.request_block(GET_TASK)
    peer.send(b"".join(http2.headers(stream, block) + http2.data(stream, BEGUN) for stream in range(1, 2 * CALLS, 2)))


def arriving(served: Served) -> int:
    """Return the number of requests that the server has asked for."""
    assert served.server._running is not None
    return sum(account.arriving for account in served.server._running.ports._traffic._accounts.values())


async def test_four_connections_whose_requests_do_not_arrive_keep_no_new_connection_out() -> None:
    async with serving(scripted_agent()) as served:
        with ExitStack() as stack:
            for _ in range(CONNECTIONS):
                await asyncio.to_thread(begin, stack.enter_context(Peer.connect(served.server.grpc_address)))

            def are_taken() -> None:
                assert arriving(served) >= KEPT

            await eventually(are_taken)
            assert (await served.send(request("hello"))).task.status.state == COMPLETED
