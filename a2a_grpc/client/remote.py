"""An agent somewhere else that is called like a function here."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self, Unpack, cast

from google.protobuf import json_format

from a2a_grpc import lifecycle
from a2a_grpc.agent import Turn
from a2a_grpc.arguments import checked
from a2a_grpc.client.client import Client, connect
from a2a_grpc.client.delegated import Delegated, call_of, cancel_remote, delegated
from a2a_grpc.client.errors import TaskNotCompletedError
from a2a_grpc.client.pieces import Pieces
from a2a_grpc.client.sending import SendOptions
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.stream import TaskStream
from a2a_grpc.client.target import shown
from a2a_grpc.errors import A2AError
from a2a_grpc.lifecycle import Event
from a2a_grpc.parts import Contents, Json, data_of
from a2a_grpc.wire import AgentCard, Artifact, Message, Task, TaskArtifactUpdateEvent, TaskStatusUpdateEvent


@checked(ClientSettings)
class RemoteAgent:
    """A remote agent as an object: `await agent.run("…")` gives its answer, as if it worked here.

        poet = RemoteAgent("https://poet.example")
        print(await poet.run("a haiku about rivers"))

    In an `async with` block it keeps one connection and knows its card; elsewhere each call makes a connection and
    closes it. `settings` are those of `connect`. With `client` it uses that one, and does not close it.

    Guarantee: canceling whoever awaits `run` or reads `stream` cancels the remote task: here, as with any coroutine, to
    cancel is to stop the work. (The operations of Client never do that.)
    """

    def __init__(self, target: str = "", *, name: str = "", client: Client | None = None, **settings: object) -> None:
        if not target and client is None:
            raise TypeError("RemoteAgent needs a target or a client")
        self.target = target or cast(Client, client).target
        self._name = name
        self._given = client
        self._settings: dict[str, Any] = settings
        self._own: Client | None = None
        self._card: AgentCard | None = None
        if not client:
            self._connect()  # what cannot be is refused here, not at the first call

    @property
    def name(self) -> str:
        """As given here, else as the card says, else the target, without secrets."""
        return self._name or (self._card.name if self._card else "") or shown(self.target)

    async def __aenter__(self) -> Self:
        if self._given is None:
            self._own = self._connect()
        try:
            async with self._client() as client:
                await client.link()
                with suppress(A2AError):  # an address has no card
                    self._card = await client.card()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection, if it is this object's own."""
        own, self._own = self._own, None
        if own is not None:
            await own.close()

    async def run(
        self, content: Contents | Message, *, turn: Turn | None = None, **options: Unpack[SendOptions]
    ) -> str:
        """Send a message, wait for the answer, and return its text: what `stream` gives, joined.

        Called for a `turn` of an agent here, the remote agent's progress shows there: its status texts as that turn's,
        its artifacts with a numeric `progress` as artifacts of the same name. What the remote agent asks, the user of
        that turn is asked, and the answer goes back: see `Delegated`.

        Raises TaskNotCompletedError, which holds the task, for any other end than COMPLETED; without a `turn` also if
        the agent asks for something: go on with `run(answer, task_id=error.task.id)`.
        """
        return "".join([piece async for piece in self._pieces(content, turn, options)])

    def stream(
        self, content: Contents | Message, *, turn: Turn | None = None, **options: Unpack[SendOptions]
    ) -> AsyncGenerator[str, None]:
        """Yield the text of the agent's answer, piece by piece as it is made. Raises as `run` does, after the last
        piece. A `turn` is what it is for `run`.

        The pieces, joined, are `text_of` the completed task, unless the agent takes back what it has given: by
        replacing an artifact, or by adding to one after the next has begun. Then the new text comes as further pieces.
        """
        return self._pieces(content, turn, options)

    async def _pieces(
        self, content: Contents | Message, turn: Turn | None, options: SendOptions
    ) -> AsyncGenerator[str, None]:
        """Yield the texts that the events of a send add to the answer, and pass progress on to the turn."""
        pieces = Pieces()
        async with self._work(content, turn, options) as events:
            async for event in events:
                if turn is not None:
                    await _relay(event, turn)
                if piece := pieces.text(event):
                    yield piece
                if isinstance(event, Message):
                    return
                if events.is_paused:
                    break
        _completed(events.task)

    @asynccontextmanager
    async def _work(
        self, content: Contents | Message, turn: Turn | None, options: SendOptions
    ) -> AsyncIterator[TaskStream | Delegated]:
        """Sends a message: the events of its task; those for a turn include what follows the agent's questions."""
        if turn is None or turn.task is None:  # without a task there is none to ask in
            async with self.events(content, **options) as events:
                yield events
            if turn is not None and events.is_paused:  # no user will answer
                async with self._client() as client:
                    await client.cancel(events.task_id)
            return
        call = call_of(turn, content, options)
        async with self._client() as client, delegated(client, turn, call, self.name, content, options) as work:
            yield work

    @asynccontextmanager
    async def events(self, content: Contents | Message, **options: Unpack[SendOptions]) -> AsyncIterator[TaskStream]:
        """Sends a message: the stream of its events. Leaving the block by an exception that is not the stream's own
        cancels the remote task."""
        async with self._client() as client, client.stream(content, **options) as events:
            beginning = asyncio.create_task(events.begin(), name="a2a-grpc:begin")
            try:
                await asyncio.shield(beginning)
                yield events
            except BaseException as error:
                if error is not events.error:
                    await cancel_remote(client, events, beginning)
                raise

    def describe(self) -> dict[str, Json]:
        """The card as a dict with the names of its JSON, from memory: `agent.describe()["name"]`.

        Raises RuntimeError before it was fetched, by `async with` or `await agent.card()`.
        """
        if self._card is None:
            raise RuntimeError(f"the card of '{shown(self.target)}' was not fetched yet; await agent.card() first")
        return cast("dict[str, Json]", json_format.MessageToDict(self._card))

    async def card(self) -> AgentCard:
        """The agent's card, fetched where it is not known or stale."""
        async with self._client() as client:
            self._card = await client.card()
        return self._card

    def _connect(self) -> Client:
        return connect(self.target, **self._settings)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[Client]:
        """The client for one call."""
        if (kept := self._own or self._given) is not None:
            yield kept
            return
        async with self._connect() as client:
            yield client


def _completed(task: Task | None) -> None:
    """Raise TaskNotCompletedError for any other end than COMPLETED."""
    assert task is not None  # a stream that ends without an error has had its first element
    if task.status.state != lifecycle.COMPLETED:
        raise TaskNotCompletedError(task)


async def _relay(event: Event, turn: Turn) -> None:
    """Tells a turn's caller how the remote agent is getting on."""
    match event:
        case TaskStatusUpdateEvent() if event.status.state == lifecycle.WORKING and event.status.HasField("message"):
            async with turn.talk.speaking():  # not while the user is asked
                await turn.status(list(event.status.message.parts))
        case TaskArtifactUpdateEvent() if progress_of(event) is not None:
            artifact = event.artifact
            await turn.artifact(list(artifact.parts), id=artifact.artifact_id, name=artifact.name)


def progress_of(event: Event) -> float | None:
    """How much is done, from 0 to 1, where the event is an artifact whose data has a numeric `progress`."""
    if not isinstance(event, TaskArtifactUpdateEvent):
        return None
    return progress_in(event.artifact)


def progress_in(artifact: Artifact) -> float | None:
    """Return how much is done, from 0 to 1, if an artifact's data has a numeric `progress`."""
    found = data_of(artifact)
    progress = found.get("progress") if isinstance(found, dict) else None
    is_number = isinstance(progress, (int, float)) and not isinstance(progress, bool)
    return float(cast(float, progress)) if is_number and 0 <= cast(float, progress) <= 1 else None
