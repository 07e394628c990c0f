"""A client made of the official SDK alone: plays its scenarios against servers/scripted.py, prints what it saw.

    python tests/interop/sdk_client.py URL_OF_THE_CARD [SCENARIO ...]

One JSON line per scenario: {"scenario": name, "seen": …}. Without names it plays all. Nothing of this project is
imported, and the SDK is told nothing but where the card is and how to open a channel.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc.aio
import httpx
from a2a.client import A2ACardResolver, Client, ClientCallContext, ClientConfig, ClientFactory
from a2a.types import (
    AgentCard,
    CancelTaskRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
)
from google.protobuf.json_format import MessageToDict, ParseDict


class Peer:
    """The SDK's client in its three ways to send, made by its factory from one card."""

    def __init__(self, card: AgentCard) -> None:
        self.card = card
        self.streaming = self._client()
        self.blocking = self._client(streaming=False)
        self.polling = self._client(streaming=False, polling=True)

    def _client(self, **config: Any) -> Client:
        return ClientFactory(
            ClientConfig(grpc_channel_factory=grpc.aio.insecure_channel, supported_protocol_bindings=["GRPC"], **config)
        ).create(self.card)

    async def close(self) -> None:
        for client in (self.streaming, self.blocking, self.polling):
            await client.close()

    async def answer(self, sent: SendMessageRequest, **options: Any) -> StreamResponse:
        """The one element of a send that does not stream."""
        (response,) = [element async for element in self.blocking.send_message(sent, **options)]
        return response

    async def start(self, *steps: Any, context_id: str = "") -> Task:
        """A task that was started and not waited for."""
        sent = script(*steps, context_id=context_id)
        (response,) = [element async for element in self.polling.send_message(sent)]
        return response.task

    async def get(self, task_id: str, **fields: Any) -> Task:
        return await self.blocking.get_task(GetTaskRequest(id=task_id, **fields))

    async def until(self, task_id: str, name: str) -> Task:
        """The task, once it is in that state."""
        async with asyncio.timeout(30):
            while (task := await self.get(task_id)).status.state != task_state(name):
                await asyncio.sleep(0.01)
        return task


def script(*steps: Any, task_id: str = "", context_id: str = "", tenant: str = "") -> SendMessageRequest:
    """A send of a script for the agent."""
    return send(
        Part(data=ParseDict({"script": list(steps)}, Part().data)),
        task_id=task_id,
        context_id=context_id,
        tenant=tenant,
    )


def send(*parts: Part, tenant: str = "", **ids: str) -> SendMessageRequest:
    message = Message(message_id="m-1", role=Role.ROLE_USER, parts=parts, **ids)
    return SendMessageRequest(message=message, tenant=tenant)


def plain(message: Any) -> Any:
    return MessageToDict(message, preserving_proto_field_name=True)


async def told(elements: AsyncIterator[StreamResponse]) -> list[Any]:
    return [plain(element) async for element in elements]


async def failure(call: Awaitable[Any]) -> dict[str, Any]:
    """What the SDK raised."""
    try:
        result = await call
    except Exception as error:
        return {"type": type(error).__name__, "text": str(error), "data": getattr(error, "data", None)}
    return {"type": "", "text": f"no error but {result}", "data": None}


# -- scenarios


async def card(peer: Peer) -> Any:
    return plain(peer.card)


async def blocking_send(peer: Peer) -> Any:
    return plain(await peer.answer(script({"status": "half way"}, {"artifact": {"id": "a-1", "text": "done"}})))


async def polling_send(peer: Peer) -> Any:
    task = await peer.start({"artifact": {"text": "draft"}}, {"input": "Which date?"})
    return {"first": plain(task), "later": plain(await peer.until(task.id, "INPUT_REQUIRED"))}


async def stream(peer: Peer) -> Any:
    steps = ({"status": "half way"}, {"chunks": {"id": "text", "count": 3}}, {"complete": "all done"})
    elements = await told(peer.streaming.send_message(script(*steps)))
    return {"elements": elements, "stored": plain(await peer.get(elements[0]["task"]["id"]))}


async def failed_stream(peer: Peer) -> Any:
    return await told(peer.streaming.send_message(script({"raise": "the password is swordfish"})))


async def turns(peer: Peer) -> Any:
    first = await told(peer.streaming.send_message(script({"input": "Which date?"}, {"artifact": {"text": "booked"}})))
    task_id = first[0]["task"]["id"]
    second = await told(peer.streaming.send_message(send(Part(text="tomorrow"), task_id=task_id)))
    return {
        "first": first,
        "second": second,
        "stored": plain(await peer.get(task_id)),
        "newest": plain(await peer.get(task_id, history_length=1)),
        "none": plain(await peer.get(task_id, history_length=0)),
    }


async def bare_message(peer: Peer) -> Any:
    sent = script({"message": "Good morning"}, context_id="c-bare")
    return {
        "blocking": plain(await peer.answer(sent)),
        "streamed": await told(peer.streaming.send_message(sent)),
    }


async def cancel(peer: Peer) -> Any:
    task = await peer.start({"sleep": 600})
    await peer.until(task.id, "WORKING")
    watching = peer.streaming.subscribe(SubscribeToTaskRequest(id=task.id))
    elements = [plain(await anext(watching))]
    canceled = await peer.blocking.cancel_task(CancelTaskRequest(id=task.id))
    elements += await told(watching)
    again = await peer.blocking.cancel_task(CancelTaskRequest(id=task.id))
    return {"canceled": plain(canceled), "again": plain(again), "watched": elements}


async def subscribe(peer: Peer) -> Any:
    task = (await peer.answer(script({"input": "Go on?"}, {"status": "going on"}, {"artifact": {"text": "x"}}))).task
    watching = peer.streaming.subscribe(SubscribeToTaskRequest(id=task.id))
    elements = [plain(await anext(watching))]
    answered = await peer.answer(send(Part(text="yes"), task_id=task.id))
    elements += await told(watching)
    return {"answered": plain(answered), "watched": elements}


async def pages(peer: Peer) -> Any:
    ids = []
    for number in range(5):
        sent = script({"artifact": {"text": f"result {number}"}}, context_id="c-pages")
        ids.append((await peer.answer(sent)).task.id)
    waiting = (await peer.answer(script({"input": "?"}, context_id="c-pages"))).task.id
    wanted, found = ListTasksRequest(context_id="c-pages", page_size=4), []
    while True:
        page = await peer.blocking.list_tasks(wanted)
        found.append([[task.id, task.status.timestamp.ToMicroseconds()] for task in page.tasks])
        if not page.next_page_token:
            break
        wanted.page_token = page.next_page_token
    by_state = ListTasksRequest(context_id="c-pages", status=task_state("INPUT_REQUIRED"), history_length=0)
    full = ListTasksRequest(context_id="c-pages", include_artifacts=True, page_size=2)
    return {
        "made": [*ids, waiting],
        "pages": found,
        "last": plain(page),
        "by_state": plain(await peer.blocking.list_tasks(by_state)),
        "with_artifacts": plain(await peer.blocking.list_tasks(full)),
    }


async def errors(peer: Peer) -> Any:
    done = (await peer.answer(script({"complete": "done"}))).task
    open_task = (await peer.answer(script({"input": "?"}))).task
    empty = SendMessageRequest(message=Message(message_id="m-1", role=Role.ROLE_USER))
    push = script({"complete": "done"})
    push.configuration.task_push_notification_config.url = "https://example.com/hook"
    client = peer.blocking
    return {
        "task": done.id,
        "get_unknown": await failure(peer.get("t-unknown")),
        "cancel_unknown": await failure(client.cancel_task(CancelTaskRequest(id="t-unknown"))),
        "subscribe_unknown": await failure(told(peer.streaming.subscribe(SubscribeToTaskRequest(id="t-unknown")))),
        "send_to_unknown": await failure(peer.answer(send(Part(text="x"), task_id="t-unknown"))),
        "cancel_done": await failure(client.cancel_task(CancelTaskRequest(id=done.id))),
        "subscribe_done": await failure(told(peer.streaming.subscribe(SubscribeToTaskRequest(id=done.id)))),
        "send_to_done": await failure(peer.answer(send(Part(text="x"), task_id=done.id))),
        "stream_to_done": await failure(told(peer.streaming.send_message(send(Part(text="x"), task_id=done.id)))),
        "other_context": await failure(peer.answer(send(Part(text="x"), task_id=open_task.id, context_id="c-other"))),
        "no_parts": await failure(peer.answer(empty)),
        "page_size": await failure(client.list_tasks(ListTasksRequest(page_size=101))),
        "inline_push": await failure(peer.answer(push)),
        "get_push": await failure(
            client.get_task_push_notification_config(GetTaskPushNotificationConfigRequest(task_id=done.id, id="p-1"))
        ),
        "other_version": await failure(
            peer.answer(script(), context=ClientCallContext(service_parameters={"A2A-Version": "0.3"}))
        ),
    }


async def deadline(peer: Peer) -> Any:
    """However slow the machine is, in the end there is a deadline that leaves time to create a task."""
    sent, timeout_s = script({"sleep": 600}, context_id="c-deadline"), 0.2
    tasks: list[Task] = []
    while not tasks:
        error = await failure(peer.answer(sent, context=ClientCallContext(timeout=timeout_s)))
        tasks = list((await peer.blocking.list_tasks(ListTasksRequest(context_id="c-deadline"))).tasks)
        timeout_s *= 2
    task = await peer.until(tasks[0].id, "WORKING")
    canceled = await peer.blocking.cancel_task(CancelTaskRequest(id=task.id))
    return {"error": error, "canceled": plain(canceled)}


async def extensions(peer: Peer) -> Any:
    offered = [extension.uri for extension in peer.card.capabilities.extensions]
    wanted = ClientCallContext(service_parameters={"A2A-Extensions": ",".join([*offered, "urn:unknown"])})
    return plain(await peer.answer(script({"complete": "done"}), context=wanted))


async def extended_card(peer: Peer) -> Any:
    return plain(await peer.blocking.get_extended_agent_card(GetExtendedAgentCardRequest()))


async def tenants(peer: Peer) -> Any:
    """The card's tenant where the request names none; else the one that the request names."""
    ours = (await peer.answer(script({"complete": "for the card's tenant"}))).task
    theirs = (await peer.answer(script({"complete": "for another"}, tenant="other"))).task
    anonymous = AgentCard()
    anonymous.CopyFrom(peer.card)
    anonymous.supported_interfaces[0].tenant = ""
    nobody = Peer(anonymous)
    try:
        return {
            "ours": plain(await peer.get(ours.id)),
            "theirs": plain(await peer.get(theirs.id, tenant="other")),
            "theirs_as_ours": await failure(peer.get(theirs.id)),
            "ours_as_theirs": await failure(peer.get(ours.id, tenant="other")),
            "ours_as_nobodys": await failure(nobody.get(ours.id)),
            "listed": [
                [task.id for task in (await peer.blocking.list_tasks(ListTasksRequest(tenant=tenant))).tasks]
                for tenant in ("", "other")
            ],
            "canceled": await failure(peer.blocking.cancel_task(CancelTaskRequest(id=theirs.id))),
            "watched": await told(peer.streaming.send_message(script({"complete": "streamed"}))),
            "ids": [ours.id, theirs.id],
        }
    finally:
        await nobody.close()


def task_state(name: str) -> Any:
    states = Task.DESCRIPTOR.fields_by_name["status"].message_type.fields_by_name["state"].enum_type
    return states.values_by_name[f"TASK_STATE_{name}"].number


SCENARIOS: dict[str, Callable[[Peer], Awaitable[Any]]] = {
    scenario.__name__: scenario
    for scenario in (
        card, blocking_send, polling_send, stream, failed_stream, turns, bare_message, cancel, subscribe, pages,
        errors, deadline, extensions, extended_card, tenants,
    )
}  # fmt: skip


async def main(url: str, names: list[str]) -> None:
    async with httpx.AsyncClient() as http:
        peer = Peer(await A2ACardResolver(http, url).get_agent_card())
    try:
        for name in names or SCENARIOS:
            print(json.dumps({"scenario": name, "seen": await SCENARIOS[name](peer)}), flush=True)
    finally:
        await peer.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
