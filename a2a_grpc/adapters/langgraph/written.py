"""Writes the events of a graph to the turn that runs it."""

import uuid
from collections.abc import Mapping
from typing import Any

from a2a_grpc.adapters.langgraph.content import file_parts, plain_value
from a2a_grpc.adapters.missing import needed
from a2a_grpc.agent import Turn
from a2a_grpc.client.pieces import progress_in
from a2a_grpc.parts import put, text_of
from a2a_grpc.wire import Artifact, Part, Task

needed("langchain_core.messages", "langgraph")
from langchain_core.messages import AIMessage  # noqa: E402


class Written:
    """Writes the events of a graph to the turn. Each message of a model is an artifact.

    The id of an artifact is made from the step of the graph. So a step that is done again after a crash replaces what
    it wrote before, and what finished steps wrote stays.

    Args:
        turn: The turn.
        nodes: The nodes whose messages are written; empty for all.
        step: The name to use for every step, if the graph has no checkpoints, because such a graph gives its steps
            other names in each run. Empty for a graph with checkpoints: its own names are used.
        is_again: True if an earlier run of this turn may have written something.

    Attributes:
        has_contents: True once a text or a file was written, also by an earlier run of the turn.
    """

    def __init__(self, turn: Turn, nodes: frozenset[str], *, step: str, is_again: bool) -> None:
        self._turn = turn
        self._nodes = nodes
        self._step = step
        self._messages: dict[str, list[str | None]] = {}
        """The ids of the messages of each step, in their order."""
        self._open: dict[str, None] = {}
        """The artifacts of this run, in their order."""
        self.has_contents = is_again and any(text_of(one) for one in task_of(turn).artifacts)

    async def message(self, chunk: object, about: Mapping[str, Any]) -> None:
        """Write a message, or a chunk of one, if it is a model's."""
        if not isinstance(chunk, AIMessage) or (self._nodes and about.get("langgraph_node") not in self._nodes):
            return
        text = str(chunk.text)
        found = [*([Part(text=text)] if text else []), *file_parts(chunk)]
        if not found:
            return
        artifact_id = self._id_of(str(about.get("langgraph_checkpoint_ns", "")), chunk.id)
        await self._turn.artifact(found, id=artifact_id, name=self._turn.skill, append=artifact_id in self._open)
        self._open[artifact_id] = None
        self.has_contents = True

    def _id_of(self, step: str, message_id: str | None) -> str:
        step = self._step or step
        order = self._messages.setdefault(step, [])
        if message_id not in order:
            order.append(message_id)
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{task_of(self._turn).id}|{step}|{order.index(message_id)}"))

    async def custom(self, given: Any) -> None:
        """Write what a node gave its stream writer: progress as an artifact, anything else as a status."""
        match given:
            case Artifact():
                await self._turn.artifact(given)
                return
            case {"tool": str(tool), "kind": "status" | "chunk" | "done" as kind, "text": str(text), "done": done}:
                if kind == "status":
                    await self._turn.status(text)
                elif kind == "done":
                    await self._turn.artifact({"progress": done}, id=f"progress-{tool}", name=tool)
                return  # chunks are for the model
        artifact = put(plain_value(given), Artifact(artifact_id="progress", name="progress"))
        if progress_in(artifact) is None:
            await self._turn.status(list(artifact.parts))
        else:
            await self._turn.artifact(artifact)

    async def close(self) -> None:
        """Mark the end of each artifact."""
        for artifact_id in self._open:
            await self._turn.artifact("", id=artifact_id, append=True, last_chunk=True)


def task_of(turn: Turn) -> Task:
    """Return the task of a turn."""
    assert turn.task is not None  # the skill answers with tasks
    return turn.task
