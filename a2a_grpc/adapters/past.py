"""What was said in the earlier tasks of a conversation, for a language model."""

from itertools import pairwise
from typing import NamedTuple

from a2a_grpc.agent import Turn
from a2a_grpc.parts import text_of
from a2a_grpc.wire import ROLE_USER, Message


class Said(NamedTuple):
    """What the user or the agent said in an earlier task.

    Attributes:
        is_user: True for a message of the user, False for a result of the agent.
        text: The text.
    """

    is_user: bool
    text: str


async def said_before(turn: Turn, tasks: int) -> list[Said]:
    """Return what was said in the latest tasks of the conversation, the oldest first: messages of the user and results.

    Files, data and status messages are left out, and so are tasks that have no result.

    Args:
        turn: The turn. Its own task is left out.
        tasks: The largest number of tasks; 0 for none.
    """
    said: list[Said] = []
    for task in reversed(await turn.context(tasks)) if tasks else ():
        result = "\n".join(filter(None, map(text_of, task.artifacts)))
        if result:
            words = [text for one in task.history if one.role == ROLE_USER and (text := text_of(one))]
            said += [*(Said(True, text) for text in words), Said(False, result)]
    return said


def messages_before(turn: Turn) -> list[Message]:
    """Return the messages of the task before the message of the turn: those of the user, and the agent's questions."""
    history = turn.history
    own = max((place for place, one in enumerate(history) if one.message_id == turn.message.message_id), default=0)
    # the last message of the agent before one of the user is a question; the others are statuses of the work
    return [one for one, after in pairwise(history[: own + 1]) if ROLE_USER in (one.role, after.role)]


def said_in_task(turn: Turn) -> list[Said]:
    """Return what was said in the task before the message of the turn, the oldest first."""
    return [Said(one.role == ROLE_USER, text) for one in messages_before(turn) if (text := text_of(one))]


def question_in_task(turn: Turn) -> list[Said]:
    """Return the question that the message of the turn answers, in a list; an empty one if there is no question."""
    return [said for said in said_in_task(turn)[-1:] if not said.is_user]
