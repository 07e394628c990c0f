"""Printing tasks and events, as text or JSON. The answer goes to standard output, all else to standard error."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from google.protobuf import json_format
from google.protobuf.message import Message as ProtobufMessage

from a2a_grpc import lifecycle
from a2a_grpc.cli.described import describe_file, json_of_data, said_in
from a2a_grpc.cli.output import Output
from a2a_grpc.cli.progress import ProgressBar
from a2a_grpc.cli.screen import Guarded, Piece, Screen, errors
from a2a_grpc.client import Event
from a2a_grpc.client.pieces import Pieces, progress_in
from a2a_grpc.errors import InvalidAgentResponseError
from a2a_grpc.harmless import block, flat, harmless_json, one_line
from a2a_grpc.lifecycle import element_of, state_name
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

NAME_MAX = 60
"""The number of characters of a name next to a progress bar."""


class Show:
    """The output of one run of a verb. With `as_json` standard output has one ProtoJSON object a line, nothing else."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.about = Screen.of_stderr()
        self.out = Screen.of_stdout()
        self._pieces = Pieces()
        self._is_narrow = isinstance(sys.stdout, Output) and sys.stdout.is_narrow
        self._in_line = False
        self._artifact_in_line = ""
        self._bar = ProgressBar(self.about)
        self._done: dict[str, float] = {}
        """The progress of each artifact that was shown last."""

    def hide(self, secrets: Iterable[str]) -> None:
        """Mask these texts wherever they occur in the output on standard error."""
        errors().hide(secrets)

    def masked(self, text: str) -> str:
        """Return the text with its secrets masked, as they are on standard error."""
        return errors().masked(text)

    # -- standard output

    def line(self, text: str) -> None:
        """Print a line in any format. At a terminal, `screen` escapes control characters; a pipe gets them as is."""
        print(text, flush=True)  # noqa: T201

    def json_line(self, text: str) -> None:
        """Print a line of JSON. At a terminal, escape control characters inside its strings; the values stay equal."""
        self.line(harmless_json(text) if isinstance(sys.stdout, Guarded) else text)

    def json_value(self, value: object) -> None:
        """Print a value as a line of JSON."""
        self.json_line(json.dumps(value, ensure_ascii=self._is_narrow))

    def json(self, message: ProtobufMessage) -> None:
        """Print one ProtoJSON object on one line. Raise InvalidAgentResponseError if JSON has no such value."""
        try:
            text = json_format.MessageToJson(message, indent=None, ensure_ascii=self._is_narrow)
        except (json_format.Error, ValueError, TypeError, OverflowError, RecursionError) as error:
            kind = message.DESCRIPTOR.name
            raise InvalidAgentResponseError(f"the agent sent a {kind} that JSON cannot express: {error}") from error
        self.json_line(text)

    def fields(self, *pieces: Piece) -> None:
        """Print texts as one line, for people. Styles, and the cutting of long texts, are for terminals only."""
        if self.out.is_terminal:
            cut = (one_line(piece) if isinstance(piece, str) else (one_line(piece[0]), piece[1]) for piece in pieces)
            return self.out.say(*cut)
        return self.line("".join(flat(piece if isinstance(piece, str) else piece[0]) for piece in pieces))

    def answer(self, reply: Task | Message) -> None:
        """Print the contents of an answer, and the state of its task on standard error. As JSON, print the response."""
        if self.as_json:
            return self.json(element_of(reply))
        if isinstance(reply, Message):
            self._contents(reply.parts)
            return self._end_line()
        for artifact, parts in Pieces().parts(reply):
            if artifact is None or not self.progress(artifact):
                self._contents(parts, artifact)
        self._end_line()
        return self.status(reply.status, reply.id)

    def task(self, task: Task) -> None:
        """Print the messages of a task, then its artifacts, then its state. As JSON, print the task."""
        if self.as_json:
            return self.json(task)
        for message in task.history:
            who = "user" if message.role == ROLE_USER else "agent"
            self.about.say((f"{who}:", "dim"), " ", block(said_in(message.parts, with_data=True)))
        return self.answer(task)

    def begin(self) -> None:
        """Forget what was shown. Call this before the events of another task."""
        self._pieces = Pieces()
        self._done.clear()

    def said(self, parts: Iterable[Part]) -> None:
        """Print the parts of a message on standard output."""
        self._end_line()
        self._contents(parts)
        self._end_line()

    def event(self, event: Event, *, with_state: bool = True) -> None:
        """Print one event of a stream. `with_state` prints the state of the task as well."""
        if self.as_json:
            return self.json(element_of(event))
        is_whole = isinstance(event, TaskArtifactUpdateEvent) and not event.append
        for artifact, parts in self._pieces.parts(event):
            if artifact is not None and self.progress(artifact):
                continue
            if is_whole and artifact and parts == list(artifact.parts):
                self._end_line()  # these parts do not continue the text of the line
            self._contents(parts, artifact)
        match event:
            case Task() if with_state:
                self.status(event.status, event.id)
            case TaskStatusUpdateEvent() if with_state:
                self.status(event.status, event.task_id)
        return None

    # -- standard error

    def note(self, text: str) -> None:
        """Print a remark on standard error."""
        self._break_line()
        self.about.say(one_line(text), style="dim")

    def status(self, status: TaskStatus, task_id: str) -> None:
        """Print the state of a task, in its colour, with the message of the agent."""
        if self.as_json:
            return
        self._break_line()
        said = said_in(status.message.parts)
        word = (state_name(status.state), STYLES.get(status.state, ""))
        self.about.say(word, " ", (one_line(task_id), "dim"), f" {block(said)}" if said else "")

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Show a spinner on a terminal while the block runs and nothing else is shown."""
        if self.as_json or not self.about.is_terminal:
            yield
            return
        with self._bar.waiting():
            yield

    @contextmanager
    def following(self) -> Iterator[None]:
        """Show a bar for reported progress on a terminal while the block prints events."""
        try:
            yield
        finally:
            self._end_line()
            self._bar.end()

    def progress(self, artifact: Artifact) -> bool:
        """Show the progress that an artifact reports on standard error. Return True if it reports progress."""
        done = progress_in(artifact)
        if done is None or len(artifact.parts) > 1:  # parts in addition to the progress belong to the answer
            return False
        if self.as_json or self._done.get(artifact.artifact_id) == done:
            return True
        self._done[artifact.artifact_id] = done
        name = artifact.name or artifact.artifact_id
        self._break_line()
        if self.about.is_terminal:
            self._bar.show(one_line(name, NAME_MAX), done)
        else:
            self.about.say(one_line(name), f" {done:.0%}")
        return True

    def _contents(self, parts: Iterable[Part], artifact: Artifact | None = None) -> None:
        if self.out.is_terminal:
            self._bar.end()
        name = artifact.artifact_id if artifact else ""
        if name != self._artifact_in_line:
            self._end_line()
        self._artifact_in_line = name
        for part in parts:
            match part.WhichOneof("content"):
                case "text" if part.text:
                    sys.stdout.write(part.text)
                    sys.stdout.flush()
                    self._in_line = not part.text.endswith("\n")
                case "data":
                    self._end_line()
                    self.json_line(json_of_data(part, is_narrow=self._is_narrow))
                case "raw" | "url":
                    self._end_line()
                    self.fields(describe_file(part, artifact))

    def _break_line(self) -> None:
        """End the line on standard output before standard error is written, if both share a terminal."""
        if self.out.is_terminal:
            self._end_line()

    def _end_line(self) -> None:
        if self._in_line:
            self._in_line = False
            self.line("")
