"""A process that was stopped for a while, or got no processor, blames no caller for it."""

import asyncio
import signal
from contextlib import ExitStack

import pytest

from tests.attacks import http2
from tests.attacks.floods import acknowledge
from tests.attacks.http2 import Frame, Peer
from tests.attacks.rig import Target
from tests.harness import request

SEND = "/lf.a2a.v1.A2AService/SendMessage"
REQUEST = http2.message(request("x" * 24_000).SerializeToString())
FIRST_BYTES = 16_000
LIMIT_S = 3
"""How long a request may take."""
STOPPED_S = LIMIT_S + 1.0
CALLERS = 6


def begin(peer: Peer) -> None:
    """Send the first part of a request, as much as the server takes unasked."""
    acknowledge(peer)
    peer.send(http2.headers(1, http2.request_block(SEND)) + http2.data(1, REQUEST[:FIRST_BYTES]))


def await_asked(peer: Peer) -> None:
    """Wait until the server asks for the rest of the request."""
    while True:
        found = peer.until([http2.WINDOW_UPDATE], timeout_s=20.0)
        assert found is not None, "the server did not ask for the request"
        if found.stream == 1:
            return


def end(peer: Peer) -> None:
    """Send the rest of the request once the server answers again, as a client does that waits for its window."""
    peer.send(http2.ping())
    assert peer.until([http2.PING], timeout_s=20.0) is not None, "the server does not answer"
    peer.send(http2.data(1, REQUEST[FIRST_BYTES:], end_stream=True))


def response(peer: Peer) -> list[Frame]:
    """Return the frames of the response."""
    found = list[Frame]()
    for frame in peer.frames(timeout_s=20.0):
        if frame.stream == 1:
            found.append(frame)
            if frame.kind == http2.RST_STREAM or frame.flags & http2.END_STREAM:
                return found
    raise AssertionError(f"the call has not ended: {found}")


def is_served(peer: Peer) -> bool:
    """Return True if the call has a response, and not only a status."""
    return any(frame.kind == http2.DATA for frame in response(peer))


@pytest.mark.long
async def test_a_server_that_was_stopped_refuses_no_request_that_was_on_its_way() -> None:
    async with Target.ours("--request-timeout-s", str(LIMIT_S)) as target:
        with ExitStack() as stack:
            peers = [stack.enter_context(Peer.connect(target.address)) for _ in range(CALLERS)]
            honest, slow = peers[:-1], peers[-1]
            for peer in peers:
                await asyncio.to_thread(begin, peer)
            for peer in peers:
                await asyncio.to_thread(await_asked, peer)
            target.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(STOPPED_S)  # it is what is tested
            target.process.send_signal(signal.SIGCONT)
            for peer in honest:
                await asyncio.to_thread(end, peer)
            for peer in honest:
                assert await asyncio.to_thread(is_served, peer)
            assert not await asyncio.to_thread(is_served, slow)  # it has sent nothing more, and is refused
