"""Tasks and events for a person, or as JSON lines: the answer on standard output, all about it on standard error."""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from google.protobuf import json_format
from google.protobuf.message import Message as ProtobufMessage
from rich.console import Console
from rich.markup import escape

from a2a_grpc import lifecycle
from a2a_grpc.client import Event, progress_of
from a2a_grpc.lifecycle import element_of, state_name
from a2a_grpc.parts import text_of, to_python
from a2a_grpc.wire import (
    ROLE_USER,
    Artifact,
    Message,
    Part,
    Task,
    TaskArtifactUpdateEvent,
    TaskStatus,
    TaskStatusUpdateEvent,
)

if TYPE_CHECKING:
    from rich.progress import Progress

STYLES = {
    lifecycle.SUBMITTED: "dim",
    lifecycle.WORKING: "cyan",
    lifecycle.COMPLETED: "green",
    lifecycle.FAILED: "bold red",
    lifecycle.REJECTED: "bold red",
    lifecycle.CANCELED: "yellow",
    lifecycle.INPUT_REQUIRED: "bold magenta",
    lifecycle.AUTH_REQUIRED: "bold magenta",
}


CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Characters by which a text could move the cursor, colour what follows or rename the window."""


def on_stderr() -> Console:
    """Standard error, where nothing that others have written is wrapped, coloured or made an emoji."""
    return Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)


class Output(Console):
    """Standard output, whose reader may have enough: that is no failure."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Show:
    """Prints for one run of a verb. With `as_json` standard output has one ProtoJSON object a line, nothing else."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.about = on_stderr()
        self._out = Output(soft_wrap=True, highlight=False)
        self._in_line = False
        self._artifact_in_line = ""
        self._progress: Progress | None = None

    # -- standard output

    def line(self, text: str) -> None:
        """A line as it is, whatever the format."""
        print(text, flush=True)  # noqa: T201

    def json(self, message: ProtobufMessage) -> None:
        """One ProtoJSON object on one line."""
        narrow = not sys.stdout.encoding.lower().startswith("utf")
        self.line(json_format.MessageToJson(message, indent=None, ensure_ascii=narrow))

    def styled(self, markup: str) -> None:
        """A line of rich markup, for people."""
        self._out.print(markup)

    def answer(self, reply: Task | Message) -> None:
        """What an agent answered: its contents; then how it ended, on standard error. As JSON: the send's response."""
        if self.as_json:
            return self.json(element_of(reply))
        if isinstance(reply, Message):
            self._contents(reply.parts)
            return self._end_line()
        for artifact in reply.artifacts:
            self._contents(artifact.parts, artifact)
        if not reply.artifacts and reply.status.state == lifecycle.COMPLETED:
            self._contents(reply.status.message.parts)
        self._end_line()
        return self.status(reply.status, reply.id)

    def task(self, task: Task) -> None:
        """A task with its messages, then what it has made, then its state."""
        for message in task.history:
            who = "user" if message.role == ROLE_USER else "agent"
            said = tamed(text_of(message)) or ", ".join(_summary(part) for part in message.parts)
            self.about.print(f"[dim]{who}:[/] {escape(said)}")
        self.answer(task)

    def row(self, task: Task) -> None:
        """A task in a line of a list."""
        changed = task.status.timestamp.ToDatetime().strftime("%Y-%m-%d %H:%M:%S")
        said = tamed(text_of(task.status.message)).splitlines()
        style = STYLES.get(task.status.state, "default")
        state = f"[{style}]{state_name(task.status.state):14}[/]"
        self.styled(f"{escape(task.id)}  {state}  {changed}  {escape(said[0] if said else '')}")

    def event(self, event: Event) -> None:
        """One event of a stream, as it comes."""
        if self.as_json:
            return self.json(element_of(event))
        match event:
            case Task():
                for artifact in event.artifacts:
                    self._contents(artifact.parts, artifact)
                self.status(event.status, event.id)
            case Message():
                self._contents(event.parts)
            case TaskStatusUpdateEvent():
                self.status(event.status, event.task_id)
            case TaskArtifactUpdateEvent():
                self._artifact(event)
        return None

    # -- standard error

    def note(self, text: str) -> None:
        """A remark about what is shown."""
        self._break_line()
        self.about.print(f"[dim]{escape(text)}[/]")

    def status(self, status: TaskStatus, task_id: str) -> None:
        """The state by colour and word, with what the agent says to it."""
        if self.as_json:
            return
        self._break_line()
        said = tamed(text_of(status.message))
        word = f"[{STYLES.get(status.state, '') or 'default'}]{state_name(status.state)}[/]"
        self.about.print(f"{word} [dim]{escape(tamed(task_id))}[/]{' ' + escape(said) if said else ''}")

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While nothing is shown: a sign of life, on a terminal."""
        if self.as_json or not self.about.is_terminal:
            yield
            return
        with self.about.status("[dim]waiting for the agent[/]"):
            yield

    @contextmanager
    def following(self) -> Iterator[None]:
        """While events are shown: a bar for reported progress, on a terminal."""
        try:
            yield
        finally:
            self._end_line()
            self._end_bar()

    def _artifact(self, event: TaskArtifactUpdateEvent) -> None:
        progress = progress_of(event)
        if progress is None:
            if not event.append:
                self._end_line()
            self._contents(event.artifact.parts, event.artifact)
        elif self.about.is_terminal:
            self._bar(event.artifact.name or event.artifact.artifact_id, progress)
        else:
            self._break_line()
            self.about.print(f"{escape(tamed(event.artifact.name or event.artifact.artifact_id))} {progress:.0%}")

    def _bar(self, name: str, progress: float) -> None:
        name = tamed(name)
        if self._progress is None:
            # most runs have no bar, and need not wait for this
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

            self._break_line()
            words = TextColumn("{task.description}", markup=False)
            self._progress = Progress(
                words,
                BarColumn(),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                console=self.about,
                transient=True,
                redirect_stdout=False,  # standard output is the agent's answer, wherever it goes
                redirect_stderr=False,
            )
            self._progress.start()
            self._progress.add_task(name, total=1.0)
        self._progress.update(self._progress.task_ids[0], completed=progress, description=name)

    def _contents(self, parts: Iterable[Part], artifact: Artifact | None = None) -> None:
        if self._out.is_terminal:
            self._end_bar()
        name = artifact.artifact_id if artifact else ""
        if name != self._artifact_in_line:
            self._end_line()
        self._artifact_in_line = name
        for part in parts:
            match part.WhichOneof("content"):
                case "text" if part.text:
                    sys.stdout.write(self._tame(part.text))
                    sys.stdout.flush()
                    self._in_line = not part.text.endswith("\n")
                case "data":
                    self._end_line()
                    self.line(self._tame(json.dumps(to_python(part.data), ensure_ascii=False)))
                case "raw" | "url":
                    self._end_line()
                    self.line(self._tame(describe_file(part, artifact)))

    def _end_bar(self) -> None:
        """Before text comes to the terminal."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _break_line(self) -> None:
        """Before something is told on standard error: at a terminal both share the line."""
        if self._out.is_terminal:
            self._end_line()

    def _tame(self, text: str) -> str:
        """An agent's text as it is, but on a terminal, which it is not to control."""
        return tamed(text) if self._out.is_terminal else text

    def _end_line(self) -> None:
        if self._in_line:
            self._in_line = False
            self.line("")


def tamed(text: str) -> str:
    """A text whose control characters, but for line ends and tabs, are told instead of sent."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def _summary(part: Part) -> str:
    """Any part in a few words."""
    match part.WhichOneof("content"):
        case "text":
            return part.text
        case "data":
            return json.dumps(to_python(part.data), ensure_ascii=False)
    return describe_file(part)


def describe_file(part: Part, artifact: Artifact | None = None) -> str:
    """A file in a line: its name, type, and size or address."""
    name = part.filename or (artifact.name if artifact else "") or "file"
    where = part.url if part.WhichOneof("content") == "url" else f"{len(part.raw)} bytes"
    return f"[{name}{f', {part.media_type}' if part.media_type else ''}, {where}]"
