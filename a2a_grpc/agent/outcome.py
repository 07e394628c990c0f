"""How a turn ends, where it does not just return: raised or returned by a handler.

return value       COMPLETED, with the value as an artifact
Completed(text)    COMPLETED, with a word about it
InputRequired(q)   INPUT_REQUIRED: the next message of the task starts a new turn
AuthRequired(text) AUTH_REQUIRED: the same, once somebody authorised out of band
Rejected(text)     REJECTED: the agent will not do it
Failed(text)       FAILED, with a text that the caller may read
any other error    FAILED, with a generic text; the traceback goes to the log
"""

from typing import ClassVar

from a2a_grpc import lifecycle
from a2a_grpc.parts import Contents, parts
from a2a_grpc.wire import TaskState


class Outcome(Exception):
    """The end of a turn in a given state, with what the agent says about it."""

    state: ClassVar[TaskState]

    def __init__(self, content: Contents | None = None) -> None:
        super().__init__(content)
        if content is not None:
            parts(content)  # content that cannot be sent is refused here, at the line that gives it
        self.content = content


class Completed(Outcome):
    """The task is done."""

    state = lifecycle.COMPLETED


class InputRequired(Outcome):
    """The user has to say more; `content` is the question."""

    state = lifecycle.INPUT_REQUIRED

    def __init__(self, content: Contents) -> None:
        super().__init__(content)


class AuthRequired(Outcome):
    """Somebody has to authorise; `content` says what and where (spec §7.6.1: the explanation is a must)."""

    state = lifecycle.AUTH_REQUIRED

    def __init__(self, content: Contents) -> None:
        super().__init__(content)


class Rejected(Outcome):
    """The agent declines the task."""

    state = lifecycle.REJECTED


class Failed(Outcome):
    """The task could not be done; `content` says why and reaches the caller."""

    state = lifecycle.FAILED
