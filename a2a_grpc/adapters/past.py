"""What was said in the earlier tasks of a conversation, for a language model."""

from typing import NamedTuple

from a2a_grpc.agent import Turn
from a2a_grpc.parts import text_of
from a2a_grpc.wire import ROLE_USER


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
