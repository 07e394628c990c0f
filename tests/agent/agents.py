"""Agents of one skill, what their handlers' events look like, and the calls that the harness has no name for."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from a2a_grpc import Agent, Message, Task, Turn
from a2a_grpc.lifecycle import state_name
from a2a_grpc.parts import Json, struct, text_of
from a2a_grpc.wire import CancelTaskRequest, ListTasksRequest, SendMessageRequest, StreamResponse
from tests.harness import V1, Served, elements, message, request, serving

SKILL = "work"
GENERIC = "The agent failed with an internal error."


def agent_of(handler: Callable[[Turn], Any], **declaration: Any) -> Agent:
    """An agent whose only skill, `work`, is this handler."""
    agent = Agent("Worker", "Does the work of one test.")
    agent.skill(SKILL, **declaration)(handler)
    return agent


async def played(handler: Callable[[Turn], Any], sent: SendMessageRequest | None = None) -> Sequence[StreamResponse]:
    """All elements of the stream of one send to this handler."""
    async with serving(agent_of(handler)) as served:
        return await elements(served.stream(sent or request()))


async def result(handler: Callable[[Turn], Any], sent: SendMessageRequest | None = None) -> Task:
    """The settled task of one blocking send to this handler."""
    async with serving(agent_of(handler)) as served:
        task: Task = (await served.send(sent or request())).task
        return task


def with_metadata(sent: SendMessageRequest, message: dict[str, Json], request: dict[str, Json]) -> SendMessageRequest:
    """The same send, with metadata of the message and of the request."""
    sent.message.metadata.CopyFrom(struct(message))
    sent.metadata.CopyFrom(struct(request))
    return sent


def follow_up(task: Task, text: str, *, immediately: bool = False) -> SendMessageRequest:
    """A send of a further message to a task."""
    return request(message(text, task_id=task.id), immediately=immediately)


class Gate:
    """A place in a handler where it waits for the test, which can wait until it is there."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def passed(self) -> None:
        self.reached.set()
        await self.opened.wait()


def told(stream: Sequence[StreamResponse]) -> list[str]:
    """Each element in a word or two: the state it tells, or the artifact's text with its flags."""
    return [_told(element) for element in stream]


def _told(element: StreamResponse) -> str:
    match element.WhichOneof("payload"):
        case "task":
            return f"task {state_name(element.task.status.state)}"
        case "status_update":
            status = element.status_update.status
            return " ".join(filter(None, [state_name(status.state), text_of(status.message)]))
        case "artifact_update":
            update = element.artifact_update
            flags = f"{' append' if update.append else ''}{' last' if update.last_chunk else ''}"
            return f"artifact '{text_of(update.artifact)}'{flags}"
    return f"message '{text_of(element.message)}'"


def said(messages: Sequence[Message]) -> list[str]:
    """The text of each message."""
    return [text_of(one) for one in messages]


async def cancel(served: Served, task_id: str, metadata: dict[str, Json] | None = None) -> Task:
    """CancelTask, with a guard against hanging."""
    async with asyncio.timeout(30):
        task: Task = await served.stub.CancelTask(
            CancelTaskRequest(id=task_id, metadata=struct(metadata or {})), metadata=V1
        )
        return task


async def stored_tasks(served: Served) -> int:
    """How many tasks the server has."""
    return int((await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size)
