"""Agents of these tests, with what counts the connections, calls and descriptors that they cost."""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import grpc.aio

from a2a_grpc import Agent, Turn, connect
from a2a_grpc.client import Client
from a2a_grpc.parts import Json
from tests.agent.agents import Gate
from tests.harness import Served, stop_listening

GUARD_S = 60
"""Longer than any test takes; one that hangs fails by it."""


def script(*steps: dict[str, Any]) -> dict[str, Json]:
    """What makes the scripted agent play these steps."""
    return {"script": list(steps)}


def client_of(served: Served, **settings: Any) -> Client:
    """A client of the server, connected by its address."""
    return connect(served.server.grpc_address, **settings)


def observer(**declaration: Any) -> Agent:
    """An agent with the skills `observe`, which tells what it was sent, and `shout`, which tells it loudly."""
    agent = Agent("Observer", "Tells what it was sent.", default_skill="observe", **declaration)

    @agent.skill()
    async def observe(turn: Turn) -> dict[str, Json]:
        """Tells what it was sent."""
        return {
            "text": turn.text,
            "message_id": turn.message.message_id,
            "context_id": turn.context_id,
            "references": list(turn.message.reference_task_ids),
            "metadata": turn.metadata,
            "modes": list(turn.accepted_output_modes),
        }

    @agent.skill()
    async def shout(turn: Turn) -> str:
        """Tells it loudly."""
        return turn.text.upper()

    return agent


class Writer:
    """An agent that writes one piece, waits at its gate, then writes the rest."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.agent = Agent("Writer", "Writes in two pieces.")
        self.agent.skill("write")(self.write)

    async def write(self, turn: Turn) -> None:
        await turn.artifact("Once ", id="story", name="story")
        await self.gate.passed()
        await turn.artifact("upon a time", id="story", append=True, last_chunk=True)


class Sleeper:
    """An agent whose tasks go on until they are canceled; it remembers which were."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.canceled: list[str] = []
        self.cancel_metadata: list[dict[str, Json]] = []
        self.agent = Agent("Sleeper", "Sleeps.")
        self.agent.skill("sleep")(self.sleep)

    async def sleep(self, turn: Turn) -> None:
        assert turn.task is not None
        self.started.append(turn.task.id)
        await turn.status("asleep")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.canceled.append(turn.task.id)
            self.cancel_metadata.append(turn.cancel_metadata)
            raise


def foreman(work: Callable[[Turn], Awaitable[Any]]) -> Agent:
    """An agent whose handler calls other agents."""
    agent = Agent("Foreman", "Has others do the work.")
    agent.skill("lead")(work)
    return agent


class Counted(grpc.aio.UnaryUnaryClientInterceptor):
    """Counts a client's unary calls, by method."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        method = details.method.decode() if isinstance(details.method, bytes) else details.method
        self.calls[method.rpartition("/")[2]] += 1
        return await continuation(details, request)


class Passage:
    """A way to an address that counts the TCP connections that take it, and can hold back what comes from there."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._ways: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self._writers: set[asyncio.StreamWriter] = set()
        self._answering = asyncio.Event()
        self._answering.set()
        self._is_cut = False
        self.address = ""
        self.taken = 0
        """Connections so far."""
        self.open = 0
        """Connections at this time."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await stop_listening(self._server)
        for way in self._ways:
            way.cancel()
        await asyncio.gather(*self._ways, return_exceptions=True)

    def hold_answers(self) -> None:
        """From now on what the server says waits."""
        self._answering.clear()

    def let_answers(self) -> None:
        """What the server says gets through again."""
        self._answering.set()

    def cut(self) -> None:
        """Ends every connection, and takes no more."""
        self._is_cut = True
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        self.taken += 1
        way = asyncio.create_task(self._forward(reader, writer))
        self._ways.add(way)
        way.add_done_callback(self._ways.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._target)
        except BaseException:
            writer.transport.abort()
            raise
        ends = {writer, there_writer}
        self._writers |= ends
        self.open += 1
        try:
            await asyncio.gather(
                self._pump(reader, there_writer), self._pump(there_reader, writer, waits_for=self._answering)
            )
        finally:
            self.open -= 1
            self._writers -= ends
            for end in ends:
                end.transport.abort()
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, waits_for: asyncio.Event | None = None
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(65536):
                if waits_for is not None:
                    await waits_for.wait()
                sink.write(chunk)
                await sink.drain()
        sink.close()


def descriptors() -> int:
    """How many file descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))
