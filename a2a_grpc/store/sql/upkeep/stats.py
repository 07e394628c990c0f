"""How many tasks a database has, by state, how large they are, and how old."""

from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, Table, func, select

from a2a_grpc.lifecycle import state_name
from a2a_grpc.store.sql.coordination import agent_name
from a2a_grpc.store.sql.schema import binding, note, pending, push, replica, snapshot, task
from a2a_grpc.store.sql.statements.notes import BYTES
from a2a_grpc.store.sql.statements.outbox import State


@dataclass(frozen=True, slots=True)
class OfState:
    """The tasks of one state.

    Attributes:
        tasks: The number of tasks.
        records: The number of their records.
        bytes: The size of their records, in bytes.
        largest: The size of the records of the largest task, in bytes.
        oldest_us: The time of the oldest status, in microseconds since 1970 (UTC).
        newest_us: The time of the newest status.
    """

    tasks: int
    records: int
    bytes: int
    largest: int
    oldest_us: int
    newest_us: int


@dataclass(frozen=True, slots=True)
class Stats:
    """What a database has at one moment.

    Attributes:
        agent: The name of the agent; "" if no server has used the database yet.
        states: The tasks, by the names of their states.
        held: The number of tasks that a replica holds.
        waiting_messages: The number of messages that wait for their turn, or may have to run again.
        notes: The number of notes: results of steps, and values that tasks remember.
        note_bytes: The size of the notes, in bytes.
        snapshots: The number of snapshots.
        keys: The number of idempotency keys.
        replicas: The number of replicas with a lease.
        pushes: The number of push configs, by "active", "ended" and "dead".
    """

    agent: str
    states: dict[str, OfState]
    held: int
    waiting_messages: int
    notes: int
    note_bytes: int
    snapshots: int
    keys: int
    replicas: int
    pushes: dict[str, int] = field(default_factory=dict)


_FACTS = (
    *(func.count(), func.sum(task.c.seq), func.sum(task.c.size), func.max(task.c.size)),
    *(func.min(task.c.at_us), func.max(task.c.at_us)),
)
_STATES = select(task.c.state, *_FACTS).group_by(task.c.state).order_by(task.c.state)
_PUSHES = select(push.c.state, func.count()).group_by(push.c.state).order_by(push.c.state)


def stats(connection: Connection) -> Stats:
    """Return what a database has. All rows of tasks and the sizes of all notes are read, and no records."""

    def count(table: Table, *where: ColumnElement[bool]) -> int:
        return connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one()

    return Stats(
        agent=agent_name(connection),
        states={state_name(state): OfState(*map(int, facts)) for state, *facts in connection.execute(_STATES)},
        held=count(task, task.c.replica.is_not(None)),
        waiting_messages=count(pending),
        notes=count(note),
        note_bytes=int(connection.execute(select(BYTES)).scalar_one()),
        snapshots=count(snapshot),
        keys=count(binding),
        replicas=count(replica),
        pushes={State(state).name.lower(): number for state, number in connection.execute(_PUSHES)},
    )
