"""Reading the parts of tasks that a view names, and pages of a list, inside a transaction."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import Column, Connection, Select

from a2a_grpc.store.growing import folded
from a2a_grpc.store.sql.keys import name_of, padded
from a2a_grpc.store.sql.schema import SNAPSHOT_PARTS
from a2a_grpc.store.sql.snapshots import record_of
from a2a_grpc.store.sql.sqlite import whole
from a2a_grpc.store.sql.statements import lists, records, tasks
from a2a_grpc.store.values import WHOLE, ListFilter, Position, Record, Scope, Snapshot, TaskKey, TaskView
from a2a_grpc.store.views import cost_of, cut, recent, size_of
from a2a_grpc.wire import TaskState


class Entry(NamedTuple):
    """What the row of a task says of it.

    Attributes:
        pk: The number of the task.
        position: The place of the task in lists.
        seq: The newest seq.
        state: The state of the task.
        turn: The turn of the newest record.
        size: The size of all records, in bytes. The task is not larger.
        core_size: The size of the core, in bytes; None if the core is not stored. Then the number of messages of each
            record is not stored either.
    """

    pk: int
    position: Position
    seq: int
    state: TaskState
    turn: int
    size: int
    core_size: int | None


Recall: TypeAlias = Callable[[str], Snapshot | None]
"""A function that returns a snapshot that is in memory, by the id of its task."""
Places: TypeAlias = dict[int, list[tuple[int, int, int]]]
"""Records by the number of their task, each as its seq, the size of its event, and the size of its message."""


@dataclass(slots=True)
class Parts:
    """What was read of one task.

    Attributes:
        entry: The row of the task.
        view: The parts to read.
        is_whole: True if all parts were read, also those that the view does not name.
        start: A snapshot of the task, if there is one.
        records: The records after the snapshot that the view needs.
        core: The core of the task. If it is given, there is no snapshot, and the records are those with the last
            messages.
    """

    entry: Entry
    view: TaskView
    is_whole: bool = False
    start: bytes = b""
    records: list[Record] = field(default_factory=list)
    core: bytes | None = None

    @property
    def is_light(self) -> bool:
        """True if the task is read as its core and its last records, because only so many messages are asked for."""
        return not self.is_whole and self.view.history_length is not None and self.entry.core_size is not None

    @property
    def cost(self) -> int:
        """How much work it is to fold the task, in bytes."""
        return len(self.start) + cost_of(self.records)

    def whole(self) -> Snapshot:
        """Return the task with all that was read."""
        entry = self.entry
        if self.core is not None:
            made = recent(self.core, self.records, self.view.history_length or 0)
        else:
            made = folded([self.start], self.records) if self.records else self.start
        return Snapshot(entry.seq, made, entry.state, entry.turn)

    def seen(self, whole: Snapshot) -> Snapshot:
        """Return the task with the parts that the view names."""
        is_cut = self.core is not None or not (self.is_whole or self.view.history_length is not None)
        return whole if is_cut else whole._replace(task=cut(whole.task, self.view))


def parts_of_one(connection: Connection, key: TaskKey, view: TaskView, recall: Recall) -> Parts | None:
    """Return the parts of one task; None for an unknown one."""
    found = connection.execute(lists.ENTRY, name_of(key)).one_or_none()
    return read_parts(connection, [_entry(found)], view, recall)[0] if found is not None else None


def page(
    connection: Connection,
    scope: Scope,
    where: ListFilter,
    after: Position | None,
    limit: int,
    view: TaskView,
    max_bytes: int | None,
    recall: Recall,
) -> tuple[list[Parts], int, bool]:
    """Return the parts of the tasks of a page, the number of tasks on all pages, and whether more follow.

    `recall` is asked for each task before the database.
    """
    total: int = connection.scalars(lists.count_statement(scope, where)).one()
    entries = [_entry(found) for found in connection.execute(lists.page_statement(scope, where, after, limit))]
    chosen = entries[:limit]
    parts = read_parts(connection, chosen, view, recall, max_bytes) if chosen else []
    return parts, total, len(entries) > len(parts)


def _entry(found: Any) -> Entry:
    pk, at_us, id, *rest = found
    return Entry(pk, Position(at_us, id), *rest)


def read_parts(
    connection: Connection, entries: Sequence[Entry], view: TaskView, recall: Recall, max_bytes: int | None = None
) -> list[Parts]:
    """Return the parts of the first tasks that have at most `max_bytes` together, but of one task at least.

    The sizes are read before the tasks, so no more than that is loaded.
    """
    found = {entry.pk: Parts(entry, view) for entry in entries}
    unknown: list[Parts] = []
    for parts in found.values():
        entry = parts.entry
        parts.is_whole = view.artifacts or entry.size <= records.SMALL_BYTES
        known = recall(entry.position.id) if parts.is_whole else None
        if known is not None and known.seq == entry.seq:
            parts.start = known.task
        else:
            unknown.append(parts)
    places = _places(connection, [parts for parts in unknown if parts.is_light], view)
    if max_bytes is not None:
        found = {pk: found[pk] for pk in _that_fit(_sizes(connection, found, places, view, max_bytes), max_bytes)}
        unknown = [parts for parts in unknown if parts.entry.pk in found]
    _read(connection, [parts for parts in unknown if parts.is_whole], *_WHOLE)
    _read(connection, [parts for parts in unknown if not (parts.is_whole or parts.is_light)], *_WITHOUT_ARTIFACTS)
    _read_light(connection, [parts for parts in unknown if parts.is_light], places)
    return list(found.values())


def _pks(of: Iterable[Parts]) -> dict[str, Any]:
    return {"pks": padded([parts.entry.pk for parts in of])}


def _places(connection: Connection, light: Sequence[Parts], view: TaskView) -> Places:
    """Return the records that tasks are made of, except their cores."""
    places: Places = {parts.entry.pk: [] for parts in light}
    if light:
        lengths = {**_pks(light), "length": view.history_length}
        for pk, seq, event, message in connection.execute(records.RECENT_RECORDS, lengths):
            places[pk].append((seq, event, message or 0))
    return places


def _sizes(
    connection: Connection, found: dict[int, Parts], places: Places, view: TaskView, max_bytes: int
) -> dict[int, int]:
    """Return how many bytes each task has at most, with the parts that the view names."""
    sizes = {pk: parts.entry.size for pk, parts in found.items()}
    for pk, chosen in places.items():
        sizes[pk] = _size_of(found[pk], chosen)
    uncertain = [parts for pk, parts in found.items() if pk not in places]
    if not uncertain or sum(sizes.values()) <= max_bytes or view == WHOLE:
        return sizes
    in_statuses = {pk: int(size) for pk, size in connection.execute(records.STATUS_SIZES, _pks(uncertain))}
    in_recent = dict(in_statuses)
    if view.history_length is not None:
        counted = [parts for parts in uncertain if parts.entry.core_size is not None]
        for pk, chosen in _places(connection, counted, view).items():
            in_recent[pk] = _size_of(found[pk], chosen)
    for pk, size in in_statuses.items():
        artifacts = sizes[pk] - size if view.artifacts else 0
        sizes[pk] = artifacts + in_recent[pk]
    return sizes


def _size_of(parts: Parts, chosen: Sequence[tuple[int, int, int]]) -> int:
    """Return how many bytes a task has at most that is made of its core and of chosen records."""
    sizes = ((event, message) for _, event, message in chosen)
    return size_of(parts.entry.core_size or 0, sizes, parts.view.history_length or 0)


def _that_fit(sizes: dict[int, int], max_bytes: int) -> list[int]:
    """Return the first tasks that have at most `max_bytes` together, but one at least."""
    fit: list[int] = []
    for pk, size in sizes.items():
        max_bytes -= size
        if max_bytes < 0 and fit:
            break
        fit.append(pk)
    return fit


_WHOLE = (records.SNAPSHOTS, SNAPSHOT_PARTS, records.RECORDS_SINCE_SNAPSHOT)
_WITHOUT_ARTIFACTS = (
    records.SNAPSHOTS_WITHOUT_ARTIFACTS,
    records.LEAN_PARTS,
    records.STATUS_RECORDS_SINCE_SNAPSHOT,
)


def _read(
    connection: Connection,
    unknown: Sequence[Parts],
    stored: Select[Any],
    columns: Sequence[Column[Any]],
    since: Select[Any],
) -> None:
    """Read the stored snapshots of tasks, and the records after them."""
    if unknown:
        by_pk = {parts.entry.pk: parts for parts in unknown}
        for pk, *read in connection.execute(stored, _pks(unknown)).all():
            by_pk[pk].start = whole(connection, pk, *zip(columns, read, strict=True))
        _read_records(connection, by_pk, since, _pks(unknown))


def _read_light(connection: Connection, unknown: Sequence[Parts], places: Places) -> None:
    """Read the cores and the last records."""
    if not unknown:
        return
    by_pk = {parts.entry.pk: parts for parts in unknown}
    for pk, core in connection.execute(tasks.CORES, _pks(unknown)):
        by_pk[pk].core = core
    if wanted := [(pk, seq) for pk in by_pk for seq, _, _ in places[pk]]:
        query = records.RECORDS_AT if unknown[0].view.history_length else records.EVENTS_AT
        _read_records(connection, by_pk, query, {"places": padded(wanted)})
        for parts in unknown:
            parts.records.sort()


def _read_records(connection: Connection, by_pk: dict[int, Parts], query: Select[Any], names: dict[str, Any]) -> None:
    for pk, *columns in connection.execute(query, names):
        by_pk[pk].records.append(record_of(columns))
