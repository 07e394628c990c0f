"""Run a graph of LangGraph for a turn: its beginning, its resume, its events and its end."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from a2a_grpc.adapters.langgraph.content import (
    STRUCTURED,
    answer_in,
    human_message,
    past_message,
    plain_value,
    result_of,
)
from a2a_grpc.adapters.langgraph.written import Written, task_of
from a2a_grpc.adapters.missing import needed
from a2a_grpc.adapters.past import messages_before, said_before
from a2a_grpc.agent import Failed, InputRequired, Turn
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.parts import Contents, parts, put, struct, to_dict
from a2a_grpc.wire import ROLE_AGENT, Message

needed("langgraph.graph", "langgraph")
from langchain_core.runnables import RunnableConfig  # noqa: E402
from langgraph.channels import BinaryOperatorAggregate  # noqa: E402
from langgraph.channels.base import BaseChannel  # noqa: E402
from langgraph.errors import GraphRecursionError  # noqa: E402
from langgraph.pregel import Pregel  # noqa: E402
from langgraph.types import Command, Interrupt, Overwrite, StateSnapshot  # noqa: E402

INTERRUPT = "urn:a2a-grpc:langgraph-interrupt"
"""The key in the metadata of a question, with the id of its interrupt."""
TURN = "turn"
"""The key in `config["configurable"]` with which a node finds the turn."""
TURN_ID = "a2a_turn_id"
"""The key in `config["configurable"]`, and so in each checkpoint, with an id of the turn that is the same in each run.

The id of the message is not enough, as a client may use one id for a question and for its answer.
"""
EARLIER = 10
"""How many earlier tasks of a conversation are looked at for its state."""
LOST = "The state of this task was lost with the server. Send the message again, as a new task."
NOT_KEPT = "The agent has a question, but cannot wait for the answer: its graph has no checkpointer."
AT_BREAKPOINT = "The agent waits before its next step. Any answer lets it go on."
FINISHED = object()
"""In place of a step: an earlier run has finished the graph."""


class OpenGraph:
    """Gives the graph for one turn."""

    def __init__(self, graph: Pregel | Callable[[], AbstractAsyncContextManager[Pregel]]) -> None:
        self._graph = graph

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Pregel]:
        if isinstance(self._graph, Pregel):
            yield self._graph
            return
        async with self._graph() as graph:
            yield graph


@dataclass(frozen=True, slots=True)
class Run:
    """The function of the skill. The fields are those of `agent_of`."""

    graph: OpenGraph
    input: Callable[[Turn], Any] | None
    output: Callable[[Any], Contents] | None
    nodes: frozenset[str]
    subgraphs: bool
    history: bool
    config: RunnableConfig

    async def execute(self, turn: Turn) -> Contents:
        """Run the graph until its end or its next interrupt."""
        async with self.graph.open() as graph:
            return await self._run(graph, turn)

    async def _run(self, graph: Pregel, turn: Turn) -> Contents:
        is_kept = bool(graph.checkpointer)
        turn_id = str(turn.uuid())
        config = self._config(turn, task_of(turn).id, turn_id)
        step = await self._step(graph, turn, config)
        is_again = step is None or step is FINISHED
        written = Written(turn, self.nodes, step="" if is_kept else turn_id, is_again=is_again)
        values: Any = None
        if step is not FINISHED:
            # Each checkpoint is stored before the next step begins: a step that was finished is not done again.
            durability = {"durability": "sync"} if is_kept else {}
            events = graph.astream(
                step,
                config,
                stream_mode=["messages", "custom", "values"],
                subgraphs=self.subgraphs,
                **durability,
            )
            try:
                async with aclosing(events):
                    async for *place, mode, event in events:
                        match mode:
                            case "messages":
                                await written.message(*event)
                            case "custom":
                                await written.custom(event)
                            case "values" if not any(place):  # of the graph itself, and of no subgraph
                                values = event
            except GraphRecursionError as error:
                raise Failed("The agent has not come to an end within its number of steps.") from error
            await written.close()
        if is_kept:
            state = await graph.aget_state(config)
            if (question := _question(state)) is not None:
                raise question
            values = state.values
        elif isinstance(values, Mapping) and "__interrupt__" in values:
            raise Failed(NOT_KEPT)
        if self.output is not None:
            return self.output(values)
        return result_of(values, graph.output_channels, is_streamed=written.has_contents)

    def _config(self, turn: Turn, task_id: str, turn_id: str = "") -> RunnableConfig:
        """Return the configuration of a run in the thread of a task."""
        thread = {"thread_id": f"{turn.context_id}/{task_id}", TURN_ID: turn_id, TURN: turn}
        return {**self.config, "configurable": {**self.config.get("configurable", {}), **thread}}

    async def _step(self, graph: Pregel, turn: Turn, config: RunnableConfig) -> Any:
        """Return what the graph goes on with: an input, a resume, None for its last checkpoint, or FINISHED."""
        asked = _asked(turn)
        state = await graph.aget_state(config) if graph.checkpointer else None
        if state is None or state.metadata is None:
            if asked is not None:
                raise Failed(LOST)
            return await self._begin(graph, turn)
        if asked is None and state.metadata.get(TURN_ID) != config["configurable"][TURN_ID]:
            return self._given(turn)  # a node has ended the turn before, without an interrupt
        waiting = _waiting(state)
        for interrupt in waiting:
            if asked is not None and _is_question(asked, interrupt):
                return Command(resume={interrupt.id: answer_in(turn.message)})
        if waiting:  # an earlier run of this turn came to another question, and was lost before it was asked
            raise InputRequired(_asks(waiting[0]))
        return None if state.next else FINISHED

    def _given(self, turn: Turn) -> Any:
        return self.input(turn) if self.input else {"messages": [human_message(turn.message)]}

    async def _begin(self, graph: Pregel, turn: Turn) -> Any:
        """Return the input of a new thread, which begins with the state of the conversation."""
        given = self._given(turn)
        if not self.history:
            return given
        if not graph.checkpointer and not self.input:
            return {"messages": [*map(past_message, await said_before(turn, EARLIER)), *given["messages"]]}
        if not graph.checkpointer or not isinstance(given, dict):
            return given
        before = await self._before(graph, turn)
        before.pop(STRUCTURED, None)  # it is a result, and not of this task
        return given | {
            key: _seed(graph.channels.get(key), value, [given[key]] if key in given else [])
            for key, value in before.items()
        }

    async def _before(self, graph: Pregel, turn: Turn) -> dict[str, Any]:
        """Return the state in which the last completed task of the conversation has left its thread.

        Tasks that were at work at the same time do not know of each other. What the others said is added.
        """
        found: dict[str, Any] = {}
        for task in await turn.context(EARLIER, artifacts=False, history_length=0):
            if task.status.state != COMPLETED:
                continue
            state = await graph.aget_state(self._config(turn, task.id))
            if state.metadata is None or not isinstance(state.values, Mapping):
                continue
            if not found:
                found = dict(state.values)
                continue
            known = set(map(_name_of, found.get("messages", ())))
            more = [message for message in state.values.get("messages", ()) if _name_of(message) not in known]
            if not more:
                break  # all that is older was there when the later task began
            found["messages"] = [*found.get("messages", ()), *more]
        return found


def _seed(channel: object, before: Any, given: list[Any]) -> Any:
    """Return the input of a new thread after which a channel holds a value of the conversation, and what is given.

    Args:
        channel: The channel, or None if the graph has none of this name.
        before: The value of the conversation, which has been through the reducer already.
        given: The value of the message, or nothing.
    """
    if isinstance(channel, BinaryOperatorAggregate):
        filled = channel.from_checkpoint(before)
        filled.update(given)
        return Overwrite(filled.get())
    if not given or not isinstance(channel, BaseChannel):
        return [*given, before][0]
    filled = channel.copy()
    filled.update([before])
    filled.update(given)
    return filled.get()


def _name_of(message: object) -> str:
    """Return what makes a message of a graph different from others: its id, or all of it for a dict."""
    return getattr(message, "id", None) or repr(message)


def _asked(turn: Turn) -> Message | None:
    """Return the question that the message of the turn answers, if it is an interrupt; otherwise None."""
    asked = [message for message in messages_before(turn) if message.role == ROLE_AGENT][-1:]
    return asked[0] if asked and INTERRUPT in asked[0].metadata else None


def _is_question(asked: Message, interrupt: Interrupt) -> bool:
    said = to_dict(asked.metadata)[INTERRUPT]
    return said == interrupt.id and list(asked.parts) == parts(plain_value(interrupt.value))


def _question(state: StateSnapshot) -> InputRequired | None:
    """Return what a graph asks its user; None if it has ended. Of several interrupts the first one is asked."""
    if not state.next:
        return None
    waiting = [*_waiting(state), Interrupt(AT_BREAKPOINT, id="")]
    return InputRequired(_asks(waiting[0]))


def _waiting(state: StateSnapshot) -> list[Interrupt]:
    """Return the interrupts that wait for an answer. Early versions name those of finished nodes, too."""
    ended = [task for task in state.tasks if task.result is not None and task.error is None]
    finished = {one.id for task in ended for one in task.interrupts}
    return [interrupt for interrupt in state.interrupts if interrupt.id not in finished]


def _asks(interrupt: Interrupt) -> Message:
    asked = put(plain_value(interrupt.value), Message())
    asked.metadata.CopyFrom(struct({INTERRUPT: interrupt.id}))
    return asked
