"""A client peer made of the official Python SDK.

    python -m tests.interop.peers.sdk CARD_URL SCENARIO ...

The server peer is tests/interop/sdk_server.py.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from a2a.client import A2ACardResolver, ClientCallContext
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Part,
    SendMessageRequest,
    SubscribeToTaskRequest,
)
from google.protobuf.json_format import ParseDict

from tests.interop import sdk_client as base
from tests.interop.sdk_client import Peer, plain, script, send, told

WITHIN_S = 30.0


async def failure(call: Awaitable[Any]) -> Any:
    """What the SDK raised; it shows neither the reason nor the status code."""
    found = await base.failure(call)
    return {"type": found["type"], "text": found["text"]}


async def started(peer: Peer) -> Any:
    return await base.polling_send(peer)


async def message(peer: Peer) -> Any:
    return plain(await peer.answer(script({"message": "Good morning"})))


async def cancel(peer: Peer) -> Any:
    task = await peer.start({"sleep": 600})
    watching = peer.streaming.subscribe(SubscribeToTaskRequest(id=task.id))
    watched = [plain(await anext(watching))]
    canceled = await peer.blocking.cancel_task(CancelTaskRequest(id=task.id))
    watched += await told(watching)
    again = await peer.blocking.cancel_task(CancelTaskRequest(id=task.id))
    return {"canceled": plain(canceled), "again": plain(again), "watched": watched}


async def leave(peer: Peer) -> Any:
    task = await peer.start({"sleep": 600})
    watching = peer.streaming.subscribe(SubscribeToTaskRequest(id=task.id))
    await anext(watching)
    await watching.aclose()
    left = await peer.get(task.id)
    return {"left": plain(left), "canceled": plain(await peer.blocking.cancel_task(CancelTaskRequest(id=task.id)))}


async def pages(peer: Peer) -> Any:
    made: list[str] = []
    context_id = ""
    for number in range(5):
        task = (await peer.answer(script({"artifact": {"text": f"result {number}"}}, context_id=context_id))).task
        context_id = task.context_id
        made.append(task.id)
    wanted, found = ListTasksRequest(context_id=context_id, page_size=2), []
    while True:
        page = await peer.blocking.list_tasks(wanted)
        found.append([task.id for task in page.tasks])
        if not page.next_page_token:
            break
        wanted.page_token = page.next_page_token
    full = ListTasksRequest(context_id=context_id, page_size=100, include_artifacts=True)
    return {
        "made": made,
        "pages": found,
        "total": page.total_size,
        "with_artifacts": [plain(task) for task in (await peer.blocking.list_tasks(full)).tasks],
    }


async def errors(peer: Peer) -> Any:
    done = (await peer.answer(script({"complete": "done"}))).task.id
    client = peer.blocking
    return {
        "get_unknown": await failure(peer.get("t-unknown")),
        "cancel_unknown": await failure(client.cancel_task(CancelTaskRequest(id="t-unknown"))),
        "subscribe_unknown": await failure(told(peer.streaming.subscribe(SubscribeToTaskRequest(id="t-unknown")))),
        "cancel_done": await failure(client.cancel_task(CancelTaskRequest(id=done))),
        "subscribe_done": await failure(told(peer.streaming.subscribe(SubscribeToTaskRequest(id=done)))),
        "send_to_done": await failure(peer.answer(send(Part(text="more"), task_id=done))),
        "no_parts": await failure(peer.answer(send())),
        "page_size": await failure(client.list_tasks(ListTasksRequest(page_size=101))),
        "bad_script": await failure(peer.answer(script({"nonsense": 1}))),
        "done": done,
    }


async def tenants(peer: Peer) -> Any:
    task = (await peer.answer(script({"complete": "ours"}))).task
    other = peer.blocking.get_task(GetTaskRequest(id=task.id, tenant="other"))
    return {"ours": plain(await peer.get(task.id)), "as_other": await failure(other)}


async def extensions(peer: Peer) -> Any:
    """The SDK does not show the server's metadata, so that nothing can be said of what was activated."""
    asked = [extension.uri for extension in peer.card.capabilities.extensions] + ["urn:unknown"]
    sent: SendMessageRequest = script({"complete": "done"})
    ParseDict({"urn:test": {"list": [1, "two", None], "flag": True}}, sent.message.metadata)
    context = ClientCallContext(service_parameters={"A2A-Extensions": ",".join(asked)})
    task = (await peer.answer(sent, context=context)).task
    return {"task": plain(await peer.get(task.id)), "asked": asked}


SCENARIOS: dict[str, Callable[[Peer], Awaitable[Any]]] = {
    **{each.__name__: each for each in (message, cancel, leave, pages, errors, tenants, extensions)},
    **{each.__name__: each for each in (base.card, base.stream, base.turns, base.subscribe)},
    "send": base.blocking_send,
    "start": started,
}


async def main(url: str, names: list[str]) -> None:
    async with httpx.AsyncClient() as http:
        peer = Peer(await A2ACardResolver(http, url).get_agent_card())
    try:
        for name in names:
            async with asyncio.timeout(WITHIN_S):
                seen = await SCENARIOS[name](peer)
            print(json.dumps({"scenario": name, "seen": seen}), flush=True)
    finally:
        await peer.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
