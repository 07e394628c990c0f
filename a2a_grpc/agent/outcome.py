"""Outcomes: how a handler ends its turn in another way than by returning a result. It raises them or returns them.

return value         COMPLETED, with the value as an artifact
Completed(text)      COMPLETED, with a message
InputRequired(text)  INPUT_REQUIRED; the next message of the task starts a new turn
AuthRequired(text)   AUTH_REQUIRED; the next message of the task starts a new turn
Rejected(text)       REJECTED, with a message
Failed(text)         FAILED, with a message
any other exception  FAILED, with a general message; the traceback goes to the server's log
"""

from typing import ClassVar

from a2a_grpc import lifecycle
from a2a_grpc.parts import Contents, check_content, put
from a2a_grpc.wire import Artifact, Message, TaskState


class Outcome(Exception):
    """The end of a turn. Use one of its subclasses, each of which stands for a state.

    Args:
        content: What the caller reads in the message of the new status, for example a text, or the `Message` itself;
            None for no message.

    Raises:
        ValueError: The protocol does not allow this content.
        TypeError: The content holds an object that cannot become JSON.

    Attributes:
        state: The state of the task after the turn.
    """

    state: ClassVar[TaskState]

    def __init__(self, content: Contents | Message | None = None) -> None:
        super().__init__(content)
        if content is not None:
            # This raises here, at the line of the handler, if the content cannot be sent.
            check_content(content if isinstance(content, Message) else put(content, Artifact()))
        self.content = content


class Completed(Outcome):
    """End the task in state COMPLETED. Its artifacts are the result.

    Args:
        content: A message about the result; None for no message.
    """

    state = lifecycle.COMPLETED


class InputRequired(Outcome):
    """End the turn in state INPUT_REQUIRED. The next message of the task starts a new turn.

    `Turn.ask` instead waits for the answer within the same turn.

    Args:
        content: The question to the user.
    """

    state = lifecycle.INPUT_REQUIRED

    def __init__(self, content: Contents | Message) -> None:
        super().__init__(content)


class AuthRequired(Outcome):
    """End the turn in state AUTH_REQUIRED. The next message of the task starts a new turn.

    Args:
        content: What the user has to authorise, and at which place. The spec requires this explanation (§7.6.1).
    """

    state = lifecycle.AUTH_REQUIRED

    def __init__(self, content: Contents | Message) -> None:
        super().__init__(content)


class Rejected(Outcome):
    """End the task in state REJECTED, because the agent will not do it.

    Args:
        content: The reason, which the caller reads; None for no message.
    """

    state = lifecycle.REJECTED


class Failed(Outcome):
    """End the task in state FAILED, because it could not be done.

    Args:
        content: The reason, which the caller reads; None for no message.
    """

    state = lifecycle.FAILED
