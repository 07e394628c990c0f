"""One incoming message with all that the agent may know of it and do about it."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import ParamSpec, Protocol, TypeVar

from a2a_grpc.agent import output
from a2a_grpc.agent.talk import Talk
from a2a_grpc.agent.threads import Threads
from a2a_grpc.lifecycle import AUTH_REQUIRED, INPUT_REQUIRED
from a2a_grpc.parts import Contents, Json, agent_message, data_of, struct, text_of, to_dict
from a2a_grpc.principal import Principal
from a2a_grpc.wire import Artifact, Message, SendMessageRequest, Task, TaskState

P = ParamSpec("P")
T = TypeVar("T")

MAX_CONTEXT = 100
"""Tasks that `Turn.context` gives at most."""


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

    async def artifact(self, artifact: Artifact, *, append: bool, last_chunk: bool) -> None:
        """Makes, replaces or extends an artifact."""

    async def context(self, limit: int, artifacts: bool, history_length: int | None) -> list[Task]:
        """Return the other tasks of the turn's context."""

    async def tasks(self, ids: Sequence[str], artifacts: bool, history_length: int | None) -> list[Task]:
        """Return the tasks of the caller with these ids."""

    async def ask(self, question: Message, state: TaskState) -> tuple[Message, SendMessageRequest]:
        """Wait in a state for the next message of the task. Return the question as it stands in the log, with that
        message."""


class Answer(str):
    """What `Turn.ask` returns: the text of the user's answer, with the message that it came in."""

    message: Message
    metadata: dict[str, Json]
    """The message's metadata, overlaid with the request's."""

    @classmethod
    def of(cls, request: SendMessageRequest) -> "Answer":
        """Return the answer that a request brings."""
        answer = cls(text_of(request.message))
        answer.message = request.message
        answer.metadata = metadata_of(request)
        return answer

    @property
    def data(self) -> Json:
        """The first structured data part of the answer as a Python value; None if it has none."""
        return data_of(self.message)


def metadata_of(request: SendMessageRequest) -> dict[str, Json]:
    """Return the metadata of a request's message, overlaid with the request's own."""
    return to_dict(request.message.metadata) | to_dict(request.metadata)


class Turn:
    """What a handler gets.

    Guarantees:

    - What `status` and `artifact` were given is stored, in order, before they return.
    - After the turn was canceled, and given up on, every call raises CancelledError and changes nothing.
    - `message`, `text`, `data` and `metadata` are those of the message that began the turn, whatever is asked.
    - A handler that was stopped while it waited in `ask` is run again from its beginning when the answer comes: `ask`
      then returns the recorded answers, in order, without asking again. What the handler does between its questions
      happens again, except its updates: the log has those already (see `is_replaying`).
    """

    def __init__(
        self,
        *,
        skill: str,
        request: SendMessageRequest,
        task: bytes | Task,
        context_id: str,
        principal: Principal,
        stage: Stage,
        threads: Threads,
        attempt: int = 1,
    ) -> None:
        self.skill = skill
        """Id of the skill that the message is for."""
        self.message = request.message
        """The message that began the turn."""
        self.context_id = context_id
        self.principal = principal
        self.attempt = attempt
        """1, or more if earlier runs of this turn were lost with their servers while they worked."""
        self._request = request
        self._given_task = task
        self._stage = stage
        self._threads = threads

    @cached_property
    def task(self) -> Task | None:
        """The task as it was when the turn began; None where the skill answers with a bare message."""
        if isinstance(self._given_task, Task):
            return self._given_task
        return Task.FromString(self._given_task) if self._given_task else None

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
        """The messages of the task, the oldest first: up to the one that began the turn, then each question of this run
        with its answer."""
        return list(self.task.history) if self.task else [self.message]

    @property
    def metadata(self) -> dict[str, Json]:
        """The message's metadata, overlaid with the request's."""
        return metadata_of(self._request)

    @property
    def tenant(self) -> str:
        return self.principal.tenant

    @property
    def is_replaying(self) -> bool:
        """True while the handler repeats what an earlier run of this turn did, which is until `ask` has returned the
        last recorded answer. A handler can skip effects meanwhile that must not happen twice."""
        return self._stage.is_replaying

    @property
    def recorded_questions(self) -> Sequence[Message]:
        """The questions that an earlier run of this turn asked, whose answers `ask` has yet to return, in order."""
        return self._stage.recorded_questions

    @property
    def is_let_go(self) -> bool:
        """True once the handler was stopped although its turn goes on: it will be run again, here or at another server.
        A handler that started work elsewhere leaves that work alone then."""
        return self._stage.is_let_go

    @cached_property
    def talk(self) -> Talk:
        """Who of several that work for this turn may speak to its user."""
        return Talk()

    def new_call_id(self) -> str:
        """Return an id for a call to another agent, such as an idempotency key. Every run of this turn gets the same
        ids in the same order."""
        return self._stage.new_call_id()

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
        """Make an artifact, or replace the one with this id. With `append`, extend it by another chunk, or make it if
        the task has none with this id. Return its id.

        Raises ValueError for content that the protocol does not allow.
        """
        if isinstance(content, Artifact):
            artifact = content
            artifact.artifact_id = artifact.artifact_id or self._stage.new_artifact_id()
        else:
            artifact_id = id or self._stage.new_artifact_id()
            artifact = output.artifact(content, artifact_id=artifact_id, name=name, description=description)
        await self._stage.artifact(artifact, append=append, last_chunk=last_chunk)
        return artifact.artifact_id

    async def ask(
        self, question: Contents, *, auth: bool = False, metadata: Mapping[str, Json] | None = None
    ) -> Answer:
        """Ask the user and wait, in INPUT_REQUIRED, for the next message of the task. Return its text; the message
        itself is in the answer's `message`, `data` and `metadata`.

        With `auth` the task waits in AUTH_REQUIRED. `metadata` goes with the question.

        Meanwhile the turn holds no place among the agent's runs. After `ask_hold_s`, or when the server stops, the
        handler is stopped with CancelledError, its `finally` blocks run, and the answer runs it again: see `Turn`. A
        handler that then asks something else than it asked before ends in FAILED.

        Raises RuntimeError while another question of this turn waits.
        """
        said = self._say(question)
        if metadata:
            said.metadata.CopyFrom(struct(dict(metadata)))
        asked, request = await self._stage.ask(said, AUTH_REQUIRED if auth else INPUT_REQUIRED)
        if self.task is not None:
            self.task.history.extend([asked, request.message])
        return Answer.of(request)

    async def context(
        self, limit: int = 10, *, artifacts: bool = True, history_length: int | None = None
    ) -> list[Task]:
        """Return the other tasks of this context as they are now, the most recently changed first: at most `limit`, and
        only the caller's own. What an agent that chats has to remember is in their messages (`task.history`) and
        artifacts.

        Without `artifacts` the tasks have none; `history_length` is the number of most recent messages of each task
        (default: all). What is left out is not read. The tasks have `--max-task-bytes` together at most, so there may
        be fewer; the first one comes whatever its size.
        """
        if not 1 <= limit <= MAX_CONTEXT:
            raise ValueError(f"limit is {limit}; it must be 1 to {MAX_CONTEXT}")
        return await self._stage.context(limit, artifacts, history_length)

    async def referenced(self, *, artifacts: bool = True, history_length: int | None = None) -> list[Task]:
        """Return the tasks that the message names in `reference_task_ids`, in that order, as they are now.

        An id that is unknown, or of another caller's task, is left out. The parts and the sizes are as in `context`.
        """
        return await self._stage.tasks(self.message.reference_task_ids, artifacts, history_length)

    async def in_thread(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs blocking work in a thread. Canceled, the await ends at once; the function sees it in `turn.canceled`."""
        return await self._threads.run(fn, *args, **kwargs)

    def _say(self, content: Contents) -> Message:
        return agent_message(content, context_id=self.context_id, task_id=self.task.id if self.task else "")
