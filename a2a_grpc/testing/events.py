"""Assertions about tasks and their events."""

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from types import EllipsisType
from typing import TypeAlias, cast

from a2a_grpc import lifecycle
from a2a_grpc.client import Event, TaskStream
from a2a_grpc.lifecycle import state_name
from a2a_grpc.parts import text_of, to_python
from a2a_grpc.wire import (
    Artifact,
    Message,
    Part,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatusUpdateEvent,
)

Expected: TypeAlias = str | re.Pattern[str]
"""A text that has to be equal, or a pattern that has to be found."""


def assert_state(subject: Task | TaskStream | Event, state: TaskState | str, text: Expected | None = None) -> None:
    """Raise AssertionError unless a task is in a state, and says a text.

    Example:
        assert_state(await client.send("a table"), "INPUT_REQUIRED", "Which date?")

    Args:
        subject: The task; a stream, for the task as of its last event; or an event that has a state.
        state: The state, such as "COMPLETED" or `TaskState.TASK_STATE_COMPLETED`.
        text: The text that a person reads: the results of a task that is COMPLETED, otherwise the message of its
            status. A pattern of `re` has to be found in it. None for any text.

    Raises:
        AssertionError: The task is in another state, or says another text. The message names both.
        ValueError: There is no such state.
    """
    wanted = _name_of(state)
    if isinstance(subject, TaskStream):
        told: Task | Event | None = subject.task
        if told is None:
            raise AssertionError(f"the stream has had no event yet, so its task is not {wanted}")
        subject = told
    if isinstance(subject, Message):
        raise AssertionError(f"there is no task that could be {wanted}: the agent answered {text_of(subject)!r}")
    if isinstance(subject, TaskArtifactUpdateEvent):
        raise AssertionError(f"an event that brings a result has no state, so it is not {wanted}: {described(subject)}")
    task_id = subject.id if isinstance(subject, Task) else subject.task_id
    found, said = state_name(subject.status.state), _said(subject)
    if found != wanted:
        raise AssertionError(f"task '{task_id}' is {found}, not {wanted}" + (f"; it says {said!r}" if said else ""))
    if text is not None and not _fits(text, said):
        raise AssertionError(f"task '{task_id}' is {found}, but says something else:\n{_difference(text, said)}")


def assert_events(events: Sequence[Event], *expected: Expected | EllipsisType) -> None:
    """Raise AssertionError unless events are the expected ones, in their order.

    Events are compared as `described` tells them. Artifact updates without content, as at the end of a stream, do not
    count. The state SUBMITTED of a new task counts, as each other event.

    Example:
        events = await collect(client.stream("Ada"))
        assert_events(events, "SUBMITTED", "WORKING", "artifact: Hello, Ada!", ..., "COMPLETED")

    Args:
        events: The events, as `collect` returns them.
        *expected: A text or a pattern for each event. `...` stands for any number of events.

    Raises:
        AssertionError: Other events came. The message has a line for each event, and marks the differences.
    """
    lines = [line for event in events if (line := described(event))]
    fitting, met = _prefix(lines, expected)
    if met == len(expected) and fitting == len(lines):
        return
    task_id = next((_task_of(event) for event in events if _task_of(event)), "")
    about = f"the events of task '{task_id}'" if task_id else "the events"
    shown = [*lines[:fitting], *("…" if one is ... else _shown(one) for one in expected[met:])]
    difference = "\n".join(difflib.ndiff(shown, lines))
    raise AssertionError(f"{about} are not the expected ones (- expected, + came):\n{difference}")


async def collect(stream: TaskStream) -> list[Event]:
    """Read a stream until its task has ended or waits for its user. Return the events, and close the stream.

    Args:
        stream: What `Client.stream` or `Client.subscribe` returns.
    """
    events = []
    async with stream:
        async for event in stream:
            events.append(event)
            if stream.is_paused:
                break
    return events


def described(event: Event) -> str:
    """Return an event as one line: its state with the text, or the content that it adds.

    Examples are `WORKING`, `WORKING Reading 2 lines`, `artifact: Hello`, `artifact: {"progress": 0.5}`,
    `artifact: file notes.txt (120 bytes)`, and `message: Hello` for an answer without a task. A first event that is the
    task itself has its state. White space at the end is left out. The line is empty for an artifact update without
    content.

    Args:
        event: The event.
    """
    match event:
        case Message():
            return f"message: {_contents(event)}"
        case TaskArtifactUpdateEvent():
            contents = _contents(event.artifact)
            return f"artifact: {contents}" if contents else ""
    said = text_of(event.status.message)
    return f"{state_name(event.status.state)} {said}".rstrip(" ")


def _name_of(state: TaskState | str) -> str:
    """Return the name of a state without its prefix."""
    name = state.removeprefix("TASK_STATE_") if isinstance(state, str) else state_name(state)
    known = [key.removeprefix("TASK_STATE_") for key in TaskState.keys()[1:]]
    if name not in known:
        raise ValueError(f"state is {state!r}; it must be one of {', '.join(known)}")
    return name


def _said(subject: Task | TaskStatusUpdateEvent) -> str:
    is_result = isinstance(subject, Task) and subject.status.state == lifecycle.COMPLETED
    return text_of(cast(Task, subject)) if is_result else text_of(subject.status.message)


def _task_of(event: Event) -> str:
    return event.id if isinstance(event, Task) else event.task_id


def _fits(expected: Expected, said: str) -> bool:
    return expected == said if isinstance(expected, str) else expected.search(said) is not None


def _shown(expected: Expected) -> str:
    return expected if isinstance(expected, str) else f"/{expected.pattern}/"


def _difference(expected: Expected, said: str) -> str:
    if isinstance(expected, re.Pattern):
        return f"the pattern {expected.pattern!r} is not in {said!r}"
    return "\n".join(line.rstrip("\n") for line in difflib.ndiff(expected.splitlines(), said.splitlines()))


def _prefix(lines: Sequence[str], expected: Sequence[Expected | EllipsisType]) -> tuple[int, int]:
    """Return how many lines fit as many expectations as possible, and how many expectations these are."""
    fitting = {0}  # the numbers of lines that the expectations so far can stand for
    for met, one in enumerate(expected):
        if one is ...:
            further = set(range(min(fitting), len(lines) + 1))
        else:
            further = {at + 1 for at in fitting if at < len(lines) and _fits(one, lines[at])}
        if not further:
            return max(fitting), met
        fitting = further
    return max(fitting), len(expected)


def _contents(holder: Message | Artifact) -> str:
    """Return the parts of a message or an artifact: texts as they are, the rest in a few words."""
    return " ".join(_parts(holder.parts)).rstrip()


def _parts(parts: Sequence[Part]) -> Iterator[str]:
    for part in parts:
        match part.WhichOneof("content"):
            case "text" if part.text:
                yield part.text
            case "data":
                yield json.dumps(to_python(part.data), ensure_ascii=False)
            case "raw":
                yield f"file {part.filename or 'without a name'} ({len(part.raw):,} bytes)"
            case "url":
                yield f"file {part.url}"
