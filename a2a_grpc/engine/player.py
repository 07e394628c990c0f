"""Run the handler of a skill, and give what it makes to where its output goes."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import cast

from a2a_grpc.agent import Completed, Outcome, Output, Skill, Turn
from a2a_grpc.engine.blame import blamed, frame_of
from a2a_grpc.engine.events import OverLimit
from a2a_grpc.errors import detached

UNFIT = (TypeError, ValueError, OverLimit)
"""The errors of output that cannot be converted, or is too large."""

BREATHE_EVERY = 4
"""Pieces of a generator after which other work of the event loop runs.

So pieces are sent while the next ones are made. An agent that never waits does not block others, and can be canceled.
"""


class Sink:
    """The place where the output of a handler goes. This one drops all output; others keep what they can.

    The methods raise UNFIT for output that they cannot take.
    """

    async def whole(self, output: Output) -> None:
        """Take what a coroutine has returned."""

    async def piece(self, piece: Output) -> None:
        """Take what a generator has yielded."""

    async def last(self) -> None:
        """Take note that a generator has completed."""


async def play(skill: Skill, turn: Turn, sink: Sink) -> Outcome | None:
    """Run the handler. Return the outcome that it returned, or None if it gave its result to the sink.

    An outcome that the handler raises is raised, except Completed in a generator. An error of the sink gets the line of
    the handler that returned or yielded the output.
    """
    called = skill.handler(turn)
    frame = frame_of(called)
    outcome: Outcome | None = None
    if not skill.is_generator:
        output = await cast("Awaitable[Output]", called)
        if isinstance(output, Outcome):
            return output
        try:
            await sink.whole(output)
        except UNFIT as unfit:
            raise blamed(unfit, frame) from None
        return None
    async with aclosing(cast("AsyncGenerator[Output]", called)) as pieces:
        yielded = 0
        try:
            async for piece in pieces:
                yielded += 1
                if yielded % BREATHE_EVERY == 0:
                    await asyncio.sleep(0)
                if isinstance(piece, Outcome):
                    outcome = piece
                    break
                try:
                    await sink.piece(piece)
                except UNFIT as unfit:
                    raise blamed(unfit, frame) from None
        except Completed as raised:
            outcome = detached(raised)
    if outcome is None or isinstance(outcome, Completed):
        await sink.last()
    return outcome
