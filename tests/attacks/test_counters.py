"""What gRPC's counters say of a connection, and what the guard makes of calls that gRPC refuses."""

import asyncio
import socket
from contextlib import suppress
from itertools import islice

import grpc
import grpc.aio
import pytest

from a2a_grpc.errors import A2AError
from a2a_grpc.listening.connections import can_look
from a2a_grpc.listening.counters import Channelz, Counters
from a2a_grpc.listening.sockets import limit_waiting, listeners
from a2a_grpc.rpc import AcceptingServer, Arrivals, Methods, TransportSettings, server_options
from a2a_grpc.rpc.accept import accepts_any_path
from a2a_grpc.rpc.limits import CUT_CHARGE_BYTES, ENTRY_MEMORY_BYTES, MetadataLimit
from a2a_grpc.rpc.traffic import ANSWERS_PER_RESET, RESET_BYTES, Traffic
from tests.attacks import http2
from tests.attacks.floods import GET_TASK, acknowledge, streams
from tests.attacks.rig import MiB, Target
from tests.harness import eventually

pytestmark = pytest.mark.skipif(
    not (can_look() and accepts_any_path()), reason="needs Linux, and grpcio 1.84 or newer: connections are guarded"
)

WAIT = "/test/Wait"
LIMIT = 16 * 1024


class Waiting:
    """A guarded port in this process. A call of it answers when `release` is set."""

    def __init__(self) -> None:
        self.traffic = Traffic()
        self.release = asyncio.Event()
        settings = TransportSettings(max_call_metadata_bytes=LIMIT)
        self.server = AcceptingServer(server_options(settings, is_guarded=True), traffic=self.traffic)
        self.port = self.server.add_insecure_port("127.0.0.1:0")

        async def serve(asked: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
            await self.release.wait()
            return asked

        async def refuse(context: "grpc.aio.ServicerContext[bytes, bytes]", error: A2AError) -> None:
            await context.abort(error.code, str(error))

        arrivals = Arrivals(places=100, timeout_s=60.0, max_bytes=1 << 20, refuse=refuse, traffic=self.traffic)
        handler = arrivals.asked_for(grpc.unary_unary_rpc_method_handler(serve))
        self.server.serve(Methods({WAIT: handler}, limit=MetadataLimit(LIMIT, self.traffic)))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> "Waiting":
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop(None)


def named(peer: http2.Peer) -> str:
    """Return the name that gRPC has for this end of a connection."""
    return f"ipv4:127.0.0.1:{peer.socket.getsockname()[1]}"


async def test_the_counters_of_a_connection_are_those_of_its_calls() -> None:
    async with Waiting() as waiting:
        counted = Channelz()
        with http2.Peer.connect(waiting.address) as peer, http2.Peer.connect(waiting.address) as other:
            await asyncio.to_thread(acknowledge, peer)
            await asyncio.to_thread(acknowledge, other)
            peer.send(b"".join(http2.request(stream, WAIT) for stream in range(1, 7, 2)))
            other.send(http2.request(1, WAIT))

            def started() -> None:
                assert counted.of(named(peer)) == Counters(started=3, ended=0, messages=0)
                assert counted.of(named(other)) == Counters(started=1, ended=0, messages=0)

            await eventually(started)
            waiting.release.set()

            def ended() -> None:
                assert counted.of(named(peer)) == Counters(started=3, ended=3, messages=3)

            await eventually(ended)
            gone = named(peer)
        await eventually(lambda: _assert(counted.of(gone) is None))


async def test_calls_whose_metadata_grpc_has_cut_are_charged_and_calls_that_a_client_cancels_are_not() -> None:
    async with Waiting() as waiting:
        with http2.Peer.connect(waiting.address) as peer:
            await asyncio.to_thread(acknowledge, peer)
            account = waiting.traffic.account(named(peer))
            peer.send(
                b"".join(http2.request(stream, WAIT, b"", ("x-large", "l" * 15_000)) for stream in range(1, 11, 2))
            )
            await eventually(lambda: _assert(account.arrived == 5))
            peer.send(b"".join(http2.rst_stream(stream) for stream in range(1, 11, 2)))
            await eventually(lambda: _assert(Channelz().of(named(peer)) == Counters(started=5, ended=5, messages=0)))
            await waiting.server.wait_for_calls(10.0)
            assert account.charged == 0
        with http2.Peer.connect(waiting.address) as peer:
            await asyncio.to_thread(acknowledge, peer)
            block = http2.request_block(WAIT)
            peer.send(http2.headers(1, block + http2.literal("x-bomb", "", index=True)))
            peer.send(http2.headers(3, block + http2.indexed(http2.FIRST_DYNAMIC) * 10_000))
            account = waiting.traffic.account(named(peer))
            await eventually(lambda: _assert(account.charged == CUT_CHARGE_BYTES + RESET_BYTES))


async def test_calls_that_are_reset_before_their_request_is_read_are_charged_and_other_calls_pay_for_them() -> None:
    async with Waiting() as waiting:
        waiting.release.set()
        with http2.Peer.connect(waiting.address) as peer:
            await asyncio.to_thread(acknowledge, peer)
            account = waiting.traffic.account(named(peer))
            peer.send(http2.request(1, WAIT))
            await eventually(lambda: _assert(account.answered == 1))
            block, resets = http2.request_block(WAIT), range(3, 23, 2)
            peer.send(b"".join(http2.headers(stream, block) for stream in resets))
            await eventually(lambda: _assert(account.waiting == len(resets)))
            peer.send(b"".join(http2.rst_stream(stream) for stream in resets))
            await eventually(lambda: _assert(account.lost == len(resets)))
            assert account.arrived == 1
            assert account.charged == (len(resets) - 1) * RESET_BYTES
            assert not waiting.traffic.is_proven(named(peer))


async def test_a_connection_whose_first_call_was_reset_is_proven_once_enough_of_its_calls_were_answered() -> None:
    async with Waiting() as waiting:
        waiting.release.set()
        with http2.Peer.connect(waiting.address) as peer:
            await asyncio.to_thread(acknowledge, peer)
            account = waiting.traffic.account(named(peer))
            peer.send(http2.headers(1, http2.request_block(WAIT)))
            await eventually(lambda: _assert(account.waiting == 1))
            peer.send(http2.rst_stream(1))
            await eventually(lambda: _assert(account.charged == RESET_BYTES))
            for stream in range(3, 3 + 2 * ANSWERS_PER_RESET, 2):
                assert not waiting.traffic.is_proven(named(peer))
                peer.send(http2.request(stream, WAIT))
            await eventually(lambda: _assert(waiting.traffic.is_proven(named(peer))))
            assert account.arrived == ANSWERS_PER_RESET


async def test_a_header_list_of_thousands_of_entries_is_charged_and_not_begun() -> None:
    async with Waiting() as waiting:
        waiting.release.set()
        async with grpc.aio.insecure_channel(waiting.address) as channel:
            many = tuple(("x-many", str(number)) for number in range(300))
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(WAIT)
            assert await call(b"asked", metadata=many, timeout=10.0) == b"asked"
        with http2.Peer.connect(waiting.address) as peer:  # before the acknowledgement, so that gRPC cuts nothing
            block = http2.request_block(WAIT)
            peer.send(http2.request(1, WAIT))
            peer.send(http2.headers(3, block + http2.literal("x-bomb", "", index=True)))
            peer.send(http2.headers(5, block + http2.indexed(http2.FIRST_DYNAMIC) * 10_000) + http2.data(5, b""))
            account = waiting.traffic.account(named(peer))
            await eventually(lambda: _assert(account.begun == 3))
            assert 10_000 <= account.charged / ENTRY_MEMORY_BYTES < 10_010
            await eventually(lambda: _assert(account.answered == 1))
        waiting.server.turns.only(lambda peer: True)  # as during an attack, in which fewer entries are enough
        with http2.Peer.connect(waiting.address) as peer:
            peer.send(http2.headers(1, block + http2.literal("x-bomb", "", index=True)))
            peer.send(http2.headers(3, block + http2.indexed(http2.FIRST_DYNAMIC) * 600))
            account = waiting.traffic.account(named(peer))
            await eventually(lambda: _assert(600 <= account.charged / ENTRY_MEMORY_BYTES < 610))


def opened_until_the_end(address: str) -> int:
    """Open streams until the connection ends. Return how many bytes that took."""
    sent, block = 0, http2.request_block(GET_TASK)
    with http2.Peer.connect(address) as peer:
        acknowledge(peer)
        ids = iter(streams())
        with suppress(OSError):
            while sent < 100 * MiB:
                batch = b"".join(http2.headers(stream, block) for stream in islice(ids, 200))
                peer.send(batch)
                sent += len(batch)
                peer.drain()
    return sent


async def test_streams_beyond_the_limit_end_a_connection_whatever_its_first_hundred_calls_may_still_send() -> None:
    async with Target.ours() as target:
        for attempt in range(1, 11):  # a machine that is busy with other things lets more through now and then
            sent = await asyncio.to_thread(opened_until_the_end, target.address)
            if sent < 16 * MiB:
                break
            assert attempt < 10
        await eventually(lambda: _assert("ended a connection that floods the server host=" in target.log()))


def test_little_may_wait_for_a_connection_that_is_not_accepted_yet() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        limit_waiting(port, listeners(port), 32 * 1024)
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = listening.accept()
            with accepted:
                assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 64 * 1024, "Linux counts twice"


def _assert(holds: bool) -> None:
    assert holds


async def test_no_task_of_a_call_is_left_when_its_server_has_stopped() -> None:
    """A call whose task went on wrote a line into a log that was closed."""
    async with Waiting() as waiting:
        with http2.Peer.connect(waiting.address) as peer:
            await asyncio.to_thread(acknowledge, peer)
            peer.send(http2.request(1, WAIT))
            await eventually(lambda: _assert(waiting.traffic.account(named(peer)).arrived == 1))
            await waiting.server.stop(0)
            assert not [task for task in asyncio.all_tasks() if task.get_name() == "rpc_task"]
