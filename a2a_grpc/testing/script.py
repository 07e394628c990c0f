"""The steps of a scripted agent, and the checks that a list of steps can be played."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from a2a_grpc.agent import Outcome
from a2a_grpc.errors import A2AError
from a2a_grpc.parts import Contents, check_content, put
from a2a_grpc.wire import Artifact


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
    """Wait before the next step. The state of the task does not change.

    Attributes:
        seconds: How long to wait. A test with a `Clock` can let this time pass at once.
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


def steps_of(where: str, turn: Any, answers: str) -> list[Step]:
    """Return the steps of a turn. Raise TypeError or ValueError, with the place, if they cannot be played."""
    steps = list(turn) if isinstance(turn, list) else [turn]
    _check(where, steps, answers)
    return steps


def _check(where: str, steps: Sequence[Step], answers: str) -> None:
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
