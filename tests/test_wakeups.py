"""The event loop wakes once for many events of gRPC."""

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import grpc.aio
import pytest

from a2a_grpc.rpc.wakeups import CALM, EVENTS, LOOKS_APART, gather_wakeups, waiting_bytes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the bytes of a socket like this")

CALLS = EVENTS // 2
ECHO = "/test/Echo"
FIRST = b"answered before the others"


class Echo(grpc.GenericRpcHandler):
    """Answers the calls when `release` is set, and those with the request `FIRST` when `release_first` is set."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.release_first = threading.Event()
        self.started = threading.Semaphore(0)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        def echo(asked: bytes, context: grpc.ServicerContext) -> bytes:
            self.started.release()
            (self.release_first if asked == FIRST else self.release).wait()
            return asked

        return grpc.unary_unary_rpc_method_handler(echo)


@pytest.fixture
def echo() -> Iterator[tuple[Echo, str]]:
    """A server in threads, which goes on while the event loop is held."""
    handler = Echo()
    with ThreadPoolExecutor(CALLS + 1) as pool:
        server = grpc.server(pool, handlers=[handler])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield handler, f"127.0.0.1:{port}"
        finally:
            handler.release.set()
            handler.release_first.set()
            server.stop(None).wait()


async def test_a_round_reads_the_bytes_of_all_events_that_wait_and_every_call_is_answered(
    echo: tuple[Echo, str],
) -> None:
    handler, address = echo
    async with grpc.aio.insecure_channel(address) as channel:
        reader = gather_wakeups(asyncio.get_running_loop())
        assert reader is not None, "this version of grpc.aio has other parts"
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(ECHO)
        handler.release.set()
        for _ in range(CALM):  # looks are rare after them
            await _answer(call, b"")
            await asyncio.to_thread(handler.started.acquire)
        handler.release.clear()
        calls = [asyncio.ensure_future(_answer(call, b"%d" % number)) for number in range(CALLS)]
        for _ in range(CALLS):
            assert await asyncio.to_thread(handler.started.acquire, timeout=30)
        handler.release.set()
        end = time.monotonic() + 30
        while waiting_bytes(reader) < CALLS:  # the loop is held meanwhile
            assert time.monotonic() < end
        for _ in range(LOOKS_APART + 1):  # the first one begins before the loop sees the bytes
            await asyncio.sleep(0)
        assert waiting_bytes(reader) < CALLS - LOOKS_APART
        assert await asyncio.gather(*calls) == [b"%d" % number for number in range(CALLS)]


async def test_more_events_than_may_wait_are_handled_too(echo: tuple[Echo, str]) -> None:
    handler, address = echo
    handler.release.set()
    async with grpc.aio.insecure_channel(address) as channel:
        reader = gather_wakeups(asyncio.get_running_loop())
        assert reader is not None
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(ECHO)
        asked = [b"%d" % number for number in range(10 * EVENTS)]
        calls = [asyncio.ensure_future(_answer(call, each)) for each in asked]
        while not waiting_bytes(reader):
            await asyncio.sleep(0)
        end = time.monotonic() + 30
        while waiting_bytes(reader) < CALLS:  # the loop is held: events come, and no round handles them
            assert time.monotonic() < end
        assert await asyncio.gather(*calls) == asked


async def test_an_event_of_a_loop_that_was_closed_keeps_no_other_event_waiting(echo: tuple[Echo, str]) -> None:
    handler, address = echo
    failed: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failed.append(context))
    async with grpc.aio.insecure_channel(address) as channel:
        reader = gather_wakeups(loop)
        assert reader is not None
        closed = await asyncio.to_thread(_call_of_a_closed_loop, handler, address)
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(ECHO)
        calls = [asyncio.ensure_future(_answer(call, b"%d" % number)) for number in range(CALLS)]
        for _ in range(CALLS):
            assert await asyncio.to_thread(handler.started.acquire, timeout=30)
        await asyncio.sleep(0)
        end = time.monotonic() + 30
        for release, count in (handler.release_first, 1), (handler.release, 1 + CALLS):
            release.set()
            while waiting_bytes(reader) < count:  # the loop is held meanwhile
                assert time.monotonic() < end
        assert await asyncio.gather(*calls) == [b"%d" % number for number in range(CALLS)]
    assert any("closed" in str(each["exception"]) for each in failed)
    del closed


def _call_of_a_closed_loop(handler: Echo, address: str) -> object:
    """Begin a call in a loop of its own, and close the loop before the answer. Return what must not be freed yet."""

    async def begin() -> object:
        channel = grpc.aio.insecure_channel(address)
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(ECHO)
        begun = call(FIRST, timeout=60)
        assert await asyncio.to_thread(handler.started.acquire, timeout=30)
        return channel, begun

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(begin())
    finally:
        loop.close()


async def _answer(call: "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]", asked: bytes) -> bytes:
    answer: bytes = await call(asked, timeout=30)
    return answer
