"""The task and the caller that log lines are about, in the current context."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from a2a_grpc.principal import Principal


class Subject(Protocol):
    """What a line is about."""

    @property
    def task(self) -> str:
        """The id of the task; empty if there is none."""

    @property
    def principal(self) -> Principal:
        """The caller."""


@dataclass(frozen=True, slots=True)
class About:
    """A task and its caller.

    Attributes:
        task: The id of the task.
        principal: The caller.
    """

    task: str
    principal: Principal


about: ContextVar[Subject | None] = ContextVar("a2a_grpc subject of log lines", default=None)
"""What the lines of the current context are about: of a call, or of a run. The lines of an agent's handler are
included."""
