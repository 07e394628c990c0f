"""Serve the eleven RPCs: read the request, check it, ask the engine, answer.

The checks come in this order (OPEN-26): version, tenant, required extensions, fields, capability, existence,
authorisation, id consistency, state. Before them, `rpc/authentication.py` finds out who calls.
"""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from a2a_grpc import lifecycle
from a2a_grpc.agent import Agent
from a2a_grpc.agent.callback import asked_in, is_callback
from a2a_grpc.engine import AcceptedTurn, Engine, SendCall, ended_before
from a2a_grpc.errors import (
    InvalidRequestError,
    PermissionDeniedError,
    UnsupportedOperationError,
    Violation,
)
from a2a_grpc.harmless import one_line
from a2a_grpc.parts import to_dict
from a2a_grpc.piecewise import whole
from a2a_grpc.protocol import Key
from a2a_grpc.rpc import Calls, Context
from a2a_grpc.server import paging
from a2a_grpc.server.admission import Admission, Call
from a2a_grpc.server.answers import Answers, element_of
from a2a_grpc.server.disconnects import GONE, Disconnects
from a2a_grpc.server.loads import CANCELED_BYTES, Loads, seen, view_of
from a2a_grpc.server.pace import Pace
from a2a_grpc.server.policy import Authorize, Policy
from a2a_grpc.server.published import card_at, extended_card, host_towards
from a2a_grpc.server.push_calls import PushCalls
from a2a_grpc.server.requests import DEFAULT_PAGE_SIZE, Checks
from a2a_grpc.server.width import LARGE_BYTES
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
    Message,
    SendMessageRequest,
    SubscribeToTaskRequest,
    message_element,
    tasks_page,
)

if TYPE_CHECKING:
    from a2a_grpc.push.configs import Configs

logger = logging.getLogger("a2a_grpc.server")

MAX_LOGGED_CHARS = 100
"""Characters of a text of a caller in a line of the log."""


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
        self._pace = pace
        self._calls = calls
        self._names_asked_host = options.names_asked_host
        self._policy = Policy(options.authorize, engine.log)
        self._loads = Loads(engine.log, calls)
        self._answers = Answers(calls, options.max_send_bytes)
        self._push = PushCalls(configs, engine.log, admission, checks, self._policy, self._answers)
        self._disconnects = Disconnects(engine, cancel=options.cancel_on_disconnect)

    def handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Return the handlers of all methods of the service by the methods' full names."""
        behaviors = {
            "SendMessage": self.send_message,
            "SendStreamingMessage": self.send_streaming_message,
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

    # -- sending

    async def send_message(self, raw: bytes, context: Context) -> bytes:
        call, request = await self._accept(SendMessageRequest, raw, context)
        configuration = request.configuration
        accepted = await self._send("SendMessage", call, request, len(raw), waits=not configuration.return_immediately)
        if isinstance(accepted, Message):
            return await self._answers.unary(call, context, message_element(accepted))
        snapshot = accepted.snapshot
        if not configuration.return_immediately:
            try:
                snapshot = await self._engine.settled(accepted)
            except GONE:
                self._disconnects.handle(call, accepted.key)
                raise
            call.saw(snapshot.state)
        task = await seen(snapshot, view_of(call, configuration))
        return await self._answers.unary(call, context, await element_of(task))

    async def send_streaming_message(self, raw: bytes, context: Context) -> None:
        call, request = await self._accept(SendMessageRequest, raw, context)
        accepted = await self._send("SendStreamingMessage", call, request, len(raw), streams=True)
        if isinstance(accepted, Message):
            await self._answers.single(call, context, message_element(accepted))
            return
        start = accepted.snapshot
        try:
            with accepted.records or self._log.follow(accepted.key, start.seq, start.state) as records:
                state, turn = await self._answers.stream(
                    call,
                    context,
                    records,
                    start,
                    first=await seen(start, view_of(call, request.configuration)),
                    is_over=lambda state, turn: state == lifecycle.INPUT_REQUIRED and turn >= accepted.turn,
                )
        except GONE:
            self._disconnects.handle(call, accepted.key)
            raise
        if turn < accepted.turn:
            raise ended_before(accepted.key, state)

    async def _send(
        self,
        operation: str,
        call: Call,
        request: SendMessageRequest,
        size: int,
        *,
        streams: bool = False,
        waits: bool = False,
    ) -> AcceptedTurn | Message:
        if size > LARGE_BYTES:
            await self._pace.run(self._checks.sending(request))
        else:
            self._checks.send(request)
        if streams:
            self._check_streaming()
        asked = asked_in(request.message)
        if asked is not None or request.configuration.HasField("task_push_notification_config"):
            self._push.check_offered()  # before any task exists (OPEN-14)
        if is_callback(request.message):
            self._check_token(call)
        task_id = request.message.task_id
        await self._policy.check(call.principal, operation, call.key(task_id) if task_id else None)
        send = SendCall(call.principal, request, call.metadata.idempotency_key, waits, streams, size)
        async with self._push.sending(call, send, asked):
            accepted = await self._engine.accept(send)
        if isinstance(accepted, AcceptedTurn):
            call.reached(accepted.key.id, request.message.context_id, accepted.snapshot.state)
        elif send.pushes is not None:  # a config belongs to a task (SEND-11), and there is none
            logger.info(
                "a send was answered with a message, so its push config or callback is not used message_id=%s",
                one_line(request.message.message_id, MAX_LOGGED_CHARS),
            )
        return accepted

    def _check_token(self, call: Call) -> None:
        """Raise PermissionDeniedError for a result that the agent has not asked for."""
        callbacks = self._agent.callbacks
        if callbacks.function is not None and not callbacks.accepts(call.metadata.token):
            raise PermissionDeniedError(
                f"the message brings the result of a task without a token of this agent in the metadata '{Key.TOKEN}'"
            )

    # -- tasks

    async def get_task(self, raw: bytes, context: Context) -> bytes:
        call, request = await self._accept(GetTaskRequest, raw, context)
        self._checks.get(request)
        key = call.key(request.id)
        await self._policy.check(call.principal, "GetTask", key)
        snapshot = await self._loads.load(context, key, view_of(call, request))
        call.saw(snapshot.state)
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
        call.saw(ended.state)
        room = min(CANCELED_BYTES, self._answers.room)
        task, left_out = await self._loads.load_canceled(key, ended, view_of(call, request), room)
        if left_out:
            context.set_trailing_metadata((*call.echo, (Key.LEFT_OUT, left_out)))
        return await self._answers.unary(call, context, task)

    async def subscribe_to_task(self, raw: bytes, context: Context) -> None:
        call, request = await self._accept(SubscribeToTaskRequest, raw, context)
        self._checks.task_id(request.id)
        self._check_streaming()
        key, after = call.key(request.id), call.metadata.after
        await self._policy.check(call.principal, "SubscribeToTask", key)
        head = await self._log.head(key)
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

    # -- what all of them share

    def _check_streaming(self) -> None:
        if not self._card.capabilities.streaming:
            raise UnsupportedOperationError("this agent does not stream", metadata={"capability": "streaming"})
