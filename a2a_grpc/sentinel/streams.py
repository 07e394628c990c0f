"""The frame around each stream that an agent opens at the sentinel: its end as a status, and the log."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc.aio

from a2a_grpc.deadlines import time_limit
from a2a_grpc.errors import A2AError, InternalError, InvalidRequestError
from a2a_grpc.harmless import one_line
from a2a_grpc.rpc import Context
from a2a_grpc.rpc.status import abort, to_status
from a2a_grpc.sentinel.pipe import BROKEN
from a2a_grpc.throttle import Throttle

logger = logging.getLogger("a2a_grpc.sentinel")

FIRST_S = 10.0
"""Seconds in which the first frame of a stream has to come."""


@dataclass(slots=True)
class Agent:
    """The agent whose stream is served, for the log."""

    method: str
    where: str
    address: str = ""
    is_attached: bool = False


class AgentStreams:
    """The streams of agents that are open.

    Guarantees:

    - A stream whose function raises an error of the protocol ends with the status of the error.
    - Each loss or refusal of an agent is in the log, unless the sentinel drains.
    """

    def __init__(self) -> None:
        self._lines = Throttle(logger)
        self._open: set[asyncio.Task[Any]] = set()
        self.is_draining = False
        """True once the loss or refusal of agents is not worth a line in the log."""

    def framed(self, name: str, serve: Callable[[Context, Agent], Awaitable[None]]) -> Any:
        """Return a behavior that ends a stream with the status of the error that `serve` raises.

        Args:
            name: The name of the method, for the log.
            serve: Serves a stream. It writes down what it learns of the agent.
        """

        async def behavior(requests: object, context: Context) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._open.add(task)
            agent = Agent(name, context.peer())
            try:
                await serve(context, agent)
                return
            except A2AError as error:
                self._note(agent, error.message, type(error).__name__)
                status = to_status(error)
            except (*BROKEN, asyncio.CancelledError) as error:  # the agent is gone, or the sentinel closes
                if agent.is_attached:
                    self._note(agent, "its connection is broken")
                if isinstance(error, asyncio.CancelledError):
                    raise
                return
            except Exception:
                logger.exception("serving a stream of an agent failed")
                status = to_status(InternalError())
            finally:
                self._open.discard(task)
            try:
                await abort(context, status)
            except BROKEN:
                pass

        return behavior

    async def close(self) -> None:
        """End all streams, and wait until they have released everything."""
        self._lines.close()
        for stream in self._open:
            stream.cancel()
        if self._open:
            await asyncio.wait(self._open)

    def _note(self, agent: Agent, reason: str, kind: str = "") -> None:
        """Write to the log that an agent was lost, or refused, unless the sentinel drains."""
        if self.is_draining:
            return
        address, said = one_line(agent.address) or "-", one_line(reason)
        if agent.is_attached:
            self._lines.warning("lost", "an agent was lost address=%s peer=%s reason=%s", address, agent.where, said)
        else:
            values = (agent.method, address, agent.where, said)
            self._lines.warning(
                f"{agent.method} {kind}", "an agent was refused method=%s address=%s peer=%s reason=%s", *values
            )


async def first_message(context: Context, what: str) -> bytes:
    """Return the first message of a stream. Raise InvalidRequestError if none comes within ten seconds.

    Args:
        context: The stream.
        what: The name of the message, for errors.
    """
    try:
        async with time_limit(FIRST_S):
            raw: Any = await context.read()
    except TimeoutError:
        raise InvalidRequestError(f"{what} did not come within {FIRST_S:g} s") from None
    if raw is grpc.aio.EOF:
        raise InvalidRequestError(f"the stream ended without {what}")
    return bytes(raw)
