"""Read and check the lines of an export."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError

from a2a_grpc.config import ConfigurationError
from a2a_grpc.lifecycle import TERMINAL, IllegalTransition, fold
from a2a_grpc.store.sql.keys import digest_of
from a2a_grpc.store.sql.schema import SNAPSHOT_PARTS
from a2a_grpc.store.sql.upkeep.export import FORMAT
from a2a_grpc.store.sql.upkeep.rows import PARTS, RowError, from_json
from a2a_grpc.store.values import Record, Scope, TaskKey
from a2a_grpc.wire import SendMessageRequest, Task, TaskPushNotificationConfig

Row = dict[str, Any]


@dataclass(slots=True)
class Imported:
    """A task of an export.

    Attributes:
        row: The row of the task.
        line: The number of the first line of the task, from 1 on.
        parts: The rows of its parts, by their kinds, in the order of the lines.
    """

    row: Row
    line: int
    parts: dict[str, list[Row]] = field(default_factory=lambda: {kind: [] for kind in PARTS})

    @property
    def key(self) -> TaskKey:
        return TaskKey(self.row["tenant"], self.row["owner"], self.row["id"])


@dataclass(slots=True)
class Export:
    """What an export says of itself.

    Attributes:
        agent: The name of the agent whose tasks these are; "" if there is none.
        tasks: The number of tasks that were read.
        is_whole: True once the last line was read.
    """

    agent: str = ""
    tasks: int = 0
    is_whole: bool = False


def read_export(lines: Iterable[bytes], export: Export) -> Iterator[Imported | Row]:
    """Yield the tasks of an export, each checked, and then its idempotency keys.

    A task that was deleted while it was exported is left out.

    Args:
        lines: The lines.
        export: Takes the facts of the first and the last line.

    Raises:
        ConfigurationError: A line is wrong. The text has its number.
    """
    task: Imported | None = None
    number = 0
    for number, line in enumerate(lines, 1):
        try:
            kind, said = _parsed(line)
            if number == 1:
                export.agent = _begun(kind, said)
            elif export.is_whole:
                raise RowError("it comes after the last line of the export")
            elif kind in ("task", "binding") and task is not None:
                raise RowError("the task before it has no end")
            elif kind == "task":
                task = Imported(from_json(kind, said), number)
            elif kind == "binding":
                yield from_json(kind, said)
            elif kind == "done":
                export.is_whole = task is None and said == {"tasks": export.tasks}
                if not export.is_whole:
                    raise RowError(f"the export says {said}, but {export.tasks} tasks were read")
            elif task is None:
                raise RowError(f"'{kind}' belongs to no task")
            elif kind == "purged":
                task = None
            elif kind == "end":
                check(task)
                export.tasks += 1
                yield task
                task = None
            else:
                _add(task, kind, said)
        except RowError as error:
            raise ConfigurationError(f"line {number} of the export is wrong: {error}") from None
    if not export.is_whole:
        raise ConfigurationError(f"the export ends after line {number}, before its last line; export the tasks again")


def _parsed(line: bytes) -> tuple[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        raise RowError("it is not JSON") from None
    if not isinstance(found, dict) or len(found) != 1:
        raise RowError("it is not an object with one field")
    return next(iter(found.items()))


def _begun(kind: str, said: Any) -> str:
    """Return the name of the agent in the first line."""
    if kind != "a2a_grpc" or not isinstance(said, dict):
        raise RowError("an export begins with the field 'a2a_grpc'; is this a file of 'a2a-grpc db export'?")
    if said.get("format") != FORMAT:
        raise RowError(f"the format is {said.get('format')}, and this version reads {FORMAT}")
    if not isinstance(name := said.get("agent"), str):
        raise RowError("'a2a_grpc.agent' must be a text")
    return name


def _add(task: Imported, kind: str, said: Any) -> None:
    if kind not in PARTS or (kind == "snapshot" and task.parts[kind]):
        raise RowError(f"'{kind}' is not known here")
    more = {}
    if kind == "push" and isinstance(said, dict):
        more = {"lacks_secrets": bool(said.pop("lacks_secrets", False))}
        said = {"secrets": "", **said}
    task.parts[kind].append({**from_json(kind, said), **more})


def check(task: Imported) -> None:
    """Check that the parts of a task fit each other, and that its log can be folded.

    Raises:
        RowError: They do not.
    """
    row, records, notes = task.row, task.parts["record"], task.parts["note"]
    name = f"task '{row['id']}'"
    if row["scope"] != digest_of(Scope(row["tenant"], row["owner"])):
        raise RowError(f"{name}: 'scope' does not fit its tenant and owner")
    if [record["seq"] for record in records] != list(range(1, row["seq"] + 1)) or not records:
        raise RowError(f"{name} has {len(records)} records, and its row says {row['seq']}")
    size = sum(len(record["event"]) + len(record["message"] or b"") for record in records)
    newest = records[-1]
    if (row["size"], row["state"], row["turn"]) != (size, newest["state"], newest["turn"]):
        raise RowError(f"{name}: its row does not fit its records")
    if (row["ended_us"] is not None) != (row["state"] in TERMINAL):
        raise RowError(f"{name}: 'ended_us' does not fit its state")
    if len({(each["turn"], each["name"]) for each in notes}) != len(notes):
        raise RowError(f"{name}: two notes have the same turn and name")
    try:
        _check_messages(task)
    except (DecodeError, IllegalTransition, ValueError) as error:
        raise RowError(f"{name} cannot be read: {error}") from None


def _check_messages(task: Imported) -> None:
    row = task.row
    steps = [_record_of(record).unpack() for record in task.parts["record"]]
    first = steps[0][0]
    if not first.HasField("task") or (first.task.id, first.task.context_id) != (row["id"], row["context_id"]):
        raise ValueError("the first record is not the task")
    folded = fold(first.task, steps[1:])
    if folded.status.state != row["state"]:
        raise ValueError("the state of the folded records is another one")
    for snapshot in task.parts["snapshot"]:
        pieces = (snapshot[column.name] or b"" for column in SNAPSHOT_PARTS)
        if snapshot["seq"] > row["seq"] or Task.FromString(b"".join(pieces)).id != row["id"]:
            raise ValueError("the snapshot does not fit the task")
    for message in task.parts["pending"]:
        SendMessageRequest.FromString(message["request"])
    for push in task.parts["push"]:
        TaskPushNotificationConfig.FromString(push["config"])


def _record_of(row: Row) -> Record:
    return Record(row["seq"], row["event"], row["state"], row["turn"], row["at_us"], row["message"] or b"")
