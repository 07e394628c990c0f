"""A remote agent as a function that a language model calls: what `as_tool` of each framework is made of."""

import json
import logging
import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from google.protobuf import json_format

from a2a_grpc.adapters.model_text import answer_of, description_of, name_of, shown
from a2a_grpc.client import BlockingClient, Client, RemoteAgent, SendOptions, TaskStream
from a2a_grpc.client.pieces import Pieces, progress_of
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError, UnavailableError, UnsupportedOperationError
from a2a_grpc.harmless import one_line
from a2a_grpc.lifecycle import AUTH_REQUIRED, COMPLETED, INTERRUPTED, WORKING, Event, state_name
from a2a_grpc.masking import mask_url
from a2a_grpc.parts import Json, text_of
from a2a_grpc.wire import AgentCard, Message, Task, TaskStatusUpdateEvent

logger = logging.getLogger("a2a_grpc.adapters")

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What the interfaces of language models allow as the name of a tool."""

ABOUT_MESSAGE = "What the agent shall do, in words, with everything that it has to know."
ABOUT_TASK_ID = "Only to answer a question of the agent: the task_id that came with the question. Else empty."
PARAMETERS: dict[str, Json] = {
    "type": "object",
    "properties": {
        "message": {"type": "string", "description": ABOUT_MESSAGE},
        "task_id": {"type": "string", "description": ABOUT_TASK_ID, "default": ""},
    },
    "required": ["message"],
    "additionalProperties": False,
}
"""The JSON schema of the arguments that a model gives."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a remote agent tells while it works.

    Attributes:
        kind: "status" for a message about the work, "chunk" for the next piece of the answer, "done" for a number.
        text: The message or the piece; empty for a number.
        done: How much is done, from 0 to 1; None for a message or a piece.
    """

    kind: Literal["status", "chunk", "done"]
    text: str = ""
    done: float | None = None


OnProgress: TypeAlias = Callable[[Progress], Awaitable[None]]
"""A function that gets the progress of a remote agent."""


class AskError(Exception):
    """The remote agent gave no answer. The text says why, and is made for a language model."""


class RemoteTool:
    """A remote agent as a function for a language model. `remote_tool` makes it.

    Guarantees:

    - If the Python task that awaits `ask` is canceled, the task of the remote agent is canceled, too.
    - All calls of one conversation are in one context of the remote agent. Its id is made from the conversation, so it
      is the same after a restart. Calls without a conversation are each in a context of their own.
    - A call that is repeated with its `call_id`, for example after a crash, goes on with the task that it began, if the
      agent honours idempotency keys.

    Attributes:
        name: The name of the tool, which every interface of a model accepts.
        description: What the agent can do, for the model.
    """

    def __init__(self, remote: RemoteAgent, name: str, description: str) -> None:
        self.name = name
        self.description = description
        self._remote = remote

    async def ask(
        self,
        message: str,
        task_id: str = "",
        *,
        conversation: str = "",
        call_id: str = "",
        on_progress: OnProgress | None = None,
    ) -> str:
        """Send a message to the agent, and return its answer as a text for the model.

        Data of the answer is in JSON, and files are named. A question of the agent is a text, too. It has the id of the
        task, with which the model calls again to answer.

        Args:
            message: The text for the agent.
            task_id: The task whose question the message answers; empty for a new task.
            conversation: What the framework calls its conversation, such as the id of a thread. It has to be unique
                among all that call the agent with the same credentials. Empty for a new conversation.
            call_id: What the framework calls this call of the tool, in all of its attempts; empty if it has no name.
            on_progress: The function that gets the progress.

        Raises:
            AskError: The agent failed, refused the message, or was not reached.
        """
        options = self._options(message, task_id, conversation, call_id)
        try:
            async with self._remote.events(message, **options) as events:
                said, task = await self._followed(events, on_progress)
        except UnavailableError as error:  # its text names addresses
            logger.warning("remote agent not reached tool=%s error=%s", self.name, one_line(str(error)))
            raise AskError(f"The agent '{self.name}' cannot be reached now.") from error
        except A2AError as error:
            raise AskError(f"The agent '{self.name}' refused the message: {error.message}") from error
        if task is None:
            return said
        if task.status.state in INTERRUPTED:
            return self._question(task)
        if task.status.state != COMPLETED:
            why = shown(task.status.message.parts) or "it gave no reason"
            raise AskError(f"The agent '{self.name}' ended in {state_name(task.status.state)}: {why}")
        return answer_of(task)

    def _options(self, message: str, task_id: str, conversation: str, call_id: str) -> SendOptions:
        options: SendOptions = {}
        if task_id:
            options["task_id"] = task_id
        if conversation:
            options["context_id"] = self._id_of("context", conversation)
        if call_id:
            # The ids of some models are counters. So the key is made of everything that the call says.
            options["idempotency_key"] = self._id_of("call", conversation, call_id, task_id, message)
        return options

    def _id_of(self, *what: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, json.dumps([self._remote.target, *what])))

    @staticmethod
    async def _followed(events: TaskStream, on_progress: OnProgress | None) -> tuple[str, Task | None]:
        """Read the events. Return the answer of an agent that has no tasks, or the task as it has ended or waits."""
        pieces = Pieces()
        async for event in events:
            if isinstance(event, Message):
                return shown(event.parts), None
            if on_progress is not None:
                for progress in _progress(event, pieces):
                    await on_progress(progress)
            if events.is_paused:
                break
        return "", events.task

    def _question(self, task: Task) -> str:
        asked = shown(task.status.message.parts)
        if task.status.state == AUTH_REQUIRED:
            asked = f"The agent '{self.name}' needs the user to sign in or to authorize something: {asked}"
            how = "When the user has done this, call this tool again with a message that says so"
        else:
            asked = f"The agent '{self.name}' asks: {asked}"
            how = "To answer, call this tool again with the answer as the message"
        return "\n".join(filter(None, [answer_of(task, status=False), asked, f'{how}, and with task_id="{task.id}".']))


def remote_tool(remote: str | RemoteAgent | Client, *, name: str = "", description: str = "") -> RemoteTool:
    """Return a remote agent as a function for a language model.

    A name or a description that is not given comes from the card. The card of a URL is fetched here, which blocks a
    running event loop. A `RemoteAgent` knows its card after `async with`, or after `await remote.card()`.

    Args:
        remote: The agent: an address or the URL of a card as `connect` takes it, a `RemoteAgent`, or an open `Client`.
        name: The name of the tool, of letters, digits, `_` and `-`.
        description: What the agent can do. The model chooses the tool by this text.

    Raises:
        ConfigurationError: The name cannot be used, or the agent has no card that is known here.
        A2AError: The card cannot be fetched.
    """
    if name and not NAME.fullmatch(name):
        raise ConfigurationError(f"the name of the tool is {name!r}; it must be 1 to 64 letters, digits, '_' or '-'")
    agent = RemoteAgent(client=remote) if isinstance(remote, Client) else remote
    agent = RemoteAgent(agent) if isinstance(agent, str) else agent
    if not (name and description):
        card = _card_of(agent, may_fetch=isinstance(remote, str))
        name = name or name_of(card.name)
        description = description or description_of(card)
    return RemoteTool(agent, name, description)


def _card_of(agent: RemoteAgent, *, may_fetch: bool) -> AgentCard:
    """Return the card of an agent. Raise ConfigurationError if it is not known, and cannot be fetched here."""
    target = mask_url(agent.target)
    if may_fetch:
        try:
            with BlockingClient(agent.target) as client:  # in an event loop of its own: a tool is made before one runs
                return client.card()
        except UnsupportedOperationError:
            raise ConfigurationError(
                f"'{target}' is an address, which has no card; give the tool a name and a description"
            ) from None
    try:
        return json_format.ParseDict(agent.describe(), AgentCard(), ignore_unknown_fields=True)
    except RuntimeError:
        raise ConfigurationError(
            f"the card of '{target}' is not known here; give the tool a name and a description, or a RemoteAgent after "
            "'await remote.card()'"
        ) from None


def _progress(event: Event, pieces: Pieces) -> list[Progress]:
    """Return what an event tells of the work."""
    if isinstance(event, TaskStatusUpdateEvent):
        said = text_of(event.status.message) if event.status.state == WORKING else ""
        return [Progress("status", said)] if said else []
    if (done := progress_of(event)) is not None:
        return [Progress("done", done=done)]
    piece = pieces.text(event) if not isinstance(event, Task) else ""
    return [Progress("chunk", piece)] if piece else []
