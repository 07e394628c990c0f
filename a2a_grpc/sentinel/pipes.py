"""The agent's side of its pipes: connections to its own gRPC server, which a sentinel asks for."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import grpc.aio

from a2a_grpc.client.pool import Pool
from a2a_grpc.errors import A2AError, InvalidRequestError
from a2a_grpc.harmless import one_line
from a2a_grpc.sentinel.pipe import BROKEN, CHUNK_BYTES, dropped, join
from a2a_grpc.sentinel.wire import ATTACH, PIPE, PipeFrame

logger = logging.getLogger("a2a_grpc.sentinel")

MAX_PIPES = 1000
"""Pipes that may be open at the same time; a sentinel that asks for more breaks the protocol."""


class Streams:
    """The streams of the sentinel's service on one channel, with messages as bytes."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.attach: Any = channel.stream_stream(ATTACH)
        self.pipe: Any = channel.stream_stream(PIPE)


class Pipes:
    """The pipes of one tunnel.

    Args:
        address: The logical address of the agent, for the log.
        pool: The connections to the sentinel.
        metadata: The credentials of the agent.
        socket: The path of the socket of the agent's gRPC server, once it is known.
    """

    def __init__(
        self, address: str, pool: Pool, metadata: tuple[tuple[str, str], ...], socket: "asyncio.Future[Path]"
    ) -> None:
        self._address = address
        self._pool = pool
        self._metadata = metadata
        self._socket = socket
        self._open: set[asyncio.Task[None]] = set()

    def open(self, dial: str) -> None:
        """Open a pipe. Raise InvalidRequestError if too many are open.

        Args:
            dial: The id of the sentinel's Dial.
        """
        if len(self._open) >= MAX_PIPES:
            raise InvalidRequestError(f"the sentinel asks for more than {MAX_PIPES} pipes")
        pipe = asyncio.create_task(self._carry(dial), name="a2a-grpc:pipe")
        self._open.add(pipe)
        pipe.add_done_callback(self._open.discard)

    async def close(self) -> None:
        """End all pipes."""
        for pipe in self._open:
            pipe.cancel()
        if self._open:
            await asyncio.wait(set(self._open))

    async def _carry(self, dial: str) -> None:
        """Open a pipe, and join it to a connection to the agent's server."""
        call = self._pool.begin("pipe", None, metadata=self._metadata)
        writer: asyncio.StreamWriter | None = None
        try:
            path = await asyncio.shield(self._socket)
            await call.write(PipeFrame(dial=dial).SerializeToString())  # first, so that a failure is known at once
            reader, writer = await asyncio.open_unix_connection(path, limit=CHUNK_BYTES)
            await join(reader, writer, call.read, call.write, call.done_writing)
        except BROKEN as error:
            logger.debug("a pipe ended: %r", error)
        except A2AError as error:
            logger.warning("a pipe was ended address=%s reason=%s", self._address, one_line(error.message))
        finally:
            self._pool.end(call)
            if writer is not None:
                dropped(writer)
