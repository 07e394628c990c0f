"""Stores with faults, agents that wait to be told, a server or an engine on a store of the test's choice."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc.aio

from a2a_grpc import Agent, InputRequired, Turn
from a2a_grpc.bus import LocalBus
from a2a_grpc.engine import Engine, EngineSettings, SendCall
from a2a_grpc.engine.events import now_us
from a2a_grpc.lifecycle import SUBMITTED, TERMINAL, fold
from a2a_grpc.log import Log
from a2a_grpc.parts import text_of
from a2a_grpc.principal import Principal
from a2a_grpc.server.loaded import make_server
from a2a_grpc.store import (
    WHOLE,
    Append,
    Binding,
    Create,
    Head,
    InOrder,
    MemoryStore,
    Pending,
    Record,
    Scope,
    Snapshot,
    TaskKey,
    TaskStore,
    TaskView,
    Written,
)
from a2a_grpc.store.memory import MemoryRecords
from a2a_grpc.store.sql import SqlStore
from a2a_grpc.store.sql.schema import task as sql_task
from a2a_grpc.wire import (
    SERVICE_NAME,
    A2AServiceStub,
    ListTasksRequest,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskState,
    TaskStatus,
)
from tests.harness import V1, Served, message

T = TypeVar("T")


class YieldingStore(MemoryStore):
    """Lets the event loop go round before and after every operation, as a store behind a socket does."""

    async def _slowly(self, operation: Awaitable[T]) -> T:
        await asyncio.sleep(0)
        try:
            return await operation
        finally:
            await asyncio.sleep(0)

    def __init__(self) -> None:
        super().__init__()
        self.durable = self.shared = self.keeps_messages = True
        self._in_order = InOrder(self.perform)

    def write(self, write: Create | Append) -> Written:
        return self._in_order.write(write)

    async def perform(self, write: Create | Append) -> int:
        return await self._slowly(super().write(write))

    async def enqueue(self, key: TaskKey, pending: Pending, **more: Any) -> Head | None:
        return await self._slowly(super().enqueue(key, pending, **more))

    async def pending(self, key: TaskKey) -> list[Pending]:
        return await self._slowly(super().pending(key))

    async def claim(self, key: TaskKey, replica: str, *, force: bool = False) -> Head | None:
        return await self._slowly(super().claim(key, replica, force=force))

    async def head(self, key: TaskKey) -> Head | None:
        return await self._slowly(super().head(key))

    async def load(self, key: TaskKey, view: TaskView = WHOLE) -> Snapshot | None:
        return await self._slowly(super().load(key, view))

    async def read(self, key: TaskKey, after: int, limit: int) -> list[Record] | None:
        return await self._slowly(super().read(key, after, limit))

    async def bind(self, scope: Scope, key: str, binding: Binding) -> None:
        await self._slowly(super().bind(scope, key, binding))

    async def bound(self, scope: Scope, key: str) -> Binding | None:
        return await self._slowly(super().bound(scope, key))


class HeldStore(MemoryStore):
    """Makes an append that `holds` says wait for `release` before it is durable."""

    def __init__(self, holds: Callable[[Record], bool]) -> None:
        super().__init__()
        self._holds = holds
        self.reached = asyncio.Event()
        self.free = asyncio.Event()

        self._in_order = InOrder(self._perform)

    def write(self, write: Create | Append) -> Written:
        return self._in_order.write(write)

    async def _perform(self, write: Create | Append) -> int:
        if isinstance(write, Append) and self._holds(write.record):
            self.reached.set()
            await self.free.wait()
        return await super().write(write)


class Workers:
    """An agent whose turns say that they began, wait for `go`, then answer with the text of their message."""

    def __init__(self) -> None:
        self.agent = Agent("Workers", "Waits to be told.")
        self.go = asyncio.Event()
        self.started: list[str] = []
        self.at_work = 0
        self.peak = 0
        self.agent.skill("work")(self._work)

    async def _work(self, turn: Turn) -> str:
        """Works."""
        self.started.append(turn.text)
        self.at_work += 1
        self.peak = max(self.peak, self.at_work)
        try:
            await self.go.wait()
        finally:
            self.at_work -= 1
        return turn.text


class Asker:
    """An agent whose turns wait for the `go` of their message's text, then end in a question."""

    def __init__(self) -> None:
        self.agent = Agent("Asker", "Asks after each message.")
        self.go: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.played: list[str] = []
        self.agent.skill("ask")(self._ask)

    async def _ask(self, turn: Turn) -> None:
        """Asks."""
        self.played.append(turn.text)
        await self.go[turn.text].wait()
        raise InputRequired(f"what after {turn.text}?")


@asynccontextmanager
async def serving_on(store: TaskStore, agent: Agent, **settings: Any) -> AsyncIterator[Served]:
    """The agent on a server whose engine keeps its tasks in this store."""
    settings = {"listen": "127.0.0.1:0", "http_listen": "off", "drain_grace_s": 0.0, **settings}
    async with make_server(agent, settings, store=store) as server:
        async with grpc.aio.insecure_channel(
            server.grpc_address, options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            yield Served(server, channel, A2AServiceStub(channel))


@asynccontextmanager
async def engine_on(store: TaskStore, agent: Agent, **settings: Any) -> AsyncIterator[Engine]:
    """An engine without a server."""
    async with Engine(agent, Log(store, LocalBus()), EngineSettings(**settings)) as engine:
        yield engine


def send_call(request: SendMessageRequest, key: str = "") -> SendCall:
    """A send as the engine gets it; a copy, as the engine fills it in."""
    copy = SendMessageRequest()
    copy.CopyFrom(request)
    return SendCall(Principal(tenant=request.tenant), copy, key)


def engine_of(served: Served) -> Engine:
    return served.server._running.engine


def key_of(task_id: str, tenant: str = "") -> TaskKey:
    return TaskKey(tenant, "", task_id)


async def records_of(log: Log, task_id: str, tenant: str = "") -> list[Record]:
    """The whole log of a task."""
    records = await log.store.read(key_of(task_id, tenant), 0, 1_000_000)
    assert records is not None
    return records


async def total_tasks(served: Served, tenant: str = "") -> int:
    """How many tasks a caller of the tenant can list."""
    response = await served.stub.ListTasks(ListTasksRequest(tenant=tenant), metadata=V1)
    return int(response.total_size)


def raw_subscription(served: Served, task_id: str, *metadata: tuple[str, str]) -> Any:
    """A subscription whose elements are the bytes of the wire."""
    method = served.channel.unary_stream(
        f"/{SERVICE_NAME}/SubscribeToTask",
        request_serializer=SubscribeToTaskRequest.SerializeToString,
        response_deserializer=bytes,
    )
    return method(SubscribeToTaskRequest(id=task_id), metadata=V1 + metadata)


async def following(call: Any) -> Any:
    """The next element of a stream."""
    return await anext(aiter(call))


async def seq_of(call: Any) -> int:
    """The seq of a stream's first element, as its initial metadata tells it."""
    return int(dict(await call.initial_metadata())["a2a-grpc-seq"])


def folded(events: list[StreamResponse], onto: Task | None = None) -> Task:
    """The task that a client makes of a stream's elements."""
    task = Task()
    if onto is not None:
        task.CopyFrom(onto)
    return fold(task, ((event, None) for event in events))


def without_user_messages(task: Task) -> Task:
    """The task as far as streams tell it: they carry no message of a user."""
    told = Task()
    told.CopyFrom(task)
    del told.history[:]
    told.history.extend(said for said in task.history if said.role != message().role)
    return told


def user_texts(task: Task) -> list[str]:
    """What the user said, in order."""
    return [text_of(said) for said in task.history if said.role == message().role]


async def stored_task(
    store: TaskStore, task_id: str, state: TaskState = SUBMITTED, *, age_s: float = 0.0, tenant: str = ""
) -> TaskKey:
    """A task put into the store, its status `age_s` seconds old; in memory its end, too (see `believe_ages`)."""
    key = key_of(task_id, tenant)
    event = StreamResponse(task=Task(id=task_id, context_id="c-1", status=TaskStatus(state=state)))
    record = Record(1, event.SerializeToString(), state, 1, now_us() - int(age_s * 1e6))
    await store.write(Create(key, record, "c-1", ""))
    if isinstance(store, MemoryStore) and state in TERMINAL:
        assert isinstance(store._records, MemoryRecords)
        store._records._ended[key] -= age_s
    return key


async def believe_ages(store: TaskStore) -> None:
    """Let the tasks that have ended in a SQL store have ended when their status says, as if time had passed."""
    if isinstance(store, SqlStore):
        ended = sql_task.c.ended_us.is_not(None)
        await store._write(
            lambda found: found.execute(sql_task.update().where(ended).values(ended_us=sql_task.c.at_us))
        )
