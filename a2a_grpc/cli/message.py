"""The options of the verbs that send a message."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from a2a_grpc.cli.content import message_parts, metadata_of
from a2a_grpc.client import SendOptions
from a2a_grpc.config import ConfigurationError
from a2a_grpc.protocol import Key
from a2a_grpc.wire import Part

PANEL = "Message"


class Priority(StrEnum):
    """The priorities of a message."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


Texts = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT", help="Text of the message. '-' reads standard input.", show_default=False),
]
Files = Annotated[
    list[Path] | None,
    typer.Option(
        "-f",
        "--file",
        help="File to send. Its name gives its media type. May be given several times.",
        rich_help_panel=PANEL,
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        "-d",
        "--data",
        metavar="JSON",
        help="Structured data as JSON, or @FILE. May be given several times.",
        rich_help_panel=PANEL,
    ),
]
TaskOption = Annotated[
    str, typer.Option("--task", help="Id of the task to continue.", show_default=False, rich_help_panel=PANEL)
]
Context = Annotated[
    str, typer.Option("--context", help="Conversation of the task (context id).", show_default=False,
                      rich_help_panel=PANEL)
]  # fmt: skip
References = Annotated[
    list[str] | None,
    typer.Option(
        "--reference",
        metavar="TASK",
        help="Id of a task that the message refers to. May be given several times.",
        rich_help_panel=PANEL,
    ),
]
MetadataOption = Annotated[
    list[str] | None,
    typer.Option(
        "-m",
        "--metadata",
        metavar="KEY=VALUE",
        help="Metadata of the request: KEY=VALUE, JSON, or @FILE. 'skill=…' chooses a skill.",
        rich_help_panel=PANEL,
    ),
]
PriorityOption = Annotated[
    Priority | None,
    typer.Option(
        "--priority",
        help="Priority among the tasks that wait at the server; it may refuse 'high'. Without it: 'normal'.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
Accept = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        metavar="MEDIA_TYPE",
        help="Media type that you accept in the answer. May be given several times.",
        rich_help_panel=PANEL,
    ),
]
IdempotencyKey = Annotated[
    str | None,
    typer.Option("--idempotency-key", show_default=False,
                 help="Key of this send. A second send with the same key returns the same task.",
                 rich_help_panel=PANEL),
]  # fmt: skip
CancelOnInterrupt = Annotated[
    bool, typer.Option("--cancel-on-interrupt", help="Let Ctrl-C also cancel the task.", rich_help_panel=PANEL)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The message that a verb sends, with an option for each field."""

    text: Texts = None
    file: Files = None
    data: Data = None
    task: TaskOption = ""
    context: Context = ""
    reference: References = None
    metadata: MetadataOption = None
    priority: PriorityOption = None
    accept: Accept = None
    idempotency_key: IdempotencyKey = None

    def parts(self) -> list[Part]:
        """Return the parts of the message."""
        return message_parts(self.text or [], self.file or [], self.data or [])

    def options(self) -> SendOptions:
        """Return the options of the message, as the client takes them."""
        options = SendOptions(
            task_id=self.task,
            context_id=self.context,
            reference_task_ids=self.reference or [],
            metadata=metadata_of(self.metadata or []),
            accepted_output_modes=self.accept or [],
        )
        if self.priority is not None:
            options["priority"] = self.priority.value
        if (key := self.idempotency_key) is not None:
            if not key or not key.isascii() or not key.isprintable():
                raise ConfigurationError(f"--idempotency-key is '{key}'; it must be printable ASCII, and not empty")
            options["idempotency_key"] = key
        return options

    def headers(self) -> list[tuple[str, str]]:
        """Return the metadata of a send that a grpcurl command needs, too."""
        return [(Key.IDEMPOTENCY, self.idempotency_key)] if self.idempotency_key else []
