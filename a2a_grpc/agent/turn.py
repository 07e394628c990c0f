"""The turn: one incoming message, with what the handler can read of it and do about it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeVar, TypeVarTuple, overload
from uuid import UUID

from a2a_grpc.agent import output
from a2a_grpc.agent.answer import Answer, metadata_of
from a2a_grpc.agent.backend import TurnBackend
from a2a_grpc.agent.packed import Kept, pack_aside, unpack
from a2a_grpc.agent.steps import Steps, check_name
from a2a_grpc.agent.talk import Talk
from a2a_grpc.agent.threads import Threads
from a2a_grpc.arguments import checked
from a2a_grpc.lifecycle import AUTH_REQUIRED, INPUT_REQUIRED
from a2a_grpc.offload import offload
from a2a_grpc.parts import Contents, Json, agent_message, data_of, struct, text_of
from a2a_grpc.principal import Principal
from a2a_grpc.wire import Artifact, Message, SendMessageRequest, Task

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MAX_CONTEXT = 100
"""The largest `limit` of `Turn.context`."""


@checked()
class Turn:
    """One incoming message for a skill. The server makes it and gives it to the handler.

    Guarantees:

    - What `status` and `artifact` write is stored, in the order of the calls, before they return.
    - After the turn was canceled and its grace (`cancel_grace_s`) is over, `status`, `artifact` and `ask` raise
      `asyncio.CancelledError` and change nothing.
    - `message`, `text`, `data` and `metadata` stay those of the message that began the turn. Answers do not change
      them.
    - A handler that was stopped while it waited in `ask` runs again from its beginning when the answer comes. In that
      run `ask` returns the recorded answers, in order, without asking again. All else that the handler does before its
      last recorded answer happens a second time, except its status updates and artifacts, which are stored already,
      and its steps. See `is_replaying` and `step`.
    - `now`, `random`, `uuid` and `new_call_id` give the same values in the same order in every run of the turn.

    Attributes:
        skill: The id of the skill that the message is for.
        message: The message that began the turn.
        context_id: The id of the conversation. It is the same in each task of the conversation (spec §3.4.1).
        principal: The caller: its tenant, and its identity if callers are authenticated.
        attempt: 1 for the first run of the turn. It grows by 1 each time that a run was lost with its server while the
            handler worked. Only agents that are `resumable` see more than 1.
    """

    def __init__(
        self,
        *,
        skill: str,
        request: SendMessageRequest,
        task: bytes | Task,
        context_id: str,
        principal: Principal,
        backend: TurnBackend,
        threads: Threads,
        attempt: int = 1,
    ) -> None:
        self.skill = skill
        self.message = request.message
        self.context_id = context_id
        self.principal = principal
        self.attempt = attempt
        self._request = request
        self._task = task  # serialised until the handler reads it
        self._talk: Talk | None = None
        self._backend = backend
        self._threads = threads
        self._steps: Steps | None = None

    @property
    def task(self) -> Task | None:
        """The task as it was when the turn began, with the messages of each `ask` added to its history.

        None if the skill answers with a message (`answers="message"`), because then no task exists.
        """
        if isinstance(self._task, bytes):
            if not self._task:
                return None
            self._task = Task.FromString(self._task)
        return self._task

    @property
    def accepted_output_modes(self) -> Sequence[str]:
        """The media types that the caller accepts, the preferred one first; empty if it accepts any.

        The server does not convert results. The handler should give one of these types (spec §3.2.2).
        """
        return self._request.configuration.accepted_output_modes

    @property
    def text(self) -> str:
        """The text parts of the message, joined without a separator; empty if it has none."""
        return text_of(self.message)

    @property
    def data(self) -> Json:
        """The first part of the message with structured data, as a Python value; None if it has no such part."""
        return data_of(self.message)

    @property
    def history(self) -> list[Message]:
        """The messages of the task, the oldest first. The message that began the turn is among them.

        After it come the question and the answer of each `ask` of this run. The list is a copy.
        """
        return list(self.task.history) if self.task else [self.message]

    @property
    def metadata(self) -> dict[str, Json]:
        """The metadata of the message. Keys of the request's own metadata replace those of the message."""
        return metadata_of(self._request)

    @property
    def tenant(self) -> str:
        """The tenant that the request names; empty if it names none."""
        return self.principal.tenant

    @property
    def trace_id(self) -> str:
        """The id of the trace that the turn belongs to, as 32 hexadecimal digits; empty if nothing is traced."""
        return self._backend.trace_id

    @property
    def is_replaying(self) -> bool:
        """True while the handler repeats what an earlier run of this turn did.

        This ends when `ask` has returned the last recorded answer. A handler can skip effects that must not happen
        twice, such as a payment, while this is True.
        """
        return self._backend.is_replaying

    @property
    def recorded_questions(self) -> Sequence[Message]:
        """The questions of an earlier run whose recorded answers `ask` has not returned yet, in order."""
        return self._backend.recorded_questions

    @property
    def is_let_go(self) -> bool:
        """True once the handler was stopped although its turn goes on, so that it will run again, here or at another
        server.

        A handler that is being stopped and has started work at another agent should then not cancel that work.
        """
        return self._backend.is_let_go

    @property
    def talk(self) -> Talk:
        """The lock for the user's attention. `RemoteAgent.run(…, turn=turn)` takes it, so that of several agents that
        work for this turn only one at a time asks the user."""
        if self._talk is None:
            self._talk = Talk()
        return self._talk

    @property
    def canceled(self) -> bool:
        """True once the turn has to stop, for example because the caller canceled the task.

        Reading it is safe in any thread. A function in `in_thread` should look at it from time to time.
        """
        return self._backend.canceled

    @property
    def cancel_metadata(self) -> dict[str, Json]:
        """The metadata of the caller's request to cancel (spec §3.1.5); empty if there is none."""
        return self._backend.cancel_metadata

    def new_call_id(self) -> str:
        """Return an id for a call to another agent, for example as its idempotency key.

        Every run of this turn gets the same ids in the same order. So a call that is repeated in a later run has the
        id that it had before.
        """
        return self._backend.new_call_id()

    def now(self) -> datetime:
        """Return the time when the message of the turn was accepted, in UTC. Every run of the turn gets the same.

        For the time of another moment use a step: `await turn.step("now", time.time)`.
        """
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self._backend.accepted_us)

    def random(self) -> float:
        """Return the next random number of the turn, from 0 up to but not including 1.

        Every run of the turn gets the same numbers in the same order.
        """
        return (int.from_bytes(self._backend.draw("random")[:8], "big") >> 11) / (1 << 53)

    def uuid(self) -> UUID:
        """Return the next random UUID of the turn (version 4). No caller can guess it.

        Every run of the turn gets the same UUIDs in the same order.
        """
        return UUID(bytes=self._backend.draw("uuid")[:16], version=4)

    @overload
    async def step(
        self,
        name: str,
        fn: Callable[[*Ts], Awaitable[T]],
        *args: *Ts,
        retries: int = 0,
        timeout_s: float | None = None,
    ) -> T: ...
    @overload
    async def step(
        self, name: str, fn: Callable[[*Ts], T], *args: *Ts, retries: int = 0, timeout_s: float | None = None
    ) -> T: ...
    async def step(
        self,
        name: str,
        fn: Callable[..., object],
        *args: object,
        retries: int = 0,
        timeout_s: float | None = None,
    ) -> Any:
        """Call a function, store its result, and return the result.

        A later run of the turn gets the stored result, and does not call the function. So what the function does
        happens at least once: it happens again if the server is lost before the result is stored. The result exists
        exactly once.

        Args:
            name: The name of the step. Each step of a turn has another name. If the name ends in "#", the steps of
                this name are numbered in the order of their calls. A call that fails keeps its number.
            fn: The function. If it is not a coroutine function, it is called in a thread, as `in_thread` does.
            *args: Its arguments. Use `functools.partial` for keyword arguments.
            retries: How often the function is called again after an exception, with growing pauses of up to 30
                seconds. An outcome, such as `Failed`, is not retried.
            timeout_s: The time limit of each call, in seconds; None for no limit.

        Returns:
            A copy of the result, as it is stored: a JSON value, bytes, or a message of protobuf. A tuple becomes a
            list.

        Raises:
            TypeError: The result is of another type.
            ValueError: The result has more than 1 MiB, another step of the turn has this name, or an argument is out
                of its range.
            TimeoutError: The last call took longer than `timeout_s`.
            RuntimeError: The step is begun inside of another step, or the skill answers with a message, so there is no
                task.
            Exception: The error of the last call.
            Failed: The run keeps more than a limit of the server allows, such as `max_task_bytes`.
            asyncio.CancelledError: The turn is over, or another server has its task.
        """
        if retries < 0:
            raise ValueError(f"retries is {retries}; it must be 0 or more")
        if timeout_s is not None and not timeout_s > 0:
            raise ValueError(f"timeout_s is {timeout_s}; it must be more than 0")
        if self._steps is None:
            self._steps = Steps(self._backend, self._threads)
        return await self._steps.call(name, fn, args, retries, timeout_s)

    async def remember(self, name: str, value: Kept) -> None:
        """Store a value of the task, or replace the one of this name.

        All later turns and runs of the task can `recall` it. It is deleted with the task.

        Args:
            name: The name of the value, with at most 256 characters.
            value: A JSON value, bytes, or a message of protobuf, with at most 1 MiB.

        Raises:
            TypeError: The value is of another type.
            ValueError: The value or the name is too large, or empty.
            Failed: The run keeps more than a limit of the server allows, such as `max_task_bytes`.
            RuntimeError: The skill answers with a message, so there is no task.
            asyncio.CancelledError: The turn is over, or another server has its task.
        """
        check_name(name, "a value")
        packed, _ = await pack_aside(value, f"the value '{name}'")
        await self._backend.remember(name, packed)

    async def recall(self, name: str, default: Kept = None) -> Kept:
        """Return a value of the task that `remember` has stored, in this turn or an earlier one.

        Args:
            name: The name of the value.
            default: What is returned if there is no value of this name.

        Raises:
            LookupError: The value is a message of a type that this process has not imported.
            RuntimeError: The skill answers with a message, so there is no task.
        """
        packed = await self._backend.recall(check_name(name, "a value"))
        return default if packed is None else await offload(len(packed), unpack, packed, f"the value '{name}'")

    async def status(self, content: Contents | Message | None = None) -> None:
        """Send the caller a status update. The task stays in state WORKING.

        Args:
            content: What the caller reads, for example a text, or the `Message` itself; None for an update without a
                message.

        Raises:
            ValueError: The protocol does not allow this content.
            TypeError: The content holds an object that cannot become JSON.
            Failed: The update is over a limit of the server, such as `max_event_bytes`.
            RuntimeError: The skill answers with a message, so there is no task.
            asyncio.CancelledError: The turn is over.
        """
        await self._backend.status(None if content is None else self._say(content))

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
        """Create an artifact, or replace or extend the one with this id. Return its id.

        An artifact is a result of the task. The caller sees the change as soon as it is stored.

        Args:
            content: Text, bytes, a JSON value, a dataclass, a `Part`, a list with a `Part` in it, or an `Artifact`.
                `name`, `description` and `id` do not apply to an `Artifact`, which has its own.
            id: The artifact to create, replace or extend. Without an id the artifact is a new one.
            name: A name for people.
            description: A description for people.
            append: True to add the content as further parts of the artifact. If the task has no artifact with this
                id, it is created. False to replace the artifact.
            last_chunk: True to mark this as the last piece of the artifact (spec §4.2.2). An appended "" that is the
                last piece ends the artifact and adds no part.

        Raises:
            ValueError: The protocol does not allow this content.
            TypeError: The content holds an object that cannot become JSON.
            Failed: The artifact is over a limit of the server, such as `max_event_bytes` or `max_artifacts`.
            RuntimeError: The skill answers with a message, so there is no task.
            asyncio.CancelledError: The turn is over.
        """
        if isinstance(content, Artifact):
            artifact = content
            artifact.artifact_id = artifact.artifact_id or self._backend.new_artifact_id()
        else:
            artifact_id = id or self._backend.new_artifact_id()
            artifact = output.artifact(content, artifact_id=artifact_id, name=name, description=description)
        await self._backend.artifact(artifact, append=append, last_chunk=last_chunk)
        return artifact.artifact_id

    async def ask(
        self, question: Contents, *, auth: bool = False, metadata: Mapping[str, Json] | None = None
    ) -> Answer:
        """Ask the user a question and wait for the answer. Return the text of the answer.

        The task waits in state INPUT_REQUIRED until the caller sends the next message to it. While it waits, the turn
        does not count as one of the agent's runs (`max_runs`).

        A handler that waits longer than `ask_hold_s` is stopped with `asyncio.CancelledError`, and its `finally` blocks
        run. The same happens when the server stops. The task goes on waiting. The answer runs the handler again from
        its beginning, with the recorded answers: see the guarantees of `Turn`.

        Args:
            question: What the user reads, for example a text.
            auth: True if the user has to sign in or to authorise something outside of A2A. The task then waits in
                state AUTH_REQUIRED (spec §7.6.1).
            metadata: JSON values that go with the question.

        Returns:
            The answer, a `str` whose `message`, `data` and `metadata` hold the rest of the user's message.

        Raises:
            ValueError: The protocol does not allow this question or this metadata.
            TypeError: The question or the metadata holds an object that cannot become JSON.
            RuntimeError: Another question of this turn waits for its answer, the question is asked inside of a step,
                or the skill answers with a message.
            Failed: The handler runs again and asks another question than it asked before. The task ends in FAILED.
            asyncio.CancelledError: The turn is over, or the handler is stopped and will run again.
        """
        if self._steps is not None:
            self._steps.check_outside("a question was asked")
        said = self._say(question)
        if metadata:
            said.metadata.CopyFrom(struct(dict(metadata)))
        asked, request = await self._backend.ask(said, AUTH_REQUIRED if auth else INPUT_REQUIRED)
        if self.task is not None:
            self.task.history.extend([asked, request.message])
        return Answer.of(request)

    async def context(
        self, limit: int = 10, *, artifacts: bool = True, history_length: int | None = None
    ) -> list[Task]:
        """Return the other tasks of this conversation, the most recently changed first.

        An agent that chats finds here what was said before, in the messages (`task.history`) and artifacts of the
        tasks. Only tasks of the same caller are returned.

        Args:
            limit: The largest number of tasks, from 1 to 100.
            artifacts: False to leave out all artifacts. They are then not read from the store.
            history_length: The number of messages of each task, the newest ones; None for all, 0 for none.

        Returns:
            The tasks as they are now, without the task of this turn. All of them together have at most
            `max_task_bytes`, so there may be fewer than `limit`. The first one is returned whether it fits or not.

        Raises:
            ValueError: `limit` is out of its range.
        """
        if not 1 <= limit <= MAX_CONTEXT:
            raise ValueError(f"limit is {limit}; it must be 1 to {MAX_CONTEXT}")
        return await self._backend.context(limit, artifacts, history_length)

    async def referenced(self, *, artifacts: bool = True, history_length: int | None = None) -> list[Task]:
        """Return the tasks that the message names in `reference_task_ids`, in that order (spec §3.4.3).

        An id is left out if it is unknown, or if its task belongs to another caller.

        Args:
            artifacts: False to leave out all artifacts. They are then not read from the store.
            history_length: The number of messages of each task, the newest ones; None for all, 0 for none.

        Returns:
            The tasks as they are now, each once. All of them together have at most `max_task_bytes`; the first one is
            returned whether it fits or not.
        """
        return await self._backend.tasks(self.message.reference_task_ids, artifacts, history_length)

    async def in_thread(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking function in a thread. Return its result.

        At most `max_threads` functions run at the same time; more wait for a free thread. If the turn is canceled, this
        await ends at once. The function goes on in its thread, and can look at `canceled` to stop early.

        Args:
            fn: The function.
            *args: Its arguments.
            **kwargs: Its keyword arguments.
        """
        return await self._threads.run(fn, *args, **kwargs)

    def _say(self, content: Contents | Message) -> Message:
        return agent_message(content, context_id=self.context_id, task_id=self.task.id if self.task else "")
