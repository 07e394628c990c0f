"""The turn that a framework works for, as the tools that call remote agents know it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from a2a_grpc.adapters.tool import OnProgress, Progress
from a2a_grpc.agent import Turn

_turn: ContextVar[Turn | None] = ContextVar("turn", default=None)


@contextmanager
def serving(turn: Turn) -> Iterator[None]:
    """Have the tools that a framework calls inside of the block work for a turn."""
    token = _turn.set(turn)
    try:
        yield
    finally:
        _turn.reset(token)


def progress_in_turn(tool: str) -> OnProgress:
    """Return a function that sends the progress of a tool as status messages of the turn, if there is a turn."""

    async def tell(progress: Progress) -> None:
        turn = _turn.get()
        if turn is None or progress.kind == "chunk":
            return
        await turn.status(f"{tool}: {progress.text if progress.done is None else f'{progress.done:.0%}'}")

    return tell


def names_of(conversation: str, call_id: str) -> tuple[str, str]:
    """Return the names of a conversation and of a call of a tool, as unique as remote agents need them.

    In a turn they have the caller and the message in them: callers choose the ids of conversations, and some models
    count their calls.
    """
    if (turn := _turn.get()) is None:
        return conversation, call_id
    return f"{turn.principal.key}/{turn.context_id}", f"{turn.message.message_id}/{call_id}"
