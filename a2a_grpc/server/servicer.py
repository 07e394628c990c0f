"""Serve the eleven RPCs: read the request, check it, ask the engine, answer. Here are those that read and cancel tasks.

The checks come in this order (OPEN-26): version, tenant, required extensions, fields, capability, existence,
authorisation, id consistency, state. Before them, `rpc/authentication.py` finds out who calls.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from a2a_grpc import lifecycle
from a2a_grpc.agent import Agent
from a2a_grpc.engine import Engine
from a2a_grpc.errors import (
    InvalidRequestError,
    UnsupportedOperationError,
    Violation,
)
from a2a_grpc.parts import to_dict
from a2a_grpc.piecewise import whole
from a2a_grpc.protocol import Key
from a2a_grpc.rpc import Calls, Context
from a2a_grpc.server import paging
from a2a_grpc.server.admission import Admission
from a2a_grpc.server.answers import Answers
from a2a_grpc.server.disconnects import Disconnects
from a2a_grpc.server.loads import CANCELED_BYTES, Loads, view_of
from a2a_grpc.server.pace import Pace
from a2a_grpc.server.policy import Authorize, Policy
from a2a_grpc.server.published import card_at, extended_card, host_towards
from a2a_grpc.server.push_calls import PushCalls
from a2a_grpc.server.requests import DEFAULT_PAGE_SIZE, Checks
from a2a_grpc.server.sends import Sends, check_streaming
from a2a_grpc.store import ListFilter, Snapshot
from a2a_grpc.wire import (
    SERVICE,
    SERVICE_NAME,
    AgentCard,
    CancelTaskRequest,
    GetExtendedAgentCardRequest,
    GetTaskRequest,
    ListTasksRequest,
    ListTasksResponse,
    SubscribeToTaskRequest,
    tasks_page,
)

if TYPE_CHECKING:
    from a2a_grpc.push.configs import Configs


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicerOptions:
    """The settings of the server that concern the RPCs."""

    cancel_on_disconnect: bool = False
    max_send_bytes: int = 65 << 20
    names_asked_host: bool = False
    authorize: Authorize | None = None


class Servicer:
    """Serves `lf.a2a.v1.A2AService` with the engine of one agent.

    Guarantees:

    - A stream ends OK only after a terminal event or, if it is the stream of a send, after INPUT_REQUIRED (OPEN-1).
    """

    def __init__(
        self,
        agent: Agent,
        engine: Engine,
        card: AgentCard,
        admission: Admission,
        checks: Checks,
        pace: Pace,
        calls: Calls,
        options: ServicerOptions,
        configs: "Configs | None" = None,
    ) -> None:
        self._agent = agent
        self._engine = engine
        self._log = engine.log
        self._card = card
        self._accept = admission.accept
        self._checks = checks
        self._calls = calls
        self._names_asked_host = options.names_asked_host
        self._policy = Policy(options.authorize, engine.log)
        self._loads = Loads(engine.log, calls)
        self._answers = Answers(calls, options.max_send_bytes)
        self._push = PushCalls(configs, engine.log, admission, checks, self._policy, self._answers)
        self._sends = Sends(
            agent,
            engine,
            card,
            admission,
            checks,
            pace,
            self._policy,
            self._answers,
            self._push,
            Disconnects(engine, cancel=options.cancel_on_disconnect),
        )

    def handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Return the handlers of all methods of the service by the methods' full names."""
        behaviors = {
            "SendMessage": self._sends.send,
            "SendStreamingMessage": self._sends.stream,
            "GetTask": self.get_task,
            "ListTasks": self.list_tasks,
            "CancelTask": self.cancel_task,
            "SubscribeToTask": self.subscribe_to_task,
            "CreateTaskPushNotificationConfig": self._push.create,
            "GetTaskPushNotificationConfig": self._push.get,
            "ListTaskPushNotificationConfigs": self._push.list,
            "DeleteTaskPushNotificationConfig": self._push.delete,
            "GetExtendedAgentCard": self.get_extended_agent_card,
        }
        return {
            f"/{SERVICE_NAME}/{method.name}": self._calls.handler(method, behaviors[method.name])
            for method in SERVICE.methods
        }

    # -- tasks

    async def get_task(self, raw: bytes, context: Context) -> bytes:
        call, request = await self._accept(GetTaskRequest, raw, context)
        self._checks.get(request)
        key = call.key(request.id)
        await self._policy.check(call.principal, "GetTask", key)
        snapshot = await self._loads.load(context, key, view_of(call, request))
        call.read(snapshot)
        return await self._answers.unary(call, context, snapshot.task)

    async def list_tasks(self, raw: bytes, context: Context) -> bytes:
        call, request = await self._accept(ListTasksRequest, raw, context)
        self._checks.list(request)
        await self._policy.check(call.principal, "ListTasks")
        size = request.page_size if request.HasField("page_size") else DEFAULT_PAGE_SIZE
        since = request.status_timestamp_after
        where = ListFilter(
            request.context_id, request.status, max(0, since.seconds * 1_000_000 + -(-since.nanos // 1000))
        )
        after = paging.decode(request.page_token, call.scope, where)
        view = view_of(call, request)._replace(artifacts=request.include_artifacts)
        room = self._answers.room  # a page may hold fewer tasks than were asked for (LIST-3)
        page = await self._log.store.list(call.scope, where, after, size, view=view, max_bytes=room)
        rest = ListTasksResponse(page_size=size, total_size=page.total)
        if page.more and page.tasks:
            rest.next_page_token = paging.encode(page.tasks[-1].position, call.scope, where)
        tasks = [listed.snapshot.task for listed in page.tasks]
        return await self._answers.unary(call, context, await whole(tasks_page(tasks, rest)))

    async def cancel_task(self, raw: bytes, context: Context) -> bytes:
        call, request = await self._accept(CancelTaskRequest, raw, context)
        self._checks.task_id(request.id)
        self._checks.metadata(request.metadata)
        key = call.key(request.id)
        await self._policy.check(call.principal, "CancelTask", key)
        ended = await self._engine.cancel(key, to_dict(request.metadata))
        call.read(ended)
        room = min(CANCELED_BYTES, self._answers.room)
        task, left_out = await self._loads.load_canceled(key, ended, view_of(call, request), room)
        if left_out:
            context.set_trailing_metadata((*call.echo, (Key.LEFT_OUT, left_out)))
        return await self._answers.unary(call, context, task)

    async def subscribe_to_task(self, raw: bytes, context: Context) -> None:
        call, request = await self._accept(SubscribeToTaskRequest, raw, context)
        self._checks.task_id(request.id)
        check_streaming(self._card)
        key, after = call.key(request.id), call.metadata.after
        await self._policy.check(call.principal, "SubscribeToTask", key)
        head = await self._log.head(key)
        call.reached(key.id, head.context_id, head.state)
        if after is not None:
            if after > head.seq:
                raise InvalidRequestError.of(
                    Violation(Key.AFTER, f"is {after}, but task '{key.id}' has only {head.seq} events")
                )
            with self._log.follow(key, after) as records:
                await self._answers.stream(call, context, records, Snapshot(after, b"", head.state, head.turn))
            return
        if head.state in lifecycle.TERMINAL:
            raise UnsupportedOperationError(
                f"task '{key.id}' is {lifecycle.state_name(head.state)}; read it with GetTask",
                metadata={"task_id": key.id},
            )
        snapshot = await self._loads.load(context, key, view_of(call, request))
        first, snapshot = snapshot.task, snapshot._replace(task=b"")
        with self._log.follow(key, snapshot.seq, snapshot.state) as records:
            following = self._answers.stream(call, context, records, snapshot, first=first)
            del first  # a stream that is followed for long must not keep the task in memory
            await following

    # -- the extended card

    async def get_extended_agent_card(self, raw: bytes, context: Context) -> bytes:
        call, _ = await self._accept(GetExtendedAgentCardRequest, raw, context)
        await self._policy.check(call.principal, "GetExtendedAgentCard")
        if not self._card.capabilities.extended_agent_card:
            raise UnsupportedOperationError(
                "this agent has no extended card", metadata={"capability": "extended_agent_card"}
            )
        host = host_towards(context.peer()) if self._names_asked_host else ""
        card = await extended_card(self._agent, card_at(self._card, host), call.principal)
        return await self._answers.unary(call, context, card.SerializeToString())
