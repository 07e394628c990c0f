"""After faults the log has no traceback and no exception that was never retrieved."""

import asyncio
import random
import threading
from contextlib import suppress
from pathlib import Path

import grpc.aio
import pytest

from a2a_grpc.wire import A2AServiceStub
from tests.attacks import http2
from tests.attacks.http2 import Peer
from tests.attacks.rig import Target, run
from tests.databases import Postgres
from tests.harness import V1, request, scripted

NOISE = ("never retrieved", "Traceback", "was destroyed", "was never awaited", "Unhandled")
CLIENTS = 12

SERVICE = "/lf.a2a.v1.A2AService/"
SCRIPT = ({"chunks": {"count": 30, "interval_s": 0.01}}, {"sleep": 0.05})


def frames() -> bytes:
    """Return a connection's beginning with calls of all kinds."""
    played = scripted(*SCRIPT).SerializeToString()
    calls = [
        http2.request(1, f"{SERVICE}SendStreamingMessage", played),
        http2.request(3, f"{SERVICE}SendMessage", request().SerializeToString()),
        http2.request(5, f"{SERVICE}SubscribeToTask", b"\x12\x01x"),
        http2.request(7, f"{SERVICE}SendMessage", b"\xff"),
        http2.request(9, "/grpc.health.v1.Health/Watch", b""),
        http2.request(11, f"{SERVICE}SendStreamingMessage", None),
        http2.request(13, "/\xff", b""),
    ]
    return http2.PREFACE + http2.settings() + b"".join(calls)


def cut(address: str, chance: random.Random) -> None:
    """Send the beginning of a connection, or all of it; go at any moment, with resets or without a word."""
    sent = frames()
    with Peer.connect(address, greet=False) as peer, suppress(OSError):
        peer.send(sent[: chance.choice([len(sent), chance.randrange(len(sent))])])
        if chance.random() < 0.7:
            peer.until([http2.DATA], timeout_s=chance.random() * 0.3 + 0.01)
        for stream in chance.sample(range(1, 15, 2), chance.randrange(7)):
            peer.send(http2.rst_stream(stream, chance.choice([http2.CANCEL, http2.NO_ERROR, http2.PROTOCOL_ERROR])))


async def cut_for_a_while(target: Target, seconds: float) -> None:
    """Have clients come and go for so long."""

    def play(seed: int) -> None:
        chance = random.Random(seed)
        while not over.is_set():
            with suppress(OSError):
                cut(target.address, chance)

    over = threading.Event()
    playing = [asyncio.create_task(asyncio.to_thread(play, seed)) for seed in range(CLIENTS)]
    try:
        await asyncio.sleep(seconds)
    finally:
        over.set()
        await asyncio.gather(*playing)


def check_quiet(log: str) -> None:
    noisy = [line for line in log.splitlines() if any(word in line for word in NOISE)]
    assert noisy == [], log[-4000:]


@pytest.mark.long
@pytest.mark.parametrize("options", [(), ("--uvloop",)])
async def test_clients_that_go_at_every_moment_leave_no_error_in_the_log(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    async with Target.ours("--store", f"sqlite:///{tmp_path}/tasks.db", *options) as target:
        await cut_for_a_while(target, 6.0)
        target.process.terminate()  # and some go while the server stops
        await cut_for_a_while(target, 0.5)
        await target.process.wait()
        assert target.process.returncode == 0
        check_quiet(target.log())


@pytest.mark.long
async def test_a_database_that_goes_away_leaves_no_error_in_the_log(postgres_server: Postgres) -> None:
    await run("-m", "a2a_grpc", "db", "upgrade", "--store", postgres_server.url())
    async with Target.ours("--store", postgres_server.url()) as target:
        over = asyncio.Event()

        async def send() -> None:
            async with grpc.aio.insecure_channel(target.address) as channel:
                stub = A2AServiceStub(channel)
                while not over.is_set():
                    with suppress(grpc.aio.AioRpcError):
                        await stub.SendMessage(scripted(*SCRIPT), metadata=V1, timeout=5)

        sending = [asyncio.create_task(send()) for _ in range(CLIENTS)]
        try:
            for _ in range(5):
                await asyncio.sleep(0.3)
                await postgres_server.terminate_connections()
        finally:
            over.set()
            await asyncio.gather(*sending)
        check_quiet(target.log())


async def test_metadata_that_is_not_utf_8_is_told_once_a_second_with_a_count() -> None:
    calls = 500

    def play(address: str) -> None:
        with Peer.connect(address) as peer:
            for stream in range(1, 2 * calls, 2):
                peer.send(http2.request(stream, f"{SERVICE}GetTask", b"\x12\x01x", (b"x-text", b"\xff\xfe")))
                if stream % 50 == 1:
                    peer.until([http2.HEADERS], timeout_s=1.0)
            peer.until([http2.GOAWAY], timeout_s=1.5)

    async with Target.ours() as target:
        await asyncio.to_thread(play, target.address)
        lines = [line for line in target.log().splitlines() if "not UTF-8" in line]
        assert 1 <= len(lines) <= 20
        assert any("more like this" in line for line in lines)
        check_quiet(target.log())
