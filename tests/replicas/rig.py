"""Replicas of one agent on one store: several servers in this process, or processes of their own."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, cast

import grpc.aio

from a2a_grpc import Agent, AuthRequired, InputRequired, Task, Turn
from a2a_grpc.bus import LocalBus, open_bus
from a2a_grpc.engine import Engine
from a2a_grpc.engine.recovery import LOST
from a2a_grpc.parts import Json, text_of
from a2a_grpc.server.loaded import make_server
from a2a_grpc.store import (
    Append,
    Create,
    Head,
    InOrder,
    MemoryStore,
    Record,
    StoreUnavailable,
    TaskKey,
    TaskStore,
    Written,
    open_store,
)
from a2a_grpc.wire import (
    SERVICE_NAME,
    A2AServiceStub,
    Artifact,
    CancelTaskRequest,
    ListTasksRequest,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    TaskState,
)
from tests.harness import V1, Served, eventually, message, request

MEMORY = "memory:"
CHECKPOINT = "checkpoint"


class SharedStore(MemoryStore):
    """A store in memory that several servers share: whoever closes it takes nothing from the others."""

    def __init__(self) -> None:
        super().__init__()
        self.durable = self.shared = self.keeps_messages = True

    async def close(self) -> None:
        pass


class Line:
    """One replica's way to the store. While it is cut, every call fails, or `hangs` until it is mended and then fails;
    nothing of it reaches the store."""

    durable = shared = keeps_messages = True

    def __init__(self, store: TaskStore) -> None:
        self._store = store
        self._whole = asyncio.Event()
        self._whole.set()
        self._hangs = False
        self._in_order = InOrder(self._write)
        self._meanwhile: dict[str, Callable[[], Awaitable[None]]] = {}

    def meanwhile(self, name: str, happens: Callable[[], Awaitable[None]]) -> None:
        """What happens while the answer to the next call of this name is on its way back."""
        self._meanwhile[name] = happens

    def cut(self, *, hangs: bool = False) -> None:
        self._hangs = hangs
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    async def close(self) -> None:
        await self._store.close()

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._store, name)

        async def through(*given: Any, **named: Any) -> Any:
            if not self._whole.is_set():
                if self._hangs:
                    await self._whole.wait()
                raise StoreUnavailable("the line is cut")
            answer = await call(*given, **named)
            if (happens := self._meanwhile.pop(name, None)) is not None:
                await happens()
            return answer

        return through

    def write(self, write: Create | Append) -> Written:
        if self._whole.is_set() and not self._meanwhile:
            return self._store.write(write)
        return self._in_order.write(write)

    async def _write(self, write: Create | Append) -> int:
        if not self._whole.is_set():
            if self._hangs:
                await self._whole.wait()
            raise StoreUnavailable("the line is cut")
        answer = await self._store.write(write)
        name = "create" if isinstance(write, Create) else "append"
        if (happens := self._meanwhile.pop(name, None)) is not None:
            await happens()
        return answer


class Hand:
    """The agent of one replica. It does what its message says, in steps that `;` separates, and notes what it sees:

    count N    an artifact `checkpoint` of N parts, each once `allow` lets it; goes on from the parts that are there
    hold       waits until `go` is set
    stay       the same, whatever tells it to stop
    ask Q      asks, and makes an artifact `answer` of the answer
    permit Q   asks in AUTH_REQUIRED, and adds the answer to the artifact `permit`
    quiz N     asks N questions, and makes an artifact `quiz` of what the turn and the answers say
    say T      a status
    note T     adds a part to the artifact `notes`
    park Q     ends the turn in INPUT_REQUIRED
    auth Q     ends the turn in AUTH_REQUIRED
    WORD       makes an artifact `word` of it
    """

    def __init__(self, *, resumable: bool) -> None:
        self.agent = Agent("Hand", "Does what its message says.", resumable=resumable)
        self.agent.skill("work")(self._work)
        self.go = asyncio.Event()
        self._steps = asyncio.Semaphore(0)
        self.begun: list[tuple[str, int]] = []
        """Text and attempt of each turn."""
        self.histories: list[list[str]] = []
        """What each turn found of the task's messages."""
        self.stopped: list[str] = []
        """Turns that were told to stop."""
        self.cancels: list[dict[str, Json]] = []
        """What came with a cancel, for each turn that was told of one."""
        self.at_work = 0
        self.question = "question {}?"
        """What a quiz asks."""

    def allow(self, steps: int) -> None:
        for _ in range(steps):
            self._steps.release()

    async def _work(self, turn: Turn) -> None:
        """Works."""
        text = turn.text
        self.begun.append((text, turn.attempt))
        self.histories.append([text_of(said) for said in turn.history])
        self.at_work += 1
        try:
            for step in text.split("; "):
                await self._step(turn, *step.partition(" ")[::2])
        except asyncio.CancelledError:
            self.stopped.append(text)
            if turn.canceled:
                self.cancels.append(turn.cancel_metadata)
            raise
        finally:
            self.at_work -= 1

    async def _step(self, turn: Turn, verb: str, rest: str) -> None:
        match verb:
            case "count":
                for i in range(counted(turn.task), int(rest)):
                    await self._steps.acquire()
                    await turn.artifact(str(i), id=CHECKPOINT, append=i > 0)
            case "hold":
                await self.go.wait()
            case "stay":
                while not self.go.is_set():
                    try:
                        await self.go.wait()
                    except asyncio.CancelledError:
                        self.cancels.append(turn.cancel_metadata)
            case "ask":
                await turn.artifact(await turn.ask(rest), id="answer")
            case "permit":
                await turn.artifact(await turn.ask(rest, auth=True), id="permit", append=True)
            case "quiz":
                answers = [await turn.ask(self.question.format(n + 1)) for n in range(int(rest))]
                seen = [turn.text, text_of(turn.message), *turn.metadata.values(), *answers]
                await turn.artifact("|".join(map(str, seen)), id="quiz")
            case "say":
                await turn.status(rest)
            case "note":
                await turn.artifact(rest, id="notes", append=True)
            case "park":
                raise InputRequired(rest)
            case "auth":
                raise AuthRequired(rest)
            case _:
                await turn.artifact(verb, id="word")


def artifact_of(task: Task | None, artifact_id: str) -> Artifact:
    """An artifact by its id; an empty one if there is none."""
    found = [artifact for artifact in task.artifacts if artifact.artifact_id == artifact_id] if task else []
    return found[0] if found else Artifact()


def counted(task: Task | None) -> int:
    """How far a count has come."""
    return len(artifact_of(task, CHECKPOINT).parts)


def count_of(task: Task) -> list[str]:
    """The parts of a count, in order."""
    return [part.text for part in artifact_of(task, CHECKPOINT).parts]


def reason_of(task: Task) -> str:
    """What the agent, or the server for it, said last."""
    return text_of(task.status.message)


def saying(text: str, task_id: str = "", *, immediately: bool = False) -> SendMessageRequest:
    return request(message(text, task_id=task_id), immediately=immediately)


@dataclass(slots=True)
class Replica(Served):
    """A server among others on one store."""

    hand: Hand
    line: Line
    site: "Site"

    @property
    def engine(self) -> Engine:
        return self.server._running.engine

    @property
    def name(self) -> str:
        """What this replica is called in the store now."""
        return self.engine.replica.id

    async def begin(self, text: str, *metadata: tuple[str, str]) -> str:
        """A task that is started and not waited for: its id."""
        response = await self.send(saying(text, immediately=True), *metadata)
        return str(response.task.id)

    async def say(self, text: str, task_id: str = "", *metadata: tuple[str, str]) -> Task:
        """Sends and waits until that is settled."""
        task: Task = (await self.send(saying(text, task_id), *metadata)).task
        return task

    async def follow_up(self, text: str, task_id: str, *metadata: tuple[str, str]) -> Task:
        """Sends to a task and does not wait for what comes of it."""
        task: Task = (await self.send(saying(text, task_id, immediately=True), *metadata)).task
        return task

    async def cancel(self, task_id: str, **metadata: Json) -> Task:
        asked = CancelTaskRequest(id=task_id)
        asked.metadata.update(metadata)
        task: Task = await self.stub.CancelTask(asked, metadata=V1)
        return task

    async def ids(self) -> list[str]:
        """Every task that a caller can list, the newest first."""
        response = await self.stub.ListTasks(ListTasksRequest(), metadata=V1)
        return [task.id for task in response.tasks]

    async def reaches(self, task_id: str, *states: TaskState) -> Task:
        """Waits until the task is in one of the states, as seen here: the task."""
        found = Task()

        async def check() -> None:
            found.CopyFrom(await self.get(task_id))
            assert found.status.state in states, found

        await eventually(check, within_s=20)
        return found

    async def has_counted(self, task_id: str, count: int) -> None:
        """Waits until a count has come so far, as seen here."""

        async def check() -> None:
            assert counted(await self.get(task_id)) >= count

        await eventually(check, within_s=20)

    async def die(self, *, at_once: bool = True) -> None:
        """Ends as a process that is killed: from one moment on nothing of it reaches the store. The others learn of it
        as the lease lapses, or, to be done sooner, `at_once`."""
        name = self.name
        self.line.cut()
        await self.server.stop(0.0)
        if at_once:
            await self.site.declare_dead(name)


class Site:
    """Replicas that come and go, on a store that stays; what is left of them ends with the block."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store: TaskStore
        """For a look at what the replicas have written."""
        self._replicas: list[Replica] = []
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> "Site":
        self.store = SharedStore() if self.url == MEMORY else open_store(self.url)
        await self.store.open()
        self._closing.push_async_callback(self.store.close)
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._closing.aclose()

    async def join(self, *, resumable: bool = True, **settings: Any) -> Replica:
        """One more replica. In memory no wake reaches it from another: it has to look."""
        hand = Hand(resumable=resumable)
        line = Line(self.store if self.url == MEMORY else open_store(self.url))
        settings = {
            "listen": "127.0.0.1:0",
            "http_listen": "off",
            "drain_grace_s": 0.0,
            "lease_s": 6.0,
            "poll_interval_s": 0.05 if self.url == MEMORY else 1.0,
            "cancel_grace_s": 0.3,
            **settings,
        }
        server = make_server(hand.agent, settings, store=cast(TaskStore, line))
        server._running.log.bus = LocalBus() if self.url == MEMORY else open_bus("auto", self.url)
        await self._closing.enter_async_context(server)
        self._closing.callback(hand.go.set)
        self._closing.callback(line.mend)
        channel = await self._closing.enter_async_context(
            grpc.aio.insecure_channel(server.grpc_address, options=[("grpc.use_local_subchannel_pool", 1)])
        )
        replica = Replica(server, channel, A2AServiceStub(channel), hand, line, self)
        self._replicas.append(replica)
        return replica

    async def declare_dead(self, name: str) -> None:
        """Makes a replica as dead as its lapsed lease would, and tells the others to look."""
        await self.store.leave(name)
        for replica in self._replicas:
            replica.server._running.log.bus.wake(LOST)

    async def head(self, task_id: str) -> Head:
        head = await self.store.head(TaskKey("", "", task_id))
        assert head is not None
        return head

    async def log(self, task_id: str) -> list[Record]:
        records = await self.store.read(TaskKey("", "", task_id), 0, 1_000_000)
        assert records is not None
        return records

    async def states(self, task_id: str) -> list[TaskState]:
        """The states that the task has been in, in order."""
        states: list[TaskState] = []
        for record in await self.log(task_id):
            if states[-1:] != [record.state]:
                states.append(record.state)
        return states


def raw_stream(served: Served, task_id: str, *metadata: tuple[str, str]) -> Any:
    """A subscription whose elements are the bytes of the wire."""
    method = served.channel.unary_stream(
        f"/{SERVICE_NAME}/SubscribeToTask",
        request_serializer=SubscribeToTaskRequest.SerializeToString,
        response_deserializer=bytes,
    )
    return method(SubscribeToTaskRequest(id=task_id), metadata=V1 + metadata)


def chunk_texts(events: Sequence[StreamResponse]) -> list[str]:
    """What the artifact updates among the elements of a stream say, in order."""
    return [
        text_of(event.artifact_update.artifact) for event in events if event.WhichOneof("payload") == "artifact_update"
    ]
