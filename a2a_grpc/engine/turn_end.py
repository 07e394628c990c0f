"""Write the end of a turn, also if the store does not answer or does not take what the handler chose."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from a2a_grpc import lifecycle
from a2a_grpc.agent import Failed, Outcome, Skill
from a2a_grpc.backoff import Backoff
from a2a_grpc.engine.blame import line_of
from a2a_grpc.engine.events import OverLimit
from a2a_grpc.engine.writer import Writer
from a2a_grpc.parts import agent_message
from a2a_grpc.store import StaleAppend, StoreUnavailable, TaskKey

logger = logging.getLogger("a2a_grpc.engine")

GENERIC_FAILURE = "The agent failed with an internal error."
STORE_FAILURE = "The server could not store what the agent did."


async def write_end(writer: Writer, skill: Skill, outcome: Outcome, made: int = 0, *, is_left: bool = False) -> bool:
    """Write the end of a turn. Return False if another replica has the task.

    If `is_left` is True, the newest message in the log begins the next turn, unless the task has ended.

    An end that cannot be written becomes FAILED, with the reason. The same happens if not all that the handler made is
    stored, up to the seq `made`.
    """
    task_id = writer.key.id
    try:
        try:
            await _write(writer, outcome, made, is_left=is_left)
        except OverLimit as over_limit:
            log_over_limit(over_limit, writer.key, skill)
            await _write(writer, over_limit)
        except StoreUnavailable:
            logger.warning("the last events of a run could not be stored, so its task fails task=%s", task_id)
            await _write(writer, Failed(STORE_FAILURE))
        except StaleAppend:
            raise
        except Exception:  # the outcome has no valid content, or the store refuses something that was made
            logger.exception("the end that a handler gave could not be stored, so its task fails task=%s", task_id)
            await _write(writer, Failed(GENERIC_FAILURE))
    except StaleAppend:
        logger.warning(
            "run was stopped before it could store its end, because another replica has its task task=%s", task_id
        )
        return False
    if logger.isEnabledFor(logging.INFO):
        logger.info("turn ended task=%s state=%s", task_id, lifecycle.state_name(writer.state))
    return True


async def _write(writer: Writer, outcome: Outcome, made: int = 0, *, is_left: bool = False) -> None:
    """Write an end, as soon as the store answers. Raise StoreUnavailable if an earlier record is missing."""
    is_left = is_left and outcome.state not in lifecycle.TERMINAL
    backoff: Backoff | None = None
    while True:
        try:
            await write_outcome(writer, outcome, done=writer.turn - is_left, release=not is_left)
            return
        except StoreUnavailable:  # a replica that loses its lease meanwhile stops the run
            backoff = backoff or Backoff(0.2, 5.0)
            await _find_out(writer, backoff)
        if writer.seq < made:
            raise StoreUnavailable
        if writer.state == outcome.state:
            return  # it was written, and only the answer was lost


def write_outcome(
    writer: Writer, outcome: Outcome, *, done: int = 0, release: bool = False
) -> Coroutine[Any, Any, None]:
    """Return the call that writes the status which an outcome stands for. See `Writer.status`."""
    message = None
    if outcome.content is not None:
        message = agent_message(outcome.content, context_id=writer.context_id, task_id=writer.key.id)
    return writer.status(outcome.state, message, done=done, release=release)


async def _find_out(writer: Writer, backoff: Backoff) -> None:
    """Wait until it is known what is stored."""
    while True:
        await asyncio.sleep(backoff.next_s())
        with suppress(StoreUnavailable):
            await writer.ready(0)
            return


def log_over_limit(over_limit: OverLimit, key: TaskKey, skill: Skill) -> None:
    """Log which line of a handler made too much."""
    logger.warning(
        "handler output is over a limit task=%s skill=%s at=%s reason=%s",
        key.id,
        skill.id,
        line_of(over_limit),
        over_limit.content,
    )
