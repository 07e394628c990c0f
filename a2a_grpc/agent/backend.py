"""What a turn needs of the engine that runs it."""

from collections.abc import Sequence
from typing import Protocol

from a2a_grpc.parts import Json
from a2a_grpc.wire import Artifact, Message, SendMessageRequest, Task, TaskState


class TurnBackend(Protocol):
    """What a turn needs of the engine: a task to write to, or the call of a skill that answers with a message."""

    @property
    def canceled(self) -> bool:
        """True once the turn has to stop."""

    @property
    def cancel_metadata(self) -> dict[str, Json]:
        """The metadata of the request to cancel; empty if there is none."""

    @property
    def trace_id(self) -> str:
        """The id of the trace; empty if there is none."""

    async def status(self, message: Message | None) -> None:
        """Write a status update in state WORKING."""

    @property
    def is_replaying(self) -> bool:
        """True while the handler repeats what an earlier run of this turn did."""

    @property
    def is_let_go(self) -> bool:
        """True once the handler was stopped here and will be run again, at this server or another."""

    @property
    def recorded_questions(self) -> Sequence[Message]:
        """The questions with recorded answers that the handler has yet to ask again, in order."""

    def new_artifact_id(self) -> str:
        """Return an id for an artifact that has none. Every run of the turn gets the same ids in the same order."""

    def new_call_id(self) -> str:
        """Return an id for a call to another agent. Every run of the turn gets the same ids in the same order."""

    @property
    def accepted_us(self) -> int:
        """The time when the message of the turn was accepted, in microseconds since 1970 (UTC)."""

    def draw(self, kind: str) -> bytes:
        """Return 32 random bytes. Every run of the turn gets the same bytes of a kind in the same order."""

    async def recorded(self, step: str) -> bytes | None:
        """Return the packed result of a step; None if no run of the turn has stored one."""

    async def record(self, step: str, packed: bytes) -> None:
        """Store the packed result of a step."""

    async def remember(self, name: str, packed: bytes) -> None:
        """Store a packed value of the task, or replace the one of this name."""

    async def recall(self, name: str) -> bytes | None:
        """Return a packed value of the task; None if there is none of this name."""

    async def artifact(self, artifact: Artifact, *, append: bool, last_chunk: bool) -> None:
        """Create, replace or extend an artifact."""

    async def context(self, limit: int, artifacts: bool, history_length: int | None) -> list[Task]:
        """Return the other tasks of the turn's context."""

    async def tasks(self, ids: Sequence[str], artifacts: bool, history_length: int | None) -> list[Task]:
        """Return the tasks of the caller with these ids."""

    async def ask(self, question: Message, state: TaskState) -> tuple[Message, SendMessageRequest]:
        """Wait in a state for the next message of the task. Return the question as stored, and the request with that
        message."""
