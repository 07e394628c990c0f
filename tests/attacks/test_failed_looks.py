"""A look of the guard that fails, because no descriptor is free, ends no call, connection or accept loop."""

import asyncio
import logging
import resource
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import grpc.aio
import pytest

from a2a_grpc.listening.connections import Connections, can_look
from a2a_grpc.listening.debt import Allowance
from a2a_grpc.listening.guard import Guard
from a2a_grpc.rpc.accept import accepts_any_path
from a2a_grpc.rpc.traffic import ALARM_BYTES
from a2a_grpc.rpc.turns import Turns
from tests.attacks.test_counters import WAIT, Waiting
from tests.attacks.test_guard import ENDED

pytestmark = pytest.mark.skipif(
    not (can_look() and accepts_any_path()), reason="needs Linux, and grpcio 1.84 or newer: connections are guarded"
)

ALLOWANCE = Allowance(request_bytes=4 << 20, metadata_bytes=16 * 1024, streams=100)


@contextmanager
def no_descriptor_free() -> Iterator[None]:
    """Let this process open no further file descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # all are above these
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Port:
    """The port of a server, for a guard."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting

    @property
    def number(self) -> int:
        return self._waiting.port

    @property
    def turns(self) -> Turns:
        return self._waiting.server.turns


async def test_calls_go_on_while_looks_fail_and_the_log_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    async with Waiting() as waiting, grpc.aio.insecure_channel(waiting.address) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(WAIT)
        waiting.release.set()
        assert await call(b"before") == b"before"
        guard = Guard([Port(waiting)], waiting.traffic, allowance=ALLOWANCE, buffer_bytes=0)
        guard.start()
        try:
            with caplog.at_level(logging.ERROR, "a2a_grpc.listening"):
                with no_descriptor_free():
                    for _ in range(3):  # each charge makes the guard look at once, as a bomb does
                        waiting.traffic.charge("ipv4:127.0.0.1:1", ALARM_BYTES)
                assert await asyncio.gather(*(call(b"%d" % number) for number in range(200))) == [
                    b"%d" % number for number in range(200)
                ]
        finally:
            guard.stop()
        assert not waiting.server.ended.done()
        failed = [line for line in caplog.messages if line.startswith("looking for floods failed error=OSError(")]
        assert len(failed) == 1
        assert not any(ENDED in line for line in caplog.messages)


def test_a_connection_that_cannot_be_read_is_not_taken_for_one_that_has_ended() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0],
        socket.create_connection(listening.getsockname()),
        listening.accept()[0],
    ):
        port = listening.getsockname()[1]
        connections = Connections(lambda: [port])
        before = list(connections.look(hold_new=False))
        assert len(before) == 2
        assert connections.is_complete
        with closing(connections.look(hold_new=False)) as looking:  # type: ignore[type-var]
            seen = [next(looking)]
            with no_descriptor_free():
                seen += looking
        assert seen == [before[0]]
        assert not connections.is_complete
        assert connections.unseen == [before[1]]
        assert list(connections.look(hold_new=False)) == before, "the same objects: their figures go on"
        assert connections.is_complete
