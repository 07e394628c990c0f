"""A remote agent that is called like a coroutine of this program."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self, Unpack, cast

from google.protobuf import json_format

from a2a_grpc import lifecycle
from a2a_grpc.agent import Turn
from a2a_grpc.arguments import checked
from a2a_grpc.client.canceling import BegunStream
from a2a_grpc.client.client import Client
from a2a_grpc.client.connecting import connect
from a2a_grpc.client.delegated import Delegated, delegated
from a2a_grpc.client.noted import call_of
from a2a_grpc.client.pieces import Pieces, progress_of
from a2a_grpc.client.sending import SendOptions, shows_options
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.started import RemoteTask, completed
from a2a_grpc.client.stream import TaskStream
from a2a_grpc.client.target import shown
from a2a_grpc.errors import A2AError
from a2a_grpc.lifecycle import Event
from a2a_grpc.parts import Contents, Json
from a2a_grpc.wire import AgentCard, Message, TaskArtifactUpdateEvent, TaskStatusUpdateEvent


@shows_options
@checked(ClientSettings)
class RemoteAgent:
    """A remote agent that answers in text, like a coroutine of this program.

    In an `async with` block all calls share one connection, and the agent's card is known. Without the block each call
    opens a connection and closes it.

    Guarantees:

    - If the Python task that awaits `run`, or that reads `stream` or `events`, is canceled, the agent's task is
      canceled, too. The operations of `Client` never do that.

    Example:
        poet = RemoteAgent("https://poet.example")
        print(await poet.run("a haiku about rivers"))

    Args:
        target: The agent, as `connect` takes it. It may be empty if there is a `client`.
        name: A name for people, for example in questions to the user; by default the name on the agent's card.
        client: An open client to use. It is not closed.
        **settings: The other arguments of `connect`: credentials and so on, and fields of ClientSettings.

    Raises:
        TypeError: There is neither a target nor a client, or no setting has a name that was given.
        ConfigurationError: The target or a setting cannot be used.
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
            self._connect()  # refuses a wrong target or setting here, not at the first call

    @property
    def name(self) -> str:
        """The given name, or the name on the card if it is known, or the target without its secrets."""
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
        """Close the connection of the `async with` block, which calls this. A given `client` stays open."""
        own, self._own = self._own, None
        if own is not None:
            await own.close()

    async def run(
        self, content: Contents | Message, *, turn: Turn | None = None, **options: Unpack[SendOptions]
    ) -> str:
        """Send a message, wait for the answer, and return its text. This is what `stream` yields, joined.

        In a handler, give the `turn`. Then the caller of the turn sees the progress of the remote agent: its status
        messages, and its artifacts whose data has a number `progress`. If the remote agent asks a question, the user of
        the turn is asked, and the answer goes to the remote agent. A handler that runs again goes on with the same
        remote task.

        Args:
            content: What to send, as for `Client.send`.
            turn: The turn of the handler that calls the remote agent; None outside of a handler.
            **options: The options of a message, as `SendOptions` lists them.

        Raises:
            TaskNotCompletedError: The task ended in another state than COMPLETED, or, without a `turn`, waits for its
                user. Then go on with `run(answer, task_id=error.task.id)`.
            A2AError: The agent refuses the message, was not reached, or was lost, with the same classes as in
                `Client.send`.
            TypeError: The content holds an object that cannot become JSON, or an option has a wrong type or name.
            ValueError: The content holds a value that the wire cannot carry.
        """
        return "".join([piece async for piece in self._pieces(content, turn, options)])

    def stream(
        self, content: Contents | Message, *, turn: Turn | None = None, **options: Unpack[SendOptions]
    ) -> AsyncGenerator[str, None]:
        """Yield the text of the agent's answer, piece by piece, as the agent makes it.

        The pieces, joined, are the text of the completed task (`text_of`). An agent may take back what it has sent: it
        may replace an artifact, or add to one after the next one has begun. Then the new text comes as further pieces.

        Args:
            content: What to send, as for `Client.send`.
            turn: The turn of the handler that calls the remote agent, as for `run`; None outside of a handler.
            **options: The options of a message, as `SendOptions` lists them.

        Raises:
            TaskNotCompletedError: The task ended in another state than COMPLETED, or, without a `turn`, waits for its
                user. This is raised after the last piece.
            A2AError: The agent refuses the message, was not reached, or was lost, with the same classes as in
                `Client.send`.
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
        assert events.task is not None  # a stream that ends without an error has had its first element
        completed(events.task)

    @asynccontextmanager
    async def _work(
        self, content: Contents | Message, turn: Turn | None, options: SendOptions
    ) -> AsyncIterator[TaskStream | Delegated]:
        """Give the events of the task of a message. For a turn, they include what follows the agent's questions."""
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

    async def start(self, content: Contents | Message, **options: Unpack[SendOptions]) -> RemoteTask | Message:
        """Send a message, and return as soon as the agent has accepted it.

        The agent's task goes on when this program ends.

        Args:
            content: What to send, as for `Client.send`.
            **options: The options of a message, as `SendOptions` lists them.

        Returns:
            The task, to be waited for later, or the message of an agent that answers without a task.

        Raises:
            A2AError: The agent refuses the message, with the same classes as in `Client.send`.
            TypeError: The content holds an object that cannot become JSON, or an option has a wrong type or name.
            ValueError: The content holds a value that the wire cannot carry.
        """
        async with self._client() as client:
            reply = await client.start(content, **options)
        return reply if isinstance(reply, Message) else RemoteTask(reply, self._client)

    @asynccontextmanager
    async def events(self, content: Contents | Message, **options: Unpack[SendOptions]) -> AsyncIterator[TaskStream]:
        """Send a message, and give a stream of its events, with `async with agent.events(…) as events:`.

        If the block ends with an exception that is not an error of the stream, the agent's task is canceled.

        Args:
            content: What to send, as for `Client.send`.
            **options: The options of a message, as `SendOptions` lists them.

        Raises:
            A2AError: The first event cannot be had, for example because the agent refuses the message.
        """
        async with self._client() as client, client.stream(content, **options) as events:
            begun = BegunStream(client, events)
            try:
                await begun.begun()
                yield events
            except BaseException as error:
                if error is not events.error:
                    await begun.cancel()
                raise

    def describe(self) -> dict[str, Json]:
        """Return the agent's card as a dict with the names of its JSON, for example `agent.describe()["name"]`.

        Raises:
            RuntimeError: The card was not fetched yet. `async with` and `card` fetch it.
        """
        if self._card is None:
            raise RuntimeError(f"the card of '{shown(self.target)}' was not fetched yet; await agent.card() first")
        return cast("dict[str, Json]", json_format.MessageToDict(self._card))

    async def card(self) -> AgentCard:
        """Return the agent's card. It is fetched if it is not known, or not fresh.

        Raises:
            UnsupportedOperationError: The target is an address, and gRPC has no method for the public card.
            AgentCardError: The card cannot be used.
            UnreachableError: The card cannot be fetched.
        """
        async with self._client() as client:
            self._card = await client.card()
        return self._card

    def _connect(self) -> Client:
        return connect(self.target, **self._settings)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[Client]:
        """Give the client for one call."""
        if (kept := self._own or self._given) is not None:
            yield kept
            return
        async with self._connect() as client:
            yield client


async def _relay(event: Event, turn: Turn) -> None:
    """Show the caller of a turn the progress of the remote agent."""
    match event:
        case TaskStatusUpdateEvent() if event.status.state == lifecycle.WORKING and event.status.HasField("message"):
            async with turn.talk.speaking():  # not while the user is asked
                await turn.status(list(event.status.message.parts))
        case TaskArtifactUpdateEvent() if progress_of(event) is not None:
            artifact = event.artifact
            await turn.artifact(list(artifact.parts), id=artifact.artifact_id, name=artifact.name)
