"""Ask the user of a turn what another agent asks, and make the options of the answer."""

from typing import cast

from a2a_grpc import lifecycle
from a2a_grpc.agent import Answer, Turn
from a2a_grpc.client.noted import call_in, note_of
from a2a_grpc.client.sending import SendOptions
from a2a_grpc.parts import Contents, Json
from a2a_grpc.wire import Part, Task, TaskState, TaskStatus

KEPT = ("metadata", "priority", "accepted_output_modes", "history_length", "cancel_on_disconnect", "headers")
"""Options of a send that go with the answers to its agent's questions, too."""


class Questions:
    """Asks the questions of one call in a turn, while no other call of the turn asks."""

    def __init__(self, turn: Turn, call: str, name: str) -> None:
        self._turn = turn
        self._call = call
        self._name = name

    async def pass_on(self, task: Task, status: TaskStatus) -> Answer:
        """Ask what another agent's task asks with a status. Return the answer of the user."""
        said: list[Part] = list(status.message.parts)
        question: Contents = said or f"The agent '{self._name}' waits for {_wish(status.state)}."
        return await self.ask(question, status.state == lifecycle.AUTH_REQUIRED, note_of(self._call, task))

    async def ask(self, question: Contents, is_auth: bool, metadata: dict[str, Json]) -> Answer:
        """Ask when no other call of the turn asks. Return the answer of the user."""
        async with self._turn.talk.speaking(self._may_ask):
            return await self._turn.ask(question, auth=is_auth, metadata=metadata)

    def _may_ask(self) -> bool:
        """Return True unless the next recorded answer is for another call that is at work."""
        recorded = self._turn.recorded_questions
        call = call_in(recorded[0]) if recorded else ""
        return call in ("", self._call) or call not in self._turn.talk.calls


def _wish(state: TaskState) -> str:
    return "an authorization" if state == lifecycle.AUTH_REQUIRED else "an answer"


def answer_options(options: SendOptions, task: Task, key: str) -> SendOptions:
    """Return the options of the message that answers a question of another agent's task.

    Args:
        options: The options of the message that began the task.
        task: The task.
        key: The idempotency key of the answer.
    """
    kept: dict[str, object] = {name: value for name, value in options.items() if name in KEPT}
    kept |= {"task_id": task.id, "idempotency_key": key}
    if task.context_id:  # the official SDK gives a message without it a context of its own, and refuses it then
        kept["context_id"] = task.context_id
    return cast(SendOptions, kept)
