"""A client peer made of this project's client: what the others are measured by.

python -m tests.interop.peers.ours CARD_URL SCENARIO ...
"""

import asyncio
import json
import sys
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.json_format import MessageToDict

from a2a_grpc import A2AError, Client, Message, Part, Task, connect
from a2a_grpc.client import Event, TaskStream
from a2a_grpc.lifecycle import INPUT_REQUIRED, element_of
from a2a_grpc.parts import struct, value
from a2a_grpc.wire import ROLE_USER

WITHIN_S = 30.0


def said(*parts: Part, **fields: Any) -> Message:
    return Message(message_id=str(uuid.uuid4()), role=ROLE_USER, parts=parts, **fields)


def script(*steps: Any, **fields: Any) -> Message:
    return said(Part(data=value({"script": list(steps)})), **fields)


def told(event: Event | None) -> Any:
    return MessageToDict(event) if event is not None else None


def answer(reply: Task | Message) -> Any:
    return {"task": told(reply)} if isinstance(reply, Task) else {"message": told(reply)}


async def elements(stream: TaskStream) -> list[Any]:
    async with stream as events:
        return [MessageToDict(element_of(event)) async for event in events]


async def failure(call: Awaitable[Any]) -> Any:
    try:
        await call
    except A2AError as error:
        return failure_of(error)
    return {"type": ""}


def failure_of(error: A2AError) -> Any:
    return {"type": type(error).__name__, "text": str(error), "reason": error.reason, "code": error.code.name}


async def task_or_error(call: Awaitable[Task]) -> Any:
    """Servers differ in what a second cancel gives (OPEN-5)."""
    try:
        return told(await call)
    except A2AError as error:
        return failure_of(error)


async def start(client: Client, *steps: Any) -> str:
    task = await client.start(script(*steps))
    assert isinstance(task, Task)
    return task.id


async def card(client: Client) -> Any:
    return MessageToDict(await client.card())


async def send(client: Client) -> Any:
    return answer(await client.send(script({"status": "half way"}, {"artifact": {"id": "a-1", "text": "done"}})))


async def message(client: Client) -> Any:
    return answer(await client.send(script({"message": "Good morning"})))


async def started(client: Client) -> Any:
    first = await client.start(script({"artifact": {"text": "draft"}}, {"input": "Which date?"}))
    assert isinstance(first, Task)
    while (later := await client.get(first.id)).status.state != INPUT_REQUIRED:
        await asyncio.sleep(0.01)
    return {"first": told(first), "later": told(later)}


async def stream(client: Client) -> Any:
    steps = ({"status": "half way"}, {"chunks": {"id": "text", "count": 3}}, {"complete": "all done"})
    streaming = client.stream(script(*steps))
    return {"elements": await elements(streaming), "stored": told(await client.get(streaming.task_id))}


async def turns(client: Client) -> Any:
    asking = client.stream(script({"input": "Which date?"}, {"artifact": {"text": "booked"}}))
    first = await elements(asking)
    second = await elements(client.stream(said(Part(text="tomorrow"), task_id=asking.task_id)))
    stored, newest = await client.get(asking.task_id), await client.get(asking.task_id, history_length=1)
    return {"first": first, "second": second, "stored": told(stored), "newest": told(newest)}


async def subscribe(client: Client) -> Any:
    task = await client.send(script({"input": "Go on?"}, {"status": "going on"}, {"artifact": {"text": "x"}}))
    assert isinstance(task, Task)
    async with client.subscribe(task.id) as events:
        watched = [await anext(events)]
        answered = await client.send(said(Part(text="yes"), task_id=task.id))
        watched += [event async for event in events]
    return {"watched": [MessageToDict(element_of(event)) for event in watched], "answered": answer(answered)}


async def cancel(client: Client) -> Any:
    task_id = await start(client, {"sleep": 600})
    async with client.subscribe(task_id) as events:
        watched = [await anext(events)]
        canceled = await client.cancel(task_id)
        watched += [event async for event in events]
    return {
        "canceled": told(canceled),
        "again": await task_or_error(client.cancel(task_id)),
        "watched": [MessageToDict(element_of(event)) for event in watched],
    }


async def leave(client: Client) -> Any:
    task_id = await start(client, {"sleep": 600})
    async with client.subscribe(task_id) as events:
        await anext(events)
    return {"left": told(await client.get(task_id)), "canceled": told(await client.cancel(task_id))}


async def pages(client: Client) -> Any:
    made, context_id = [], ""
    for number in range(5):
        task = await client.send(script({"artifact": {"text": f"result {number}"}}, context_id=context_id))
        assert isinstance(task, Task)
        context_id = task.context_id
        made.append(task.id)
    paged = [task.id async for task in client.list(context_id=context_id, page_size=2)]
    full = [told(task) async for task in client.list(context_id=context_id, page_size=100, include_artifacts=True)]
    return {"made": made, "pages": [paged], "with_artifacts": full}


async def errors(client: Client) -> Any:
    done = await client.send(script({"complete": "done"}))
    assert isinstance(done, Task)

    async def list_too_many() -> None:
        async for _ in client.list(page_size=101):
            pass

    return {
        "get_unknown": await failure(client.get("t-unknown")),
        "cancel_unknown": await failure(client.cancel("t-unknown")),
        "subscribe_unknown": await failure(elements(client.subscribe("t-unknown"))),
        "cancel_done": await failure(client.cancel(done.id)),
        "send_to_done": await failure(client.send(said(Part(text="more"), task_id=done.id))),
        "no_parts": await failure(client.send(said())),
        "page_size": await failure(list_too_many()),
        "bad_script": await failure(client.send(script({"nonsense": 1}))),
        "done": done.id,
    }


async def tenants(client: Client) -> Any:
    task = await client.send(script({"complete": "ours"}))
    assert isinstance(task, Task)
    return {"ours": told(await client.get(task.id))}


async def extensions(client: Client) -> Any:
    asked = [extension.uri for extension in (await client.card()).capabilities.extensions] + ["urn:unknown"]
    metadata = struct({"urn:test": {"list": [1, "two", None], "flag": True}})
    async with connect(client.target, extensions=asked) as asking:
        task = await asking.send(script({"complete": "done"}, metadata=metadata))
        assert isinstance(task, Task)
        return {"task": told(await asking.get(task.id)), "asked": asked}


SCENARIOS: dict[str, Callable[[Client], Awaitable[Any]]] = {
    **{each.__name__: each for each in (card, send, message, stream, turns, subscribe, cancel, leave, pages)},
    **{each.__name__: each for each in (errors, tenants, extensions)},
    "start": started,
}


async def main(url: str, names: list[str]) -> None:
    async with connect(url) as client:
        for name in names:
            async with asyncio.timeout(WITHIN_S):
                seen = await SCENARIOS[name](client)
            print(json.dumps({"scenario": name, "seen": seen}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
