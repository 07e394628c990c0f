"""Write tasks as lines of JSON.

The first line names the format and the agent. Then each task has a line with its row, lines with its messages, push
configs, notes, snapshot and records, and a line that ends it. The last line has the number of tasks. The notes of tasks
that have ended are left out, as no handler can read them any more.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, func, select

from a2a_grpc.database.transactions import Database, Use
from a2a_grpc.store.sql.coordination import agent_name
from a2a_grpc.store.sql.migrations import HEAD
from a2a_grpc.store.sql.schema import binding, note, record, task
from a2a_grpc.store.sql.statements.notes import BYTES_OF_TASK
from a2a_grpc.store.sql.upkeep.rows import PARTS, to_json

FORMAT = 1
"""The number of the format."""
TOGETHER = 100
"""Tasks that one transaction reads at most."""
TOGETHER_BYTES = 4 << 20
TOGETHER_RECORDS = 5000
KEYS_AT_ONCE = 1000

Line = dict[str, Any]


class Chosen(NamedTuple):
    """Which tasks are exported. The defaults are all of them.

    Attributes:
        ids: The ids of the tasks.
        states: The states of the tasks.
        secrets: True to write the encrypted secrets of push configs.
    """

    ids: Collection[str] = ()
    states: Collection[int] = ()
    secrets: bool = False

    @property
    def is_all(self) -> bool:
        """True for all tasks."""
        return not self.ids and not self.states


class _Entry(NamedTuple):
    pk: int
    seq: int
    size: int


async def exported(database: Database, chosen: Chosen) -> AsyncIterator[Line]:
    """Yield the lines of tasks, in the order of their creation.

    The lines of a task show it as it was at one moment, also if it is written meanwhile. Tasks that are created
    meanwhile may be missing. A large task is read in pieces. If it is deleted meanwhile, a line says so.
    """
    yield {"a2a_grpc": {"format": FORMAT, "schema": HEAD, "agent": await database.read(agent_name)}}
    count = after = 0
    while entries := await database.read(_entries, chosen, after):
        for batch in _batches(entries):
            is_large = len(batch) == 1 and (batch[0].size > TOGETHER_BYTES or batch[0].seq > TOGETHER_RECORDS)
            tasks = partial(_tasks, pks=[entry.pk for entry in batch], chosen=chosen, with_records=not is_large)
            for lines in await database.run(Use.READ_SNAPSHOT, tasks):
                for line in lines:
                    yield line
                end: Line = {"end": {}}
                if is_large:
                    async for line in _records_in_pieces(database, batch[0].pk, lines[0]["task"]["seq"]):
                        if "purged" in line:
                            end = line
                            break
                        yield line
                count += "end" in end
                yield end
        after = entries[-1].pk
    if chosen.is_all:
        last: tuple[bytes, str] | None = None
        while rows := await database.read(_bindings, last):
            for row in rows:
                yield {"binding": to_json(row)}
            last = rows[-1]["scope"], rows[-1]["key"]
    yield {"done": {"tasks": count}}


def _entries(connection: Connection, chosen: Chosen, after: int) -> list[_Entry]:
    query = select(task.c.pk, task.c.seq, task.c.size + BYTES_OF_TASK).where(task.c.pk > after)
    if chosen.ids:
        query = query.where(task.c.id.in_(sorted(chosen.ids)))
    if chosen.states:
        query = query.where(task.c.state.in_(sorted(chosen.states)))
    return [_Entry(*map(int, row)) for row in connection.execute(query.order_by(task.c.pk).limit(TOGETHER))]


def _batches(entries: Sequence[_Entry]) -> list[list[_Entry]]:
    """Return groups of tasks that are read together. A large task is alone."""
    batches: list[list[_Entry]] = []
    size = records = 0
    for entry in entries:
        size, records = size + entry.size, records + entry.seq
        if not batches or size > TOGETHER_BYTES or records > TOGETHER_RECORDS:
            batches.append([])
            size, records = entry.size, entry.seq
        batches[-1].append(entry)
    return batches


def _tasks(connection: Connection, pks: Sequence[int], chosen: Chosen, with_records: bool) -> list[list[Line]]:
    """Return the lines of each task that is still there, as the tasks are at one moment."""
    found: dict[int, list[Line]] = {
        row["pk"]: [{"task": to_json(row)}] for row in _rows(connection, select(task).where(task.c.pk.in_(pks)))
    }
    for kind, table in PARTS.items():
        query = select(table).where(table.c.task.in_(pks)).order_by(*table.primary_key)
        if kind == "note":
            query = query.join(task, task.c.pk == note.c.task).where(task.c.ended_us.is_(None))
        for row in _rows(connection, query) if kind != "record" or with_records else ():
            if kind == "push" and row["secrets"] and not chosen.secrets:
                found[row["task"]].append({kind: {**to_json(row, without={"secrets"}), "lacks_secrets": True}})
            else:
                found[row["task"]].append({kind: to_json(row)})
    return [found[pk] for pk in pks if pk in found]


async def _records_in_pieces(database: Database, pk: int, upto: int) -> AsyncIterator[Line]:
    after = 0
    while after < upto:
        rows = await database.read(_some_records, pk, after, upto)
        if not rows or rows[0]["seq"] != after + 1:
            yield {"purged": {}}
            return
        for row in rows:
            yield {"record": to_json(row)}
        after = rows[-1]["seq"]


def _some_records(connection: Connection, pk: int, after: int, upto: int) -> list[Mapping[str, Any]]:
    """Read the next records of a task, up to a size."""
    of_task = (record.c.task == pk, record.c.seq > after, record.c.seq <= upto)
    sizes = select(record.c.seq, func.length(record.c.event) + func.coalesce(func.length(record.c.message), 0))
    size, last = 0, after
    for seq, length in connection.execute(sizes.where(*of_task).order_by(record.c.seq).limit(TOGETHER_RECORDS)):
        size += length
        if size > TOGETHER_BYTES and last > after:
            break
        last = seq
    return _rows(connection, select(record).where(*of_task, record.c.seq <= last).order_by(record.c.seq))


def _bindings(connection: Connection, last: tuple[bytes, str] | None) -> list[Mapping[str, Any]]:
    query = select(binding)
    if last is not None:
        scope, key = last
        query = query.where(
            binding.c.scope >= scope, (binding.c.scope > scope) | ((binding.c.scope == scope) & (binding.c.key > key))
        )
    return _rows(connection, query.order_by(binding.c.scope, binding.c.key).limit(KEYS_AT_ONCE))


def _rows(connection: Connection, query: "Select[Any]") -> list[Mapping[str, Any]]:
    return [dict(row) for row in connection.execute(query).mappings()]
