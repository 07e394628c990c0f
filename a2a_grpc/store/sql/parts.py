"""Reading the parts of tasks that a view names, inside a transaction."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import (
    BindParameter,
    Column,
    Connection,
    Select,
    and_,
    bindparam,
    func,
    literal_column,
    null,
    select,
    tuple_,
)

from a2a_grpc.store.growing import folded
from a2a_grpc.store.sql.mailbox import READ_COLUMNS, record_of
from a2a_grpc.store.sql.rows import names_of, padded
from a2a_grpc.store.sql.schema import SNAPSHOT_PARTS, STATUS_INDEX, record, snapshot, task
from a2a_grpc.store.sql.sqlite import value_or_size, whole
from a2a_grpc.store.values import WHOLE, Position, Record, Snapshot, TaskKey, TaskView
from a2a_grpc.store.views import cost_of, cut, recent, size_of
from a2a_grpc.wire import TaskState

SMALL_BYTES = 16 * 1024
"""Size up to which a task is read whole, and remembered, whatever the view: reading its parts would not be faster."""


class Entry(NamedTuple):
    """The columns of a task's row that describe the task."""

    pk: int
    position: Position
    seq: int
    state: TaskState
    turn: int
    size: int
    """Bytes of all its records: the whole task has no more."""
    core_size: int | None
    """Bytes of its core. None if the core is not stored, nor the number of messages in each record with a status."""


Recall: TypeAlias = Callable[[str], Snapshot | None]
"""Returns a snapshot that is in memory, by the id of its task."""


@dataclass(slots=True)
class Parts:
    """What was read of one task."""

    entry: Entry
    view: TaskView
    is_whole: bool = False
    """True if all of the task was read, whatever the view."""
    start: bytes = b""
    """A snapshot of the task, if there is one."""
    records: list[Record] = field(default_factory=list)
    """The records after the snapshot, those that the view needs."""
    core: bytes | None = None
    """If it is given, the records are the chosen ones of the task's last messages, and there is no snapshot."""

    @property
    def cost(self) -> int:
        """What putting the task together costs, as bytes."""
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


ENTRY_COLUMNS = (
    *(task.c.pk, task.c.at_us, task.c.id, task.c.seq, task.c.state, task.c.turn, task.c.size),
    func.length(task.c.core).label("core_size"),
)
_ENTRY = select(*ENTRY_COLUMNS).where(task.c.scope == bindparam("of_scope"), task.c.id == bindparam("of_id"))
_OF_TASKS = record.c.task.in_(bindparam("pks", expanding=True))
_TELLS_STATUS = record.c.at_us > literal_column("0")


def _along_statuses(query: Select[Any]) -> Select[Any]:
    """Have SQLite read records by the index of those that bring a status: along the primary key it reads each event, to
    get to the columns behind the event."""
    return query.with_hint(record, f"INDEXED BY {STATUS_INDEX}", "sqlite")


_LEAN_PARTS = (snapshot.c.body, snapshot.c.history)


def _snapshots(*parts: Column[Any]) -> Select[Any]:
    wanted = snapshot.c.task.in_(bindparam("pks", expanding=True))
    return select(snapshot.c.task, *map(value_or_size, parts)).where(wanted)


_WHOLE_SNAPSHOTS = _snapshots(*SNAPSHOT_PARTS)
_SIZES = _along_statuses(
    select(record.c.task, func.sum(func.length(record.c.event) + func.coalesce(func.length(record.c.message), 0)))
    .where(_OF_TASKS, _TELLS_STATUS)
    .group_by(record.c.task)
)
_CORES = select(task.c.pk, task.c.core).where(task.c.pk.in_(bindparam("pks", expanding=True)))
_AT_PLACES = tuple_(record.c.task, record.c.seq).in_(bindparam("places", expanding=True))
_SOME_RECORDS = select(record.c.task, *READ_COLUMNS).where(_AT_PLACES)
_SOME_EVENTS = select(record.c.task, *READ_COLUMNS[:-1], null()).where(_AT_PLACES)
"""Without the user's messages."""


_RECORDS = (
    select(record.c.task, *READ_COLUMNS)
    .select_from(task.join(record, and_(record.c.task == task.c.pk, record.c.seq > task.c.snapshot_seq)))
    .where(task.c.pk.in_(bindparam("pks", expanding=True)))
    .order_by(record.c.task, record.c.seq)
)
_IS_IN_PARTS = snapshot.c.history.is_not(None)
_LEAN_SNAPSHOTS = _snapshots(*_LEAN_PARTS).where(_IS_IN_PARTS)
"""Of a snapshot in one piece, which earlier versions wrote, the artifacts would have to be loaded, too."""
_STATUS_RECORDS = _along_statuses(
    select(record.c.task, *READ_COLUMNS)
    .select_from(
        task.outerjoin(snapshot, and_(snapshot.c.task == task.c.pk, _IS_IN_PARTS)).join(
            record, and_(record.c.task == task.c.pk, record.c.seq > func.coalesce(snapshot.c.seq, 0))
        )
    )
    .where(task.c.pk.in_(bindparam("pks", expanding=True)), _TELLS_STATUS)
    .order_by(record.c.task, record.c.seq)
)


def _chosen() -> Select[Any]:
    """The records that tasks with their last messages are made of, with their sizes: see `views.chosen`."""
    newest_first: Any = {"partition_by": record.c.task, "order_by": record.c.seq.desc()}
    counting = select(
        record.c.task,
        record.c.seq,
        record.c.messages,
        func.row_number().over(**newest_first).label("place"),
        func.sum(record.c.messages).over(**newest_first).label("upto_here"),
    )
    counted = _along_statuses(counting.where(_OF_TASKS, _TELLS_STATUS)).subquery()
    length: BindParameter[int] = bindparam("length")
    is_needed = and_(length > 0, counted.c.messages > 0, counted.c.upto_here - counted.c.messages <= length)
    is_newest = and_(counted.c.place == 1, (length > 0) | (counted.c.seq > 1))
    return (
        select(record.c.task, record.c.seq, func.length(record.c.event), func.length(record.c.message))
        .select_from(counted.join(record, and_(record.c.task == counted.c.task, record.c.seq == counted.c.seq)))
        .where(is_newest | is_needed)
    )


_CHOSEN = _chosen()


def entry_of(found: Any) -> Entry:
    """Return an entry from ENTRY_COLUMNS."""
    pk, at_us, id, *rest = found
    return Entry(pk, Position(at_us, id), *rest)


def parts_of_one(connection: Connection, key: TaskKey, view: TaskView, recall: Recall) -> Parts | None:
    """Return the parts of one task; None for an unknown one."""
    found = connection.execute(_ENTRY, names_of(key)).one_or_none()
    return read_parts(connection, [entry_of(found)], view, recall)[0] if found is not None else None


def read_parts(
    connection: Connection, entries: Sequence[Entry], view: TaskView, recall: Recall, max_bytes: int | None = None
) -> list[Parts]:
    """Return the parts of tasks, in order: as many as have at most `max_bytes` together, but one at least.

    What is loaded has no more than that: the sizes are read before.
    """
    found = {entry.pk: Parts(entry, view) for entry in entries}
    unknown: list[Parts] = []
    for parts in found.values():
        entry = parts.entry
        parts.is_whole = view.artifacts or entry.size <= SMALL_BYTES
        known = recall(entry.position.id) if parts.is_whole else None
        if known is not None and known.seq == entry.seq:
            parts.start = known.task
        else:
            unknown.append(parts)
    light = [parts for parts in unknown if _is_light(parts)]
    places = _places(connection, light, view)
    if max_bytes is not None:
        found = {pk: found[pk] for pk in _that_fit(_sizes(connection, found, places, view, max_bytes), max_bytes)}
    _read_whole(connection, [parts for parts in unknown if parts.is_whole and parts.entry.pk in found])
    _read_lean(
        connection,
        [p for p in unknown if not p.is_whole and p.entry.pk in found and not _is_light(p)],
    )
    _read_light(connection, [parts for parts in light if parts.entry.pk in found], places)
    return list(found.values())


def _is_light(parts: Parts) -> bool:
    """Return True if the task is made of its core and its last records: it is not small, and the view names some
    messages only."""
    return not parts.is_whole and parts.view.history_length is not None and parts.entry.core_size is not None


def _pks(of: Iterable[Parts]) -> dict[str, Any]:
    return {"pks": padded([parts.entry.pk for parts in of])}


def _places(connection: Connection, light: Sequence[Parts], view: TaskView) -> dict[int, list[tuple[int, int, int]]]:
    """Return which records the tasks are made of, by task: seq, size of the event, size of the message."""
    places: dict[int, list[tuple[int, int, int]]] = {parts.entry.pk: [] for parts in light}
    if light:
        for pk, seq, event, message in connection.execute(_CHOSEN, {**_pks(light), "length": view.history_length}):
            places[pk].append((seq, event, message or 0))
    return places


def _sizes(
    connection: Connection,
    found: dict[int, Parts],
    places: dict[int, list[tuple[int, int, int]]],
    view: TaskView,
    max_bytes: int,
) -> dict[int, int]:
    """Return how many bytes each task has at most, with the parts that the view names."""
    sizes = {pk: parts.entry.size for pk, parts in found.items()}
    for pk, chosen in places.items():
        sizes[pk] = _size_of(found[pk], chosen)
    uncertain = [parts for pk, parts in found.items() if pk not in places]
    if not uncertain or sum(sizes.values()) <= max_bytes or view == WHOLE:
        return sizes
    in_statuses = {pk: int(size) for pk, size in connection.execute(_SIZES, _pks(uncertain))}
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


def _read_whole(connection: Connection, unknown: Sequence[Parts]) -> None:
    if unknown:
        by_pk = {parts.entry.pk: parts for parts in unknown}
        _read_snapshots(connection, by_pk, _WHOLE_SNAPSHOTS, SNAPSHOT_PARTS)
        _read_records(connection, by_pk, _RECORDS, _pks(unknown))


def _read_lean(connection: Connection, unknown: Sequence[Parts]) -> None:
    """Read all except the artifacts."""
    if unknown:
        by_pk = {parts.entry.pk: parts for parts in unknown}
        _read_snapshots(connection, by_pk, _LEAN_SNAPSHOTS, _LEAN_PARTS)
        _read_records(connection, by_pk, _STATUS_RECORDS, _pks(unknown))


def _read_light(
    connection: Connection, unknown: Sequence[Parts], places: dict[int, list[tuple[int, int, int]]]
) -> None:
    """Read the cores and the last records."""
    if not unknown:
        return
    by_pk = {parts.entry.pk: parts for parts in unknown}
    for pk, core in connection.execute(_CORES, _pks(unknown)):
        by_pk[pk].core = core
    if wanted := [(pk, seq) for pk in by_pk for seq, _, _ in places[pk]]:
        query = _SOME_RECORDS if unknown[0].view.history_length else _SOME_EVENTS
        _read_records(connection, by_pk, query, {"places": padded(wanted)})
        for parts in unknown:
            parts.records.sort()


def _read_snapshots(
    connection: Connection, by_pk: dict[int, Parts], query: Select[Any], columns: Sequence[Column[Any]]
) -> None:
    for pk, *read in connection.execute(query, _pks(by_pk.values())).all():
        by_pk[pk].start = whole(connection, pk, *zip(columns, read, strict=True))


def _read_records(connection: Connection, by_pk: dict[int, Parts], query: Select[Any], names: dict[str, Any]) -> None:
    for pk, *columns in connection.execute(query, names):
        by_pk[pk].records.append(record_of(columns))
