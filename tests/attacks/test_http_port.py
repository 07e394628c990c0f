"""Floods of the HTTP port: bodies that no handler reads, and scrapes one after the other."""

import asyncio
import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from a2a_grpc.telemetry.prometheus import Scrape
from tests.attacks.rig import MiB, Target

CHUNKS = b"1\r\na\r\n" * 2000
"""Chunks of one byte, which take the server the most time."""
TIMEOUT_S = 20.0


def sent_until_the_end(url: str) -> int:
    """Send a body that never ends. Return how many bytes were sent until the server closed the connection."""
    address, sent = urlsplit(url), 0
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=TIMEOUT_S) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
        connection.sendall(
            b"POST /.well-known/agent-card.json HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        try:
            while sent < 2 * MiB:
                connection.sendall(CHUNKS)
                sent += len(CHUNKS)
        except (ConnectionResetError, BrokenPipeError):
            pass
    return sent


async def test_a_body_that_no_handler_reads_is_not_read() -> None:
    async with Target.ours() as target:
        assert await asyncio.to_thread(sent_until_the_end, target.http) < MiB


def test_metrics_are_not_made_again_for_each_request_of_a_flood() -> None:
    scrape, made = Scrape(), []

    def observe(_: object) -> Iterable[Any]:
        made.append(True)
        return []

    scrape.meter.create_observable_gauge("a2a_test", callbacks=[observe])
    for _ in range(100):
        scrape.text()
    assert 1 <= len(made) < 100
    scrape.close()
