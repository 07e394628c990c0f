"""The states of a run as a table: what may happen in each, and which state follows.

    WAITING    the run needs a place           ──▶ PLAYING, ENDING
    PLAYING    the handler is at work          ──▶ ASKING, ENDING
    ASKING     a question waits for an answer  ──▶ ANSWERING, PLAYING, ENDING
    ANSWERING  the answer is being stored      ──▶ WAITING, ASKING, PLAYING, ENDING
    ENDING     the handler has ended           ──▶ OVER
    OVER       the end of the turn is stored   ──▶ nothing
    LOST       another replica has the task    ──▶ nothing

A run begins in WAITING. Each state can become LOST, and LOST never ends. In ENDING, OVER and LOST the run is closed:
the handler cannot write any more. To stop a run does not change its state. The handler of a stopped run may write until
it has ended.
"""

from enum import StrEnum


class State(StrEnum):
    """What a run is doing. The values are the names, which observers get."""

    WAITING = "WAITING"
    """Waits for a place, before the handler begins or goes on after an answer."""
    PLAYING = "PLAYING"
    """Runs the handler."""
    ASKING = "ASKING"
    """Waits in `ask` for an answer."""
    ANSWERING = "ANSWERING"
    """Stores the answer."""
    ENDING = "ENDING"
    """Stores the end of the turn, after the handler has ended."""
    OVER = "OVER"
    """Has stored the end of the turn."""
    LOST = "LOST"
    """Has lost its task to another replica."""


class Event(StrEnum):
    """What happens to a run."""

    PLACED = "PLACED"
    """The run has a place."""
    ASKED = "ASKED"
    """The question of the handler is stored."""
    TAKEN = "TAKEN"
    """A message has come that is the answer."""
    REFUSED = "REFUSED"
    """The answer could not be stored."""
    ANSWERED = "ANSWERED"
    """The answer is stored."""
    WITHDRAWN = "WITHDRAWN"
    """The handler does not wait in `ask` any more, and has no answer."""
    STOPPED = "STOPPED"
    """The run has to stop."""
    ENDED = "ENDED"
    """The handler has ended."""
    STORED = "STORED"
    """The end of the turn is stored."""
    LOSE = "LOSE"
    """Another replica has the task, or takes it."""


NEXT: dict[State, dict[Event, State]] = {
    State.WAITING: {
        Event.PLACED: State.PLAYING,
        Event.WITHDRAWN: State.PLAYING,  # without a place: the wait for it was canceled after an answer
        Event.STOPPED: State.WAITING,
        Event.ENDED: State.ENDING,
        Event.LOSE: State.LOST,
    },
    State.PLAYING: {
        Event.ASKED: State.ASKING,
        Event.STOPPED: State.PLAYING,
        Event.ENDED: State.ENDING,
        Event.LOSE: State.LOST,
    },
    State.ASKING: {
        Event.TAKEN: State.ANSWERING,
        Event.WITHDRAWN: State.PLAYING,
        Event.STOPPED: State.ASKING,
        Event.ENDED: State.ENDING,  # a task that the handler began may ask, and outlive the handler
        Event.LOSE: State.LOST,
    },
    State.ANSWERING: {
        Event.ANSWERED: State.WAITING,
        Event.REFUSED: State.ASKING,
        Event.WITHDRAWN: State.PLAYING,
        Event.STOPPED: State.ANSWERING,
        Event.ENDED: State.ENDING,
        Event.LOSE: State.LOST,
    },
    State.ENDING: {
        Event.STORED: State.OVER,
        Event.LOSE: State.LOST,
    },
    State.OVER: {
        Event.LOSE: State.LOST,  # the turn is over, but the task has more of them
    },
    State.LOST: {
        Event.ENDED: State.LOST,
        Event.STORED: State.LOST,  # before it was known that the task is lost
        Event.LOSE: State.LOST,
    },
}
"""The state that follows each state, by what happens. What has no entry cannot happen in the state."""

CLOSED = frozenset({State.ENDING, State.OVER, State.LOST})
"""The states in which the handler can write nothing more."""


class IllegalEvent(RuntimeError):
    """An event that cannot happen in the present state of a run."""


def after(state: State, event: Event) -> State:
    """Return the state that follows a state after an event. Raise IllegalEvent if the table has no entry for both."""
    found = NEXT[state].get(event)
    if found is None:
        raise IllegalEvent(f"{event} cannot happen to a run in {state}")
    return found
