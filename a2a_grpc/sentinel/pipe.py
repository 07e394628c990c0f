"""A pipe: the bytes of one connection, carried by the messages of a gRPC stream."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio

from a2a_grpc.sentinel.wire import PipeFrame, parsed

CHUNK_BYTES = 64 * 1024
"""The largest number of bytes that one message carries; also what may wait between socket and stream."""

LAST_S = 1.0
"""Seconds that the last messages of a stream may take to be read."""

BROKEN = (OSError, grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError)
"""What reading or writing raises once the stream or the socket has ended."""


async def join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    read: Callable[[], Awaitable[Any]],
    write: Callable[[bytes], Awaitable[Any]],
    finish: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Carry bytes between a socket and a stream in both directions until one of them ends. Then close the socket.

    Nothing is kept beyond one message in each direction: a side that does not read stops the other side.

    Args:
        reader: The reading side of the socket.
        writer: The writing side of the socket.
        read: Reads the next message of the stream; `grpc.aio.EOF` at its end.
        write: Writes a message to the stream.
        finish: Says on the stream that no more messages come. The other side then has a second to take the last ones.

    Raises:
        InvalidRequestError: A message of the stream is no PipeFrame.
    """

    async def outward() -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            await write(PipeFrame(data=chunk).SerializeToString())
        if finish is not None:
            await finish()
            await asyncio.sleep(LAST_S)

    async def inward() -> None:
        while (raw := await read()) is not grpc.aio.EOF:
            writer.write(parsed(PipeFrame, raw).data)
            await writer.drain()

    ways = [asyncio.create_task(way(), name="a2a-grpc:pipe") for way in (outward, inward)]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        ends = await asyncio.gather(*ways, return_exceptions=True)
        writer.close()  # what was written is sent first
    for end in ends:
        if isinstance(end, Exception) and not isinstance(end, (asyncio.CancelledError, *BROKEN)):
            raise end


def is_http2(start: bytes) -> bool:
    """Return False if bytes cannot be the first ones of an HTTP/2 server, a SETTINGS frame (RFC 9113, section 3.4)."""
    return start[3:4] in (b"", b"\x04") and not any(start[5:9])


def dropped(writer: asyncio.StreamWriter) -> None:
    """Close a socket at once, without what waits to be sent."""
    writer.transport.abort()
