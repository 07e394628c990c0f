"""Agents whose answers are given as a list, to test programs that call agents."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from a2a_grpc.agent import Agent, Failed, Outcome, Turn
from a2a_grpc.arguments import checked
from a2a_grpc.errors import A2AError
from a2a_grpc.parts import Contents, check_content, put, text_of
from a2a_grpc.wire import Artifact, Message


@dataclass(frozen=True, slots=True)
class Status:
    """Send a status message. The task stays in state WORKING.

    Attributes:
        content: What the caller reads.
    """

    content: Contents


@dataclass(frozen=True, slots=True, init=False)
class Pieces:
    """Send one result in pieces, as a stream.

    Args:
        *pieces: The pieces, at least one.
        interval_s: Seconds between two pieces.

    Attributes:
        pieces: The pieces.
        interval_s: Seconds between two pieces.
    """

    pieces: tuple[Contents, ...]
    interval_s: float

    def __init__(self, *pieces: Contents, interval_s: float = 0.0) -> None:
        object.__setattr__(self, "pieces", pieces)
        object.__setattr__(self, "interval_s", interval_s)


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before the next step. The task stays in the state that it has.

    Attributes:
        seconds: The time to wait. A `Clock` can move it.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask a question, and wait for the next message of the task.

    Attributes:
        question: What the caller reads.
        auth: True for a question in state AUTH_REQUIRED, False for one in INPUT_REQUIRED.
    """

    question: Contents
    auth: bool = False


Step: TypeAlias = Contents | Status | Pieces | Pause | Ask | Exception
"""One step of a turn. A content is a result. An exception ends the turn: an outcome such as `Failed`, another exception
for an error in the agent's code, or an `A2AError` for a message that is refused."""


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
        self._turns = [_steps_of(turn) for turn in turns]
        for number, steps in enumerate(self._turns, start=1):
            _check(f"turn {number}", steps, answers)
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


def _steps_of(turn: Any) -> list[Step]:
    return list(turn) if isinstance(turn, list) else [turn]


def _check(where: str, steps: Sequence[Step], answers: str) -> None:
    """Raise TypeError or ValueError, with the place, unless the steps of a turn can be played."""
    if not steps:
        raise ValueError(f"{where} has no step; use None for a result that is empty")
    for number, step in enumerate(steps, start=1):
        place = f"{where}, step {number}" if len(steps) > 1 else where
        is_last = number == len(steps)
        match step:
            case Exception():
                if not is_last or (isinstance(step, A2AError) and len(steps) > 1):
                    raise ValueError(f"{place} is {type(step).__name__}; no other step may stand beside it")
                if answers == "message" and isinstance(step, Outcome):
                    raise ValueError(f"{place} is {type(step).__name__}, but an answer in a message has no state")
            case Pause(seconds):
                _check_seconds(place, seconds)
            case Status(content) | Ask(content):
                _check_task(place, step, answers)
                _check_contents(place, content)
            case Pieces(pieces, interval_s):
                _check_task(place, step, answers)
                _check_seconds(place, interval_s)
                if not pieces:
                    raise ValueError(f"{place} is Pieces without a piece")
                for piece in pieces:
                    _check_contents(place, piece)
            case _:
                _check_contents(place, step)
                if answers == "message" and not is_last:
                    raise ValueError(f"{place} is a result, but an answer in a message is one result")


def _check_task(place: str, step: object, answers: str) -> None:
    if answers == "message":
        raise ValueError(f"{place} is {type(step).__name__}, which needs a task; the agent answers with messages")


def _check_seconds(place: str, seconds: object) -> None:
    if not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
        raise ValueError(f"{place} waits {seconds!r} seconds; it must be 0 or more, and finite")


def _check_contents(place: str, content: Any) -> None:
    try:
        check_content(put(content, Artifact()))
    except TypeError as error:
        raise TypeError(f"{place}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
