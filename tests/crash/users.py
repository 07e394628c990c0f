"""Clients that send, follow and answer through whatever happens to the servers, and note all that they are told."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from a2a_grpc.client import Client
from a2a_grpc.lifecycle import INPUT_REQUIRED, SETTLED, TERMINAL, fold
from a2a_grpc.parts import value
from a2a_grpc.protocol import Key
from a2a_grpc.wire import (
    ROLE_USER,
    SERVICE_NAME,
    A2AServiceStub,
    CancelTaskRequest,
    GetTaskRequest,
    Message,
    Part,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
)
from tests.crash.notes import Notes
from tests.harness import V1

CHANNEL = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 200),
)
AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
"""After these a client tries again; any other status is a fault of the server."""
PATIENCE_S = 1.0
"""Without a word for that long, a client asks another server."""
UNARY_S = 3.0
PAUSE_S = 0.05


class Server:
    """A way to one server, whether it is there or not."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address, options=CHANNEL)
        self.stub: Any = A2AServiceStub(self.channel)
        self.stream = self._raw("SendStreamingMessage", SendMessageRequest)
        self.subscribe = self._raw("SubscribeToTask", SubscribeToTaskRequest)

    def _raw(self, method: str, kind: type[Any]) -> Any:
        """A streaming method whose elements are the bytes of the wire."""
        return self.channel.unary_stream(
            f"/{SERVICE_NAME}/{method}", request_serializer=kind.SerializeToString, response_deserializer=bytes
        )


class Followed:
    """A task as one follower has come to know it."""

    def __init__(self, task_id: str = "", seq: int = 0) -> None:
        self.task_id = task_id
        self.seq = seq
        """Of the last event; -1 where a subscription is to begin with a snapshot."""
        self.task = Task()
        """The fold of all that came."""

    @property
    def state(self) -> int:
        return self.task.status.state


class Users:
    """Guarantee: whatever a method gives was told by a server; what was told on the way is in `notes`."""

    def __init__(self, addresses: Sequence[str], notes: Notes, chance: random.Random) -> None:
        self.notes = notes
        self.servers = [Server(address) for address in addresses]
        self._chance = chance

    async def close(self) -> None:
        for server in self.servers:
            await server.channel.close()

    def any(self) -> Server:
        return self._chance.choice(self.servers)

    def request(self, *, steps: int, pause_s: float, asks: bool = False, task_id: str = "") -> SendMessageRequest:
        """A send with a message id of its own, which is its idempotency key, too."""
        key = str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
        plan = value({"steps": steps, "pause_s": pause_s, "asks": asks})
        message = Message(message_id=key, role=ROLE_USER, task_id=task_id, parts=[Part(data=plan)])
        return SendMessageRequest(message=message)

    async def send(self, request: SendMessageRequest, *, leaves: bool = False) -> Followed:
        """Sends, and follows until the turn is over; or, if the user `leaves`, for some events, and never comes back
        to what was cut."""
        followed = Followed(request.message.task_id)
        over = TERMINAL if followed.task_id else SETTLED
        left = self._chance.randrange(1, 8) if leaves else -1
        is_sent = False
        while followed.state not in over:
            key = request.message.message_id
            self.notes.tried.add(key)
            server = self.any()
            if is_sent:
                call = self.subscription(server, followed)
            else:
                call = server.stream(request, metadata=(*V1, (Key.IDEMPOTENCY, key)), wait_for_ready=True)
            async for _ in self._elements(call, followed):
                if not is_sent:
                    self.notes.accept(key, followed.task_id)
                    is_sent = True
                left -= 1
                if followed.state in over or left == 0:
                    break
            if leaves:
                break
        return followed

    async def wait(self, request: SendMessageRequest) -> Task:
        """A blocking send: the task as it was once it was settled."""
        key = request.message.message_id
        self.notes.tried.add(key)
        answer = await self._surely(lambda server: server.stub.SendMessage, request, (Key.IDEMPOTENCY, key))
        task: Task = answer.task
        self.notes.accept(key, task.id)
        self.notes.answers.append((task.id, task.SerializeToString()))
        return task

    async def watch(self, task_id: str) -> Followed:
        """Subscribes with a snapshot, and follows to the task's end, from one server to another."""
        followed = Followed(task_id, -1)
        while followed.state not in TERMINAL:
            async for _ in self._elements(self.subscription(self.any(), followed), followed):
                if followed.state in TERMINAL:
                    break
            else:
                if followed.seq < 0 and (task := await self.get(task_id)).status.state in TERMINAL:
                    followed.task = task  # it had ended: there is nothing to subscribe to
        return followed

    async def cancel(self, task_id: str) -> bool:
        """Whether the task was canceled, rather than over before."""
        try:
            await self._surely(lambda server: server.stub.CancelTask, CancelTaskRequest(id=task_id))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
                raise
            return False
        self.notes.canceled.add(task_id)
        return True

    async def get(self, task_id: str, server: Server | None = None) -> Task:
        task: Task = await self._surely(lambda one: (server or one).stub.GetTask, GetTaskRequest(id=task_id))
        return task

    async def _surely(self, method: Any, request: Any, *metadata: tuple[str, str]) -> Any:
        while True:
            call = method(self.any())(request, metadata=V1 + metadata, timeout=UNARY_S, wait_for_ready=True)
            try:
                return await call
            except grpc.aio.AioRpcError as error:
                if error.code() not in AGAIN:
                    raise
            await asyncio.sleep(PAUSE_S)

    def subscription(self, server: Server, followed: Followed) -> Any:
        """The call that goes on where the follower is."""
        after = () if followed.seq < 0 else ((Key.AFTER, str(followed.seq)),)
        return server.subscribe(
            SubscribeToTaskRequest(id=followed.task_id), metadata=(*V1, *after), wait_for_ready=True
        )

    async def _elements(self, call: Any, followed: Followed) -> AsyncIterator[None]:
        """Takes the elements of a call, one a step; ends where the call does, or says nothing for too long."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                place = dict(await call.initial_metadata())
            is_snapshot = Key.SEQ in place
            seq = int(place[Key.SEQ]) - 1 if is_snapshot else int(place[Key.AFTER])
            while True:
                async with asyncio.timeout(PATIENCE_S):
                    event = await call.read()
                if event is grpc.aio.EOF:
                    assert followed.state in SETTLED, f"task {followed.task_id}: a stream ended OK at {followed.state}"
                    return
                seq += 1
                self.note(event, seq, followed, is_snapshot)
                is_snapshot = False
                yield
        except TimeoutError:
            return
        except (KeyError, grpc.aio.AioRpcError) as error:
            failure = error if isinstance(error, grpc.aio.AioRpcError) else await _failure(call)
            is_over = followed.seq < 0 and failure.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert failure.code() in AGAIN or is_over, failure
            await asyncio.sleep(PAUSE_S)
        finally:
            call.cancel()

    def note(self, event: bytes, seq: int, followed: Followed, is_snapshot: bool) -> None:
        """Notes an element of a stream, and adds it to what its follower knows."""
        element = StreamResponse.FromString(event)
        if is_snapshot:
            followed.task_id = element.task.id
            self.notes.snapshots.append((followed.task_id, seq, element.task.SerializeToString()))
        else:
            assert seq == followed.seq + 1, f"task {followed.task_id}: {seq} follows {followed.seq}"
            self.notes.record(followed.task_id, seq, event)
        followed.seq = seq
        fold(followed.task, [(element, None)])


async def _failure(call: Any) -> Any:
    """The status of a call that failed before it said where it begins."""
    try:
        await call.read()
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the stream does not say where it begins")


async def play(users: Users, chance: random.Random) -> None:
    """One job of one user: long or short, followed or waited for, asked about and answered, or left alone."""
    asks = chance.random() < 0.3
    request = users.request(steps=chance.randrange(1, 12), pause_s=chance.choice((0.01, 0.03, 0.06)), asks=asks)
    way = chance.random()
    if way < 0.2:
        task = await users.wait(request)
        task_id, state = task.id, int(task.status.state)
    else:
        followed = await users.send(request, leaves=way > 0.9)
        task_id, state = followed.task_id, followed.state
    if state != INPUT_REQUIRED or chance.random() < 0.3:
        return  # over, or left waiting
    await users.send(users.request(steps=chance.randrange(1, 6), pause_s=0.02, task_id=task_id))


async def play_on_and_on(users: Users, chance: random.Random, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        await play(users, chance)


async def send_on_and_on(client: Client, users: Users, stopping: asyncio.Event) -> None:
    """The same with the client of this package, which never stops watching."""
    while not stopping.is_set():
        request = users.request(steps=8, pause_s=0.03)
        key = request.message.message_id
        users.notes.tried.add(key)
        task = await client.send(request.message, idempotency_key=key)
        assert isinstance(task, Task)
        users.notes.accept(key, task.id)
        assert task.status.state in TERMINAL


@asynccontextmanager
async def users_of(addresses: Sequence[str], seed: str) -> AsyncIterator[Users]:
    users = Users(addresses, Notes(), random.Random(f"users {seed}"))
    try:
        yield users
    finally:
        await users.close()
