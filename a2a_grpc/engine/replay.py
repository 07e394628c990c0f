"""What an earlier run of a turn has asked and been answered, given to the run that repeats it."""

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from a2a_grpc.agent import Failed
from a2a_grpc.piecewise import parsed
from a2a_grpc.store import Pending
from a2a_grpc.wire import ROLE_USER, Message, SendMessageRequest, Task

OTHER_QUESTION = (
    "The agent asked another question than the one that was answered before (question {number} of this turn); "
    "the task cannot go on."
)
QUESTION_MISSING = (
    "The agent ended without the question that was answered before (question {number} of this turn); "
    "the task cannot go on."
)


class Asked(NamedTuple):
    """A question that was answered."""

    said: Sequence[Message]
    """What the agent said between two messages of the user; the question is usually the last of these messages."""
    answer: SendMessageRequest


def kept_of(stored: Sequence[Pending], turn: int) -> Pending | None:
    """Return the message that began the run which a task's `turn` belongs to, if that run is not over.

    A task in INPUT_REQUIRED with such a message waits in `ask`; without one, its turn ended in `InputRequired`.
    """
    return next((pending for pending in stored if pending.turn <= turn), None)


class Replay:
    """Gives a run the recorded answers, in order.

    Guarantees: an answer is given only to the question that it was the answer to; after one that does not fit, no other
    answer is given.
    """

    __slots__ = ("_asked", "_given", "changed", "is_over", "is_written")

    def __init__(self, asked: Sequence[Asked], *, is_all_written: bool) -> None:
        self._asked = deque(asked)
        self._given = 0
        self.is_over = not self._asked
        """True once all answers were given."""
        self.is_written = is_all_written and not self.is_over
        """True while the log has all that the handler makes. Then the log ends with the last answer."""
        self.changed: Failed | None = None
        """Why the run cannot go on: it asked another question."""

    @property
    def questions(self) -> list[Message]:
        """The questions whose answers were not given yet, in order."""
        return [asked.said[-1] for asked in self._asked if asked.said]

    def answer(self, question: Message) -> tuple[Message, SendMessageRequest]:
        """Return the question as it was asked before, with its answer. Raise Failed if it was not the next one."""
        said, answer = self._asked[0]
        same = [known for known in said if list(known.parts) == list(question.parts)]
        if not same:
            self.changed = Failed(OTHER_QUESTION.format(number=self._given + 1))
            raise self.changed
        self._asked.popleft()
        self._given += 1
        if not self._asked:
            self.is_over, self.is_written = True, False
        return same[-1], answer

    def missing(self) -> Failed:
        """Return the end of a turn whose handler did not come to its next question."""
        return Failed(QUESTION_MISSING.format(number=self._given + 1))


NO_REPLAY = Replay((), is_all_written=False)
"""That of a run that repeats nothing. It does not change."""


def replay_of(
    serialized: bytes, stored: Sequence[Pending], answers: int, is_all_written: bool = True
) -> tuple[Replay, Task]:
    """Return the replay of the last questions of a task, with so many answers; and the task as it was before them.

    The history of that task ends with the message that began the turn. `stored` are the requests in which the answers
    came, by turn, as far as the store has them: the log has the messages alone.
    """
    task = parsed(Task(), serialized)
    requests = [SendMessageRequest.FromString(pending.request) for pending in stored]
    by_id = {request.message.message_id: request for request in requests}
    history = list(task.history)
    places = [place for place, said in enumerate(history) if said.role == ROLE_USER][-(answers + 1) :]
    asked = []
    for before, place in pairwise(places):
        request = by_id.get(history[place].message_id)
        if request is None or request.message != history[place]:
            request = SendMessageRequest(message=history[place])
        asked.append(Asked(history[before + 1 : place], request))
    del task.history[places[0] + 1 :]
    return Replay(asked, is_all_written=is_all_written), task
