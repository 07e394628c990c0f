"""Serve the eleven RPCs: read the request, check it, ask the engine, answer.

The checks come in this order (OPEN-26): version, tenant, required extensions, fields, capability, existence,
authorisation, id consistency, state. Before them, `rpc/authentication.py` finds out who calls.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import grpc.aio

from a2a_grpc import lifecycle
from a2a_grpc.agent import Agent
from a2a_grpc.engine import Engine, Incoming, Opened, ended_before
from a2a_grpc.errors import (
    A2AError,
    ExtendedAgentCardNotConfiguredError,
    InvalidRequestError,
    PermissionDeniedError,
    PushNotificationNotSupportedError,
    ResourceExhaustedError,
    UnsupportedOperationError,
    Violation,
)
from a2a_grpc.offload import offload
from a2a_grpc.parts import to_dict
from a2a_grpc.piecewise import whole
from a2a_grpc.principal import Principal
from a2a_grpc.protocol import LEFT_OUT, NO_ARTIFACTS, Key
from a2a_grpc.rpc import Calls, Context
from a2a_grpc.server import paging
from a2a_grpc.server.admission import Admission, Call
from a2a_grpc.server.loads import Loads
from a2a_grpc.server.pace import Pace
from a2a_grpc.server.published import card_at, host_towards
from a2a_grpc.server.requests import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, Checks
from a2a_grpc.server.width import LARGE_BYTES
from a2a_grpc.store import CORE, Head, ListFilter, Snapshot, TaskKey, TaskView
from a2a_grpc.store.views import cut
from a2a_grpc.wire import (
    SERVICE,
    SERVICE_NAME,
    AgentCard,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    ListTasksResponse,
    Message,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
    TaskState,
    framing,
    message_element,
    tasks_page,
)

logger = logging.getLogger("a2a_grpc.server")


GONE = (asyncio.CancelledError, grpc.aio.InternalError, GeneratorExit)
"""The exceptions that a handler gets if its caller has left: while it waits, while it writes, and in a write."""


PAGE_FRAMING_BYTES = 2048 + 8 * MAX_PAGE_SIZE
"""Bytes of a page in addition to its tasks: a token, two numbers, and eight bytes for each task."""
CANCELED_BYTES = 4 * 1024 * 1024
"""The largest message that gRPC's clients read by default. An answer to CancelTask is not larger, if possible."""


Authorize: TypeAlias = Callable[[Principal, str, Task | None], Awaitable[bool]]
"""An async function that decides whether a caller may do something. It takes the caller, the name of the RPC, such as
"GetTask", and the task without its artifacts and history; None for a new task, or for a list. It returns True to let
the call pass. If it returns False, the call is PERMISSION_DENIED."""


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
    ) -> None:
        self._agent = agent
        self._engine = engine
        self._log = engine.log
        self._card = card
        self._accept = admission.accept
        self._checks = checks
        self._pace = pace
        self._calls = calls
        self._options = options
        self._loads = Loads(engine.log, calls)
        self._canceling: set[asyncio.Task[None]] = set()

    def handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Return the handlers of all methods of the service by the methods' full names."""
        behaviors = {
            "SendMessage": self.send_message,
            "SendStreamingMessage": self.send_streaming_message,
            "GetTask": self.get_task,
            "ListTasks": self.list_tasks,
            "CancelTask": self.cancel_task,
            "SubscribeToTask": self.subscribe_to_task,
            "CreateTaskPushNotificationConfig": self._push_config(TaskPushNotificationConfig),
            "GetTaskPushNotificationConfig": self._push_config(GetTaskPushNotificationConfigRequest),
            "ListTaskPushNotificationConfigs": self._push_config(ListTaskPushNotificationConfigsRequest),
            "DeleteTaskPushNotificationConfig": self._push_config(DeleteTaskPushNotificationConfigRequest),
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
        opened = await self._open("SendMessage", call, request, len(raw), waits=not configuration.return_immediately)
        if isinstance(opened, Message):
            return await self._answer(call, context, message_element(opened))
        snapshot = opened.snapshot
        if not configuration.return_immediately:
            try:
                snapshot = await self._engine.settled(opened)
            except GONE:
                self._on_disconnect(call, opened)
                raise
        task = await self._seen(snapshot, _view(call, configuration))
        return await self._answer(call, context, await _element(task))

    async def send_streaming_message(self, raw: bytes, context: Context) -> None:
        call, request = await self._accept(SendMessageRequest, raw, context)
        opened = await self._open("SendStreamingMessage", call, request, len(raw), streaming=True)
        if isinstance(opened, Message):
            await context.send_initial_metadata(call.echo)
            await self._calls.write(context, self._sized(message_element(opened)))
            return
        try:
            state, turn = await self._stream(
                call,
                context,
                opened.key,
                opened.snapshot,
                first=await self._seen(opened.snapshot, _view(call, request.configuration)),
                is_over=lambda state, turn: state == lifecycle.INPUT_REQUIRED and turn >= opened.turn,
            )
        except GONE:
            self._on_disconnect(call, opened)
            raise
        if turn < opened.turn:
            raise ended_before(opened.key, state)

    async def _open(
        self,
        operation: str,
        call: Call,
        request: SendMessageRequest,
        size: int,
        *,
        streaming: bool = False,
        waits: bool = False,
    ) -> Opened | Message:
        if size > LARGE_BYTES:
            await self._pace.run(self._checks.sending(request))
        else:
            self._checks.send(request)
        if streaming:
            self._check_streaming()
        if request.configuration.HasField("task_push_notification_config"):
            raise PushNotificationNotSupportedError  # before any task exists (OPEN-14)
        task_id = request.message.task_id
        await self._authorized(call, operation, call.key(task_id) if task_id else None)
        incoming = Incoming(call.principal, request, call.metadata.idempotency_key, waits, size)
        opened = await self._engine.open(incoming)
        if isinstance(opened, Opened):
            call.caller.task = opened.key.id
        return opened

    async def _authorized(self, call: Call, operation: str, key: TaskKey | None = None) -> None:
        """Ask the policy of the deployment whether the caller may do something.

        Raises:
            PermissionDeniedError: The policy refuses the operation.
            TaskNotFoundError: The caller has no such task. The policy is not asked about tasks of other callers.
        """
        authorize = self._options.authorize
        if authorize is None:
            return
        task = None if key is None else Task.FromString((await self._log.snapshot(key, CORE)).task)
        is_allowed = await authorize(call.principal, operation, task)
        if is_allowed and is_allowed is not True:  # a coroutine that was not awaited must not allow everything
            raise TypeError(f"authorize returned a value of the type {type(is_allowed).__name__}, not a bool")
        if not is_allowed:
            what = operation if key is None else f"{operation} of task '{key.id}'"
            raise PermissionDeniedError(f"the caller may not do this: {what}", metadata={"operation": operation})

    def _on_disconnect(self, call: Call, opened: Opened) -> None:
        """Cancel the task of a caller that has disconnected, if the deployment or the request asks for this.

        A caller whose credentials have ended has not disconnected. It gets new credentials and subscribes to the task.
        """
        asked = call.metadata.cancel_on_disconnect
        is_wanted = self._options.cancel_on_disconnect if asked is None else asked
        if is_wanted and not call.caller.has_expired:
            task = asyncio.create_task(self._cancel_quietly(opened.key), name=f"a2a-grpc:disconnect:{opened.key.id}")
            self._canceling.add(task)
            task.add_done_callback(self._canceling.discard)

    async def _cancel_quietly(self, key: TaskKey) -> None:
        try:
            await self._engine.cancel(key)
        except A2AError as error:
            logger.info("caller disconnected task=%s: %s", key.id, error.message)

    # -- tasks

    async def get_task(self, raw: bytes, context: Context) -> bytes:
        call, request = await self._accept(GetTaskRequest, raw, context)
        self._checks.get(request)
        key = call.key(request.id)
        await self._authorized(call, "GetTask", key)
        snapshot = await self._loads.load(context, key, _view(call, request))
        return await self._answer(call, context, snapshot.task)

    async def list_tasks(self, raw: bytes, context: Context) -> bytes:
        call, request = await self._accept(ListTasksRequest, raw, context)
        self._checks.list(request)
        await self._authorized(call, "ListTasks")
        size = request.page_size if request.HasField("page_size") else DEFAULT_PAGE_SIZE
        since = request.status_timestamp_after
        where = ListFilter(
            request.context_id, request.status, max(0, since.seconds * 1_000_000 + -(-since.nanos // 1000))
        )
        after = paging.decode(request.page_token, call.scope, where)
        view = _view(call, request)._replace(artifacts=request.include_artifacts)
        room = self._options.max_send_bytes - PAGE_FRAMING_BYTES  # a page may hold fewer than were asked for (LIST-3)
        page = await self._log.store.list(call.scope, where, after, size, view=view, max_bytes=room)
        rest = ListTasksResponse(page_size=size, total_size=page.total)
        if page.more and page.tasks:
            rest.next_page_token = paging.encode(page.tasks[-1].position, call.scope, where)
        tasks = [listed.snapshot.task for listed in page.tasks]
        return await self._answer(call, context, await whole(tasks_page(tasks, rest)))

    async def cancel_task(self, raw: bytes, context: Context) -> bytes:
        call, request = await self._accept(CancelTaskRequest, raw, context)
        self._checks.task_id(request.id)
        self._checks.metadata(request.metadata)
        key = call.key(request.id)
        await self._authorized(call, "CancelTask", key)
        ended = await self._engine.cancel(key, to_dict(request.metadata))
        task, left_out = await self._fitting(key, ended, _view(call, request))
        if left_out:
            noted = Task()
            noted.metadata.fields[LEFT_OUT].string_value = left_out
            task += noted.SerializeToString()  # the fields of a message may come one after the other
            context.set_trailing_metadata((*call.echo, (Key.LEFT_OUT, left_out)))
        return await self._answer(call, context, task)

    async def _fitting(self, key: TaskKey, ended: Head | Snapshot, view: TaskView) -> tuple[bytes, str]:
        """Return a task that has ended, as large as clients read by default, and the names of the parts that are left
        out."""
        room = min(CANCELED_BYTES, self._options.max_send_bytes) - PAGE_FRAMING_BYTES
        if isinstance(ended, Snapshot):
            if len(ended.task) <= room:
                return await self._seen(ended, view), ""
        elif view.artifacts and ended.size <= room:
            return (await self._log.snapshot(key, view)).task, ""
        lean = await self._log.snapshot(key, view._replace(artifacts=False))
        if len(lean.task) <= room:
            return lean.task, "artifacts" if view.artifacts else ""
        return (await self._log.snapshot(key, CORE)).task, "artifacts, history" if view.artifacts else "history"

    async def subscribe_to_task(self, raw: bytes, context: Context) -> None:
        call, request = await self._accept(SubscribeToTaskRequest, raw, context)
        self._checks.task_id(request.id)
        self._check_streaming()
        key, after = call.key(request.id), call.metadata.after
        await self._authorized(call, "SubscribeToTask", key)
        head = await self._log.head(key)
        if after is not None:
            if after > head.seq:
                raise InvalidRequestError.of(
                    Violation(Key.AFTER, f"is {after}, but task '{key.id}' has only {head.seq} events")
                )
            await self._stream(call, context, key, Snapshot(after, b"", head.state, head.turn))
            return
        if head.state in lifecycle.TERMINAL:
            raise UnsupportedOperationError(
                f"task '{key.id}' is {lifecycle.state_name(head.state)}; read it with GetTask",
                metadata={"task_id": key.id},
            )
        snapshot = await self._loads.load(context, key, _view(call, request))
        first, snapshot = snapshot.task, snapshot._replace(task=b"")
        following = self._stream(call, context, key, snapshot, first=first)
        del first  # a stream that is followed for long must not keep the task in memory
        await following

    async def _stream(
        self,
        call: Call,
        context: Context,
        key: TaskKey,
        snapshot: Snapshot,
        *,
        first: bytes = b"",
        is_over: Callable[[TaskState, int], bool] = lambda state, turn: False,
    ) -> tuple[TaskState, int]:
        """Write the task `first`, if given, and every record after the seq of the snapshot. Return the last record.

        Stop when the task has ended, or when `is_over` returns True for a state in a turn.
        """
        state, turn = snapshot.state, snapshot.turn
        place = (Key.SEQ if first else Key.AFTER, str(snapshot.seq))
        with self._log.follow(key, snapshot.seq, state if first else None) as records:
            await context.send_initial_metadata((*call.echo, place))
            if first:
                await self._calls.write(context, self._sized(await _element(first)))
                first = b""
                if is_over(state, turn):
                    return state, turn
            while batch := await records.batch():
                for record in batch:
                    await self._calls.write(context, record.event)
                    if record.at_us and is_over(record.state, record.turn):  # only a status says so
                        return record.state, record.turn
                state, turn = record.state, record.turn
        return state, turn

    # -- push notifications, extended card

    def _push_config(self, kind: type[Any]) -> Callable[[bytes, Context], Any]:
        async def refuse(raw: bytes, context: Context) -> bytes:
            _, request = await self._accept(kind, raw, context)
            self._checks.push_config(request)
            raise PushNotificationNotSupportedError

        return refuse

    async def get_extended_agent_card(self, raw: bytes, context: Context) -> bytes:
        call, _ = await self._accept(GetExtendedAgentCardRequest, raw, context)
        await self._authorized(call, "GetExtendedAgentCard")
        if not self._card.capabilities.extended_agent_card:
            raise UnsupportedOperationError(
                "this agent has no extended card", metadata={"capability": "extended_agent_card"}
            )
        if self._agent.extended is None:
            raise ExtendedAgentCardNotConfiguredError
        public = AgentCard()
        public.CopyFrom(self._card)
        if self._options.names_asked_host and (host := host_towards(context.peer())):
            public = card_at(public, host)
        made = self._agent.extended(public, call.principal)
        card = await made if inspect.isawaitable(made) else made
        return await self._answer(call, context, card.SerializeToString())

    # -- what all of them share

    def _check_streaming(self) -> None:
        if not self._card.capabilities.streaming:
            raise UnsupportedOperationError("this agent does not stream", metadata={"capability": "streaming"})

    async def _answer(self, call: Call, context: Context, response: bytes) -> bytes:
        """Serve a unary call. Send the initial metadata before the response, but not before an error."""
        self._sized(response)
        if call.extensions:
            await context.send_initial_metadata(call.echo)
        return response

    def _sized(self, response: bytes) -> bytes:
        if len(response) > self._options.max_send_bytes:
            raise ResourceExhaustedError(
                f"the response has {len(response)} bytes; this server sends at most {self._options.max_send_bytes} "
                f"(--max-send-bytes); leave artifacts out with the metadata '{Key.ARTIFACTS}: {NO_ARTIFACTS}', "
                "or history with history_length"
            )
        return response

    @staticmethod
    async def _seen(snapshot: Snapshot, view: TaskView) -> bytes:
        """Return the parts of a serialised task that a view names."""
        return await offload(len(snapshot.task), cut, snapshot.task, view)


async def _element(task: bytes) -> bytes:
    """Return the element of a stream, or the response of a send, for a serialised task."""
    return await whole((framing(1, len(task)), task))


def _view(call: Call, request: Any) -> TaskView:
    """Return the parts of a task that a call asks for (HIST-1 to HIST-3). Without a length it has all history."""
    has_length = "history_length" in request.DESCRIPTOR.fields_by_name and request.HasField("history_length")
    return TaskView(call.metadata.artifacts, request.history_length if has_length else None)
