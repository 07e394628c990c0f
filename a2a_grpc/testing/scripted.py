"""Agents whose answers are given as a list, to test programs that call agents."""

import asyncio
from collections.abc import Sequence
from typing import Any, Literal, cast

from a2a_grpc.agent import Agent, Failed, Turn
from a2a_grpc.arguments import checked
from a2a_grpc.errors import A2AError
from a2a_grpc.parts import Contents, text_of
from a2a_grpc.testing.script import Ask, Pause, Pieces, Status, Step, steps_of
from a2a_grpc.wire import Message


@checked()
class ScriptedAgent(Agent):
    """An agent that answers each message with the next turn of a script. What the message says does not matter.

    Serve it with `running`, and have the program under test call `client.target`. A turn that does not fail ends in
    COMPLETED. If more messages come than the script has turns, their tasks end in FAILED.

    Example:
        remote = ScriptedAgent(
            "Bonjour",
            [Status("looking"), Pause(60), Pieces("Au ", "revoir")],
            [Ask("Which language?"), "Hola"],
            Failed("out of order"),
            ResourceExhaustedError("busy", retry_after_s=1),
        )

    Args:
        *turns: The turns, in the order in which messages come. A turn is a step, or a list of steps. A step is a result
            (as a handler returns it), `Status`, `Pieces`, `Pause`, `Ask`, or an exception, which has to be the last
            step. An `A2AError` has to be the only one: the call of the message fails with it.
        name: The name of the agent.
        answers: "task" if a message makes a task. "message" if the agent answers with messages only. Then a turn is one
            result, perhaps after a `Pause`, or an exception.
        streaming: False to refuse streams, as in `Agent`.

    Raises:
        TypeError: A step is none of these.
        ValueError: A step cannot stand at its place, or its content cannot be sent.

    Attributes:
        received: The messages that have come, in their order, with the answers to questions.
    """

    def __init__(
        self,
        *turns: Any,
        name: str = "Scripted",
        answers: Literal["task", "message"] = "task",
        streaming: bool = True,
    ) -> None:
        super().__init__(name, "Plays a script.", input_modes=["*/*"], output_modes=["*/*"], streaming=streaming)
        self.received: list[Message] = []
        self._turns = [steps_of(f"turn {number}", turn, answers) for number, turn in enumerate(turns, start=1)]
        self._begun = 0
        self._given: dict[str, Sequence[Step]] = {}
        """The turn of each message whose turn has not ended, by the id of the message."""
        self._asking: set[str] = set()
        self.skill("play", answers=answers, validate=self._let_in)(self._play)

    @property
    def is_played(self) -> bool:
        """True once each turn of the script has begun."""
        return self._begun >= len(self._turns)

    def assert_played(self) -> None:
        """Raise AssertionError unless each turn of the script has begun, and no message came beyond the script."""
        if self._begun != len(self._turns):
            said = ", ".join(repr(text_of(message)) for message in self.received) or "none"
            raise AssertionError(
                f"the script of '{self.name}' has {len(self._turns)} turns, and {self._begun} were asked for; "
                f"the messages were: {said}"
            )

    def _let_in(self, message: Message) -> None:
        """Give a message its turn, or refuse the message."""
        if message.task_id in self._asking or message.message_id in self._given:
            return
        steps = self._next()
        if isinstance(steps[0], A2AError):
            self._receive(message)
            raise steps[0]
        self._given[message.message_id] = steps

    def _next(self) -> Sequence[Step]:
        number = self._begun
        self._begun += 1
        if number < len(self._turns):
            return self._turns[number]
        return [Failed(f"the script of '{self.name}' has {len(self._turns)} turns, and this is message {number + 1}")]

    def _receive(self, message: Message) -> None:
        """Note a message, unless it is known: a handler that was let go runs again."""
        if all(message.message_id != known.message_id for known in self.received):
            self.received.append(message)

    async def _play(self, turn: Turn) -> Any:
        """Play the turn of a message."""
        self._receive(turn.message)
        try:
            return await self._run(turn, self._given[turn.message.message_id])
        finally:
            if not turn.is_let_go:
                del self._given[turn.message.message_id]

    async def _run(self, turn: Turn, steps: Sequence[Step]) -> Any:
        for number, step in enumerate(steps, start=1):
            match step:
                case Status(content):
                    await turn.status(content)
                case Pieces(pieces, interval_s):
                    await _send(turn, pieces, interval_s, id=f"{turn.message.message_id}-{number}")
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                case Ask(question, auth):
                    await self._ask(turn, question, auth=auth)
                case Exception():
                    raise step
                case _ if turn.task is None:
                    return step
                case _:
                    await turn.artifact(cast(Contents, step))
        return None

    async def _ask(self, turn: Turn, question: Contents, *, auth: bool) -> None:
        task_id = turn.task.id if turn.task else ""
        self._asking.add(task_id)
        try:
            answer = await turn.ask(question, auth=auth)
        finally:
            if not turn.is_let_go:
                self._asking.discard(task_id)
        self._receive(answer.message)


async def _send(turn: Turn, pieces: Sequence[Contents], interval_s: float, *, id: str) -> None:
    for number, piece in enumerate(pieces):
        if number:
            await asyncio.sleep(interval_s)
        await turn.artifact(piece, id=id, append=number > 0, last_chunk=number == len(pieces) - 1)
