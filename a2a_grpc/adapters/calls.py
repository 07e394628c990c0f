"""Calls of tools by a language model: telling the caller of them, and asking for approvals and results."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from a2a_grpc.adapters.past import messages_before
from a2a_grpc.agent import InputRequired, Turn
from a2a_grpc.parts import Contents, Json, agent_message, data_of, files_of, parts, struct, text_of, value
from a2a_grpc.wire import Message, Part

ASK_USER = "ask_user"
"""The name of the tool with which a model asks the user."""
NOT_KEPT = "What was said in this task cannot be kept until you answer."

YES = frozenset({"yes", "y", "ok", "okay", "sure", "approve", "approved", "allow", "allowed", "true"})
NO = frozenset({"no", "n", "deny", "denied", "reject", "rejected", "refuse", "refused", "false"})

Stage = Literal["called", "done", "failed", "denied"]
SAID: Mapping[Stage, str] = {
    "called": "The agent calls the tool '{}'.",
    "done": "The tool '{}' is done.",
    "failed": "The tool '{}' failed.",
    "denied": "The tool '{}' was not called.",
}


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool that waits for the user.

    Attributes:
        id: The id that the model gave the call.
        tool: The name of the tool.
        arguments: The arguments that the model gave.
        needs: "approval" if the tool runs once the user allows it. "result" if the user gives what the tool would
            return.
        question: The words that the user reads; empty for general ones that name the tool and the arguments.
    """

    id: str
    tool: str
    arguments: Json
    needs: Literal["approval", "result"]
    question: str = ""

    def __str__(self) -> str:
        if self.question:
            return self.question
        given = f"the tool '{self.tool}' with {json.dumps(self.arguments, ensure_ascii=False)}"
        return f"May the agent call {given}?" if self.needs == "approval" else f"What is the result of {given}?"


@dataclass(frozen=True, slots=True)
class Denied:
    """The user does not allow a call.

    Attributes:
        reason: What the user said about it; empty if nothing.
    """

    reason: str = ""


Answers = dict[str, "Json | Denied"]
"""What the user said to each call, by its id: True or `Denied` to one that needs approval, otherwise its result."""


async def tell(turn: Turn, stage: Stage, tool: str, call_id: str) -> None:
    """Send a status message about a call. Its metadata name the tool and the call, for programs."""
    task = turn.task
    said = agent_message(SAID[stage].format(tool), context_id=turn.context_id, task_id=task.id if task else "")
    said.metadata.CopyFrom(struct({"tool": tool, "call": call_id, "stage": stage}))
    await turn.status(said)


def asked(calls: Sequence[Call]) -> InputRequired:
    """Return the outcome that asks the user about calls."""
    return InputRequired(_question(calls))


def _question(calls: Sequence[Call]) -> Contents:
    """Return the question about calls, in words and as data."""
    lines = [str(call) for call in calls]
    if all(call.needs == "approval" for call in calls):
        lines.append("Answer yes or no.")
    elif len(calls) > 1:
        lines.append("Answer with data: a value for each id.")
    waiting: Json = [
        {"id": call.id, "tool": call.tool, "arguments": _sendable(call.arguments), "needs": call.needs}
        for call in calls
    ]
    return [Part(text="\n".join(lines)), {"calls": waiting}]


def answers(calls: Sequence[Call], message: Message) -> Answers | None:
    """Return what a message says to calls, or None if it does not answer each of them.

    Data answer each call by its id. A call that needs approval takes true, false, or a text that says why not. Without
    such data, the whole message is the answer: yes or no if all calls need approval, or the result of a single call.
    """
    if not calls:
        return None
    data = data_of(message)
    if isinstance(data, dict) and all(call.id in data for call in calls):
        found = {call.id: _decision(data[call.id]) if call.needs == "approval" else data[call.id] for call in calls}
        return None if None in [found[call.id] for call in calls if call.needs == "approval"] else found
    if all(call.needs == "approval" for call in calls):
        decision = _decision(data) if isinstance(data, bool) else _in_words(text_of(message))
        return None if decision is None else {call.id: decision for call in calls}
    if len(calls) > 1:
        return None
    text = text_of(message)
    if data is None and not text and files_of(message):
        return None  # a file is no result
    return {calls[0].id: text if data is None else data}


def is_about(turn: Turn, calls: Sequence[Call]) -> bool:
    """Return True if the message of a turn answers the question about calls, and not a later question of a tool."""
    before = messages_before(turn)[-1:]
    return bool(calls) and [list(one.parts) for one in before] == [parts(_question(calls))]


def _sendable(arguments: Json) -> Json:
    """Return arguments, or their JSON as a text if the wire cannot carry them."""
    try:
        value(arguments)
    except ValueError:
        return json.dumps(arguments)
    return arguments


def _decision(said: Json) -> "Literal[True] | Denied | None":
    if isinstance(said, bool):
        return True if said else Denied()
    return (_in_words(said) or Denied(said)) if isinstance(said, str) else None


def _in_words(text: str) -> "Literal[True] | Denied | None":
    """Return what a text says. Only a text that is nothing but a yes allows a call."""
    words = [word.strip(".,;:!?\"'") for word in text.lower().split()]
    if words and words[0] in NO:
        return Denied(text.strip() if len(words) > 1 else "")
    return True if words and all(word in YES for word in words) else None
