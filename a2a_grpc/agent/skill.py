"""One thing that an agent can do, and the function that does it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from a2a_grpc.agent.output import Output
from a2a_grpc.agent.turn import Turn
from a2a_grpc.wire import Message

Handler: TypeAlias = Callable[[Turn], Awaitable[Output] | AsyncIterator[Output]]
"""The function of a skill: a coroutine function that returns its output, or an async generator function."""
Validator: TypeAlias = Callable[[Message], None]
"""A function that raises InvalidRequestError for a message that a skill does not accept."""


@dataclass(frozen=True, slots=True)
class Skill:
    """One thing that the agent can do, and the function that does it. `Agent.skill` makes it.

    Attributes:
        id: The id by which callers name the skill.
        name: The name on the agent card.
        description: The description on the agent card.
        tags: The tags on the agent card. There is at least one.
        examples: Examples of messages, on the agent card.
        input_modes: The media types that the skill accepts; empty for those of the agent.
        output_modes: The media types that the skill gives; empty for those of the agent.
        answers: "task" if a message to the skill makes a task, "message" if the skill answers with a message only.
        scopes: The scopes that a caller needs, all of them.
        validate: The function that checks a message before anything is stored, if there is one.
        handler: The function that does the work.
        is_generator: True if the handler yields pieces, False if it returns its output.
    """

    id: str
    name: str
    description: str
    tags: tuple[str, ...]
    examples: tuple[str, ...]
    input_modes: tuple[str, ...]
    output_modes: tuple[str, ...]
    answers: Literal["task", "message"]
    validate: Validator | None
    handler: Handler
    is_generator: bool
    scopes: tuple[str, ...] = ()
