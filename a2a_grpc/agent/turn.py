"""One incoming message with all that the agent may know of it and do about it."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import ParamSpec, Protocol, TypeVar

from a2a_grpc.agent import output
from a2a_grpc.agent.threads import Threads
from a2a_grpc.parts import Contents, Json, agent_message, data_of, text_of, to_dict
from a2a_grpc.principal import Principal
from a2a_grpc.wire import Artifact, Message, SendMessageRequest, Task

P = ParamSpec("P")
T = TypeVar("T")


class Stage(Protocol):
    """Where a turn plays: on a task, or for a bare message that has none."""

    @property
    def canceled(self) -> bool:
        """Whether somebody asked this turn to stop."""

    @property
    def cancel_metadata(self) -> dict[str, Json]:
        """What came with the request to cancel."""

    async def status(self, message: Message | None) -> None:
        """Says that the work goes on."""

    async def artifact(self, artifact: Artifact, *, append: bool, last_chunk: bool) -> None:
        """Makes, replaces or extends an artifact."""

    async def ask(self, question: Message) -> SendMessageRequest:
        """Waits in INPUT_REQUIRED for the next message of the task."""


class Turn:
    """What a handler gets.

    Guarantees: what `status` and `artifact` were given is stored, in order, before they return. After the turn was
    canceled, and given up on, every call raises CancelledError and changes nothing.
    """

    def __init__(
        self,
        *,
        skill: str,
        request: SendMessageRequest,
        task: bytes,
        context_id: str,
        principal: Principal,
        stage: Stage,
        threads: Threads,
        attempt: int = 1,
    ) -> None:
        self.skill = skill
        """Id of the skill that the message is for."""
        self.message = request.message
        """The message; after `ask`, the answer."""
        self.context_id = context_id
        self.principal = principal
        self.attempt = attempt
        """1, or more where an earlier run of this turn was lost with its server."""
        self._request = request
        self._serialized_task = task
        self._stage = stage
        self._threads = threads

    @cached_property
    def task(self) -> Task | None:
        """The task as it was when the turn began; None where the skill answers with a bare message."""
        return Task.FromString(self._serialized_task) if self._serialized_task else None

    @property
    def accepted_output_modes(self) -> Sequence[str]:
        """Media types the caller can take, the best first; empty for any (SEND-9)."""
        return self._request.configuration.accepted_output_modes

    @property
    def text(self) -> str:
        """The text of the message."""
        return text_of(self.message)

    @property
    def data(self) -> Json:
        """The first structured data part of the message as a Python value; None if it has none."""
        return data_of(self.message)

    @property
    def history(self) -> list[Message]:
        """The messages of the task, the oldest first, this turn's included."""
        return list(self.task.history) if self.task else [self.message]

    @property
    def metadata(self) -> dict[str, Json]:
        """The message's metadata, overlaid with the request's."""
        return to_dict(self.message.metadata) | to_dict(self._request.metadata)

    @property
    def tenant(self) -> str:
        return self.principal.tenant

    @property
    def canceled(self) -> bool:
        """Whether the turn was told to stop. Safe to read from any thread."""
        return self._stage.canceled

    @property
    def cancel_metadata(self) -> dict[str, Json]:
        """The metadata of the request to cancel; empty while there is none (CANC-6)."""
        return self._stage.cancel_metadata

    async def status(self, content: Contents | None = None) -> None:
        """Tells the caller how it goes: a WORKING update with a text, or any other content."""
        await self._stage.status(None if content is None else self._say(content))

    async def artifact(
        self,
        content: Contents | Artifact,
        *,
        id: str = "",
        name: str = "",
        description: str = "",
        append: bool = False,
        last_chunk: bool = False,
    ) -> str:
        """Makes an artifact, or replaces the one with this id; with `append` extends it by another chunk. Its id.

        Raises ValueError for content that the protocol does not allow.
        """
        artifact = (
            output.complete(content)
            if isinstance(content, Artifact)
            else output.artifact(content, artifact_id=id, name=name, description=description)
        )
        await self._stage.artifact(artifact, append=append, last_chunk=last_chunk)
        return artifact.artifact_id

    async def ask(self, question: Contents) -> str:
        """Asks the user and waits for the answer, in INPUT_REQUIRED: the text of the next message of the task.

        Meanwhile the turn holds no place among the agent's runs. Then `message`, `data`, `metadata` are the answer's.
        Raises RuntimeError while another question of this turn waits.
        """
        asked = self._say(question)
        self._request = await self._stage.ask(asked)
        self.message = self._request.message
        if self.task is not None:
            self.task.history.extend([asked, self.message])
        return self.text

    async def in_thread(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs blocking work in a thread. Canceled, the await ends at once; the function sees it in `turn.canceled`."""
        return await self._threads.run(fn, *args, **kwargs)

    def _say(self, content: Contents) -> Message:
        return agent_message(content, context_id=self.context_id, task_id=self.task.id if self.task else "")
