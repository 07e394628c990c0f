"""The steps of a stream that goes on over lost connections, as a table: what may happen in each, and what comes next.

    CONNECT   no call is open            ──▶ OPEN, or after an error WAIT, LOOK, CONNECT
    OPEN      a call has begun           ──▶ READ, WAIT, or after an error LOOK, RENEW, CONNECT
    READ      the call gives elements    ──▶ READ, CHECK, PART, WAIT, STOP, or after an error as from OPEN
    CHECK     an element is held back    ──▶ READ, PART, WAIT, CONNECT, STOP, or after an error as from OPEN
    LOOK      no call can follow         ──▶ WAIT, STOP
    WAIT      the connection is lost     ──▶ CONNECT, STOP
    ASK       a send may have arrived    ──▶ CONNECT, STOP
    RENEW     the credentials are void   ──▶ CONNECT, WAIT, STOP
    PART      the task has ended         ──▶ STOP
    STOP      the stream has ended       ──▶ nothing

A step says what the reader of the stream has to do. What then happens is one of `Happening`. Every step ends in STOP if
its error is raised, or if the stream is closed. If the caller cancels a read, the stream goes on after the last event,
from CONNECT. It goes on from ASK if the agent may have got a message that it has not answered.
"""

from enum import StrEnum


class Step(StrEnum):
    """What a stream does next."""

    CONNECT = "begin a call: the send, or a subscription after the last event"
    OPEN = "wait for the initial metadata of the call"
    READ = "read the next element of the call"
    CHECK = "read the task, without which the last element cannot be applied"
    LOOK = "read the task, since the agent does not let the client follow the task"
    WAIT = "wait until the next try"
    ASK = "find out if the message can be sent again without making a second task"
    RENEW = "get other credentials"
    PART = "read the end of the call, after the last event of the task"
    STOP = "nothing"


class Happening(StrEnum):
    """What the reader of a stream reports of a step."""

    BEGUN = "a call has begun"
    METADATA = "the initial metadata of the call has come"
    ELEMENT = "an element has come"
    END = "the call has ended with OK"
    ERROR = "the step has failed"
    TASK = "the task was read"
    WAITED = "the next try may be made, or must not be made"
    RENEWED = "there are other credentials"
    CANCELED = "the caller has canceled its read"


_AFTER_ERROR = frozenset({Step.CONNECT, Step.WAIT, Step.LOOK, Step.RENEW, Step.STOP})

NEXT: dict[Step, dict[Happening, frozenset[Step]]] = {
    Step.CONNECT: {
        Happening.BEGUN: frozenset({Step.OPEN}),
        Happening.ERROR: _AFTER_ERROR - {Step.RENEW},  # no call has shown credentials yet
        Happening.CANCELED: frozenset({Step.CONNECT}),
    },
    Step.OPEN: {
        Happening.METADATA: frozenset({Step.READ, Step.WAIT}),
        Happening.ERROR: _AFTER_ERROR,
        Happening.CANCELED: frozenset({Step.CONNECT, Step.ASK}),
    },
    Step.READ: {
        Happening.ELEMENT: frozenset({Step.READ, Step.CHECK, Step.PART, Step.WAIT, Step.STOP}),
        Happening.END: frozenset({Step.CHECK, Step.WAIT, Step.STOP}),
        Happening.ERROR: _AFTER_ERROR,
        Happening.CANCELED: frozenset({Step.CONNECT, Step.ASK, Step.STOP}),
    },
    Step.CHECK: {
        Happening.TASK: frozenset({Step.READ, Step.PART, Step.WAIT, Step.CONNECT, Step.STOP}),
        Happening.ERROR: _AFTER_ERROR | {Step.READ, Step.PART},
        Happening.CANCELED: frozenset({Step.CONNECT}),
    },
    Step.LOOK: {
        Happening.TASK: frozenset({Step.WAIT, Step.STOP}),
        Happening.ERROR: frozenset({Step.WAIT, Step.STOP}),
        Happening.CANCELED: frozenset({Step.CONNECT, Step.STOP}),
    },
    Step.WAIT: {
        Happening.WAITED: frozenset({Step.CONNECT, Step.STOP}),
        Happening.ERROR: frozenset({Step.STOP}),
        Happening.CANCELED: frozenset({Step.WAIT}),
    },
    Step.ASK: {
        Happening.WAITED: frozenset({Step.CONNECT, Step.STOP}),
        Happening.ERROR: frozenset({Step.STOP}),
        Happening.CANCELED: frozenset({Step.ASK}),
    },
    Step.RENEW: {
        Happening.RENEWED: frozenset({Step.CONNECT, Step.STOP}),
        Happening.ERROR: frozenset({Step.WAIT, Step.STOP}),
        Happening.CANCELED: frozenset({Step.CONNECT, Step.STOP}),
    },
    Step.PART: {
        Happening.ELEMENT: frozenset({Step.STOP}),
        Happening.END: frozenset({Step.STOP}),
        Happening.ERROR: frozenset({Step.STOP}),
        Happening.CANCELED: frozenset({Step.PART}),
    },
    Step.STOP: dict.fromkeys(Happening, frozenset({Step.STOP})),
}
"""The steps that may follow each step, by what has happened. What has no entry cannot happen in the step."""

WITH_CALL = frozenset({Step.OPEN, Step.READ, Step.CHECK, Step.PART})
"""The steps in which a call may be open. Before all others the call is ended."""


class ImpossibleStep(RuntimeError):
    """A report that does not belong to the step, or a step that may not follow."""


def check(step: Step, happening: Happening, after: Step) -> None:
    """Raise ImpossibleStep unless a step may follow another one after this has happened."""
    if after not in NEXT[step].get(happening, frozenset()):
        raise ImpossibleStep(f"'{after.name}' cannot follow '{step.name}' after {happening.name}")
