"""Two agents made of the official SDK alone, with its stores in memory; they do what messages say, step by step.

    python tests/interop/sdk_server.py

Prints one JSON line once it serves: `grpc` is the agent with every capability, `bare` one with none, `http` has their
cards: at /, at /bare, and at /tenant/NAME the first one's for a tenant. POST /open/GATE lets the step {"wait": GATE} go
on. The card at /guarded?token_url=URL is that of a third agent, which takes a bearer token `token-…` from there; POST
/revoke/TOKEN has it refuse a token. Nothing of this project is imported. Tasks are a tenant's own.
"""

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import grpc
import grpc.aio
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.context import ServerCallContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler, GrpcHandler
from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.server.tasks import InMemoryPushNotificationConfigStore, InMemoryTaskStore, TaskUpdater
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Artifact,
    Message,
    Part,
    Role,
    Task,
    TaskState,
    TaskStatus,
    UnsupportedOperationError,
)
from a2a.types.a2a_pb2_grpc import add_A2AServiceServicer_to_server
from aiohttp import web
from google.protobuf.json_format import MessageToDict, ParseDict

LEFT: dict[str, list[dict[str, Any]]] = {}
"""By task: the steps after a question, which the answer plays if it has none of its own."""
GATES: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
UNCANCELABLE: set[str] = set()
"""Tasks whose agent does not let itself be canceled."""


class Scripted(AgentExecutor):  # type: ignore[misc]
    """Plays a message's script, {"script": [step, …]}; a script without an end completes, any other message is echoed.

    As in the SDK's examples it sends the Task first, once, and afterwards what changes.
    """

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        message = context.message
        left = LEFT.pop(context.task_id, None)
        steps = [step for part in message.parts for step in script_of(part)] or left or [{"echo": True}]
        pen = TaskUpdater(event_queue, context.task_id, context.context_id)
        if "message" in steps[0]:
            await event_queue.enqueue_event(
                Message(
                    message_id="m-agent",
                    role=Role.ROLE_AGENT,
                    context_id=context.context_id,
                    parts=[Part(text=steps[0]["message"])],
                )
            )
            return
        if context.current_task is None and "without_task" not in steps[0]:
            task = Task(id=context.task_id, context_id=context.context_id, history=[message])
            task.status.CopyFrom(TaskStatus(state=TaskState.TASK_STATE_SUBMITTED))
            await event_queue.enqueue_event(task)
        for place, step in enumerate(steps):
            ((name, argument),) = step.items()
            if name == "input" and steps[place + 1 :]:
                LEFT[context.task_id] = steps[place + 1 :]
            if await play(name, argument, pen, context):
                return
        await pen.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        if context.task_id in UNCANCELABLE:
            raise UnsupportedOperationError("this agent cannot be stopped")
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


async def play(name: str, argument: Any, pen: TaskUpdater, context: RequestContext) -> bool:
    """Plays one step; whether it was the last."""

    def said() -> Message:
        return pen.new_agent_message([Part(text=argument)])

    match name:
        case "status":
            await pen.start_work(said())
        case "artifact":
            if "text" in argument:
                await pen.add_artifact([Part(text=argument["text"])], argument.get("id"), argument.get("name"))
            else:
                artifact = ParseDict(argument, Artifact())
                await pen.add_artifact(list(artifact.parts), artifact_id=artifact.artifact_id, name=artifact.name)
        case "chunks":
            artifact_id, count = argument.get("id"), argument["count"]
            for i in range(count):
                if artifact_id:
                    part, last = Part(text=f"chunk {i} "), i == count - 1
                    await pen.add_artifact([part], artifact_id, append=i > 0, last_chunk=last)
                    continue
                part = Part(text=f"{i} ".ljust(argument.get("size", 0), "."))
                await pen.add_artifact([part], artifact_id="chunks", append=i > 0)
                await asyncio.sleep(argument.get("interval_s", 0))
        case "drafts":  # each replaces the one before
            for i in range(argument["count"]):
                part = Part(text=f"draft {i} ".ljust(argument["size"], "."))
                await pen.add_artifact([part], artifact_id="draft")
            await pen.add_artifact([Part(text="final")], artifact_id="draft")
        case "echo":
            await pen.add_artifact(list(context.message.parts), artifact_id="echo")
        case "sleep":
            await asyncio.sleep(argument)
        case "wait":
            await GATES[argument].wait()
        case "uncancelable":
            UNCANCELABLE.add(context.task_id)
        case "without_task":
            pass
        case "input":
            await pen.requires_input(said())
        case "auth":
            await pen.requires_auth(said())
        case "complete":
            await pen.complete(said())
        case "fail":
            await pen.failed(said())
        case "reject":
            await pen.reject(said())
        case "raise":
            raise RuntimeError(argument)
        case _:
            raise ValueError(f"no such step: {name}")
    return name in ("input", "auth", "complete", "fail", "reject")


def script_of(part: Part) -> list[dict[str, Any]]:
    """The steps that a data part brings."""
    value = MessageToDict(part.data) if part.HasField("data") else None
    steps = value.get("script", []) if isinstance(value, dict) else []
    for step in steps:
        for argument in step.values():
            if isinstance(argument, dict) and "count" in argument:
                argument["count"] = int(argument["count"])  # a Value knows only doubles
                argument["size"] = int(argument.get("size", 0))
    return steps


def card(name: str, address: str, **capabilities: bool) -> AgentCard:
    return AgentCard(
        name=name,
        description="Plays scripts on the official SDK.",
        version="1.0.0",
        supported_interfaces=[AgentInterface(url=address, protocol_binding="GRPC", protocol_version="1.0")],
        capabilities=AgentCapabilities(**capabilities),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="play", name="Play", description="Plays a script.", tags=["test"])],
    )


def tenant_of(context: ServerCallContext) -> str:
    """The owner of what a call makes."""
    return str(context.tenant)


async def extended_for(extended: AgentCard, context: ServerCallContext) -> AgentCard:
    """The extended card says whom it is for."""
    copy = AgentCard()
    copy.CopyFrom(extended)
    copy.description = f"for tenant '{context.tenant}'"
    return copy


REVOKED: set[str] = set()


class ChecksBearer(grpc.aio.ServerInterceptor):
    """Refuses calls without a token, as an interceptor before the SDK's handler does."""

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        scheme, _, token = str(dict(details.invocation_metadata).get("authorization", "")).partition(" ")
        if handler is None or (scheme == "Bearer" and token.startswith("token-") and token not in REVOKED):
            return handler

        async def refuse(request: Any, context: Any) -> None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no valid token", (("www-authenticate", "Bearer"),))

        kind = "unary_stream" if handler.response_streaming else "unary_unary"
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(refuse, handler.request_deserializer, handler.response_serializer)


@asynccontextmanager
async def served(
    name: str, *, interceptors: Sequence[grpc.aio.ServerInterceptor] = (), **capabilities: bool
) -> AsyncIterator[AgentCard]:
    """The agent on the SDK's handler and a stock gRPC server: its card."""
    server = grpc.aio.server(interceptors=interceptors)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    public = card(name, address, **capabilities)
    handler = DefaultRequestHandler(
        agent_executor=Scripted(),
        task_store=InMemoryTaskStore(owner_resolver=tenant_of),
        agent_card=public,
        push_config_store=InMemoryPushNotificationConfigStore(owner_resolver=tenant_of),
        extended_agent_card=card(f"{name}, extended", address, **capabilities),
        extended_card_modifier=extended_for,
    )
    add_A2AServiceServicer_to_server(GrpcHandler(handler), server)
    await server.start()
    try:
        yield public
    finally:
        await server.stop(None)


async def main() -> None:
    logging.disable(logging.CRITICAL)  # nobody reads standard error
    async with (
        served("Official", streaming=True, push_notifications=True, extended_agent_card=True) as full,
        served("Official, bare", streaming=False) as bare,
        served("Official, guarded", interceptors=[ChecksBearer()], streaming=True, extended_agent_card=True) as guarded,
    ):

        async def open_gate(request: web.Request) -> web.Response:
            GATES[request.match_info["gate"]].set()
            return web.Response()

        async def full_card(request: web.Request) -> web.Response:
            copy = AgentCard()
            copy.CopyFrom(full)
            copy.supported_interfaces[0].tenant = request.match_info.get("tenant", "")
            return web.json_response(agent_card_to_dict(copy))

        async def bare_card(request: web.Request) -> web.Response:
            return web.json_response(agent_card_to_dict(bare))

        async def guarded_card(request: web.Request) -> web.Response:
            flow = {"clientCredentials": {"tokenUrl": request.query["token_url"], "scopes": {"play": "Plays."}}}
            asks = {
                "securitySchemes": {"idp": {"oauth2SecurityScheme": {"flows": flow}}},
                "securityRequirements": [{"schemes": {"idp": {"list": ["play"]}}}],
            }
            return web.json_response({**agent_card_to_dict(guarded), **asks})

        async def revoke(request: web.Request) -> web.Response:
            REVOKED.add(request.match_info["token"])
            return web.Response()

        application = web.Application()
        application.router.add_get("/guarded/.well-known/agent-card.json", guarded_card)
        application.router.add_post("/revoke/{token}", revoke)
        well_known = "/.well-known/agent-card.json"
        application.router.add_post("/open/{gate}", open_gate)
        application.router.add_get(well_known, full_card)
        application.router.add_get("/tenant/{tenant}" + well_known, full_card)
        application.router.add_get("/bare" + well_known, bare_card)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ready = {
            "event": "ready",
            "sdk": f"a2a-sdk {version('a2a-sdk')}",
            "grpc": full.supported_interfaces[0].url,
            "bare": bare.supported_interfaces[0].url,
            "http": f"http://127.0.0.1:{runner.addresses[0][1]}",
        }
        print(json.dumps(ready), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
