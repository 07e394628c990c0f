"""Statements about rows of tasks: reading, locking and writing them; claims, and tasks that need a replica."""

from typing import Any

from sqlalchemy import BindParameter, Update, and_, bindparam, case, func, null, select

from a2a_grpc.database.columns import now_us
from a2a_grpc.lifecycle import TERMINAL
from a2a_grpc.store.sql.schema import replica, task
from a2a_grpc.store.sql.sqlite import among, json_numbers

PKS: BindParameter[Any] = bindparam("pks", expanding=True)
THIS_TASK = task.c.pk == bindparam("of_pk")
KEY = and_(task.c.scope == bindparam("of_scope"), task.c.id == bindparam("of_id"))
KEYS = among("names", task.c.scope, task.c.id)
KEY_COLUMNS = (task.c.tenant, task.c.owner, task.c.id)
NAMED = (task.c.tenant, task.c.owner, task.c.id.label("task_id"))
"""The same columns for a statement that reads another `id`, too."""

ROW_COLUMNS = (
    *(task.c.seq, task.c.state, task.c.turn, task.c.epoch, task.c.context_id, task.c.size, task.c.last_turn),
    *(task.c.attempt, task.c.replica, task.c.cancel),
    *(task.c.pk, task.c.at_us, task.c.snapshot_seq, task.c.snapshot_size),
)
"""The columns of a `StoredRow`, in the order of its fields."""
ROWS_TO_WRITE = select(*ROW_COLUMNS).where(task.c.pk.in_(PKS)).order_by(task.c.pk).with_for_update()
"""Lock the rows of tasks. All transactions lock rows in this order, so that none waits for another in a circle."""
ROWS_TO_WRITE_BY_KEY = select(*ROW_COLUMNS, *NAMED).where(KEYS).order_by(task.c.pk).with_for_update()
"""Lock the rows of tasks, by their keys."""
ROWS_AS_JSON = select(
    func.json_group_array(
        func.json_array(
            *(
                case((task.c.cancel.is_not(None), func.hex(task.c.cancel))) if column is task.c.cancel else column
                for column in ROW_COLUMNS
            )
        )
    )
).where(task.c.pk.in_(json_numbers("pks")))
"""Read the rows of tasks as one JSON array, on SQLite."""
_ROWS_TO_SHOW = (
    select(*ROW_COLUMNS, replica.c.id.label("living"), *NAMED)
    .select_from(task.outerjoin(replica, replica.c.id == task.c.replica))
    .order_by(task.c.pk)
)
HEADS = _ROWS_TO_SHOW.where(KEYS)
"""Read the rows of tasks, each with the id of its holder if the holder is alive."""
NEEDING_ATTENTION = _ROWS_TO_SHOW.where(
    task.c.replica == bindparam("of_replica"), task.c.cancel.is_not(None) | (task.c.last_turn > task.c.turn)
)
"""Read the rows of a replica's tasks for which a request to cancel or a message waits."""
NUMBER_OF_TASK = select(task.c.pk, task.c.last_turn).where(KEY)
"""Find the number of a task."""
SEQS = select(task.c.pk, task.c.seq).where(task.c.pk.in_(PKS))
"""Read the newest seqs of tasks."""
SEQS_BY_KEY = select(task.c.pk, task.c.seq, *KEY_COLUMNS).where(KEYS)
"""Read the newest seqs and the numbers of tasks, by their keys."""
ORPHANED = (
    select(*KEY_COLUMNS)
    .select_from(task.outerjoin(replica, replica.c.id == task.c.replica))
    .where(task.c.replica.is_not(None), replica.c.id.is_(None))
    .limit(bindparam("at_most"))
)
"""Find tasks whose holders are not alive."""
CLAIMED_BY = select(*KEY_COLUMNS).where(task.c.replica == bindparam("of_replica")).order_by(task.c.pk)
"""Find the tasks that a replica holds."""
WAITING_LONGER = (
    select(*KEY_COLUMNS)
    .where(
        task.c.waiting_us.is_not(None),
        task.c.waiting_us < now_us() - bindparam("age_us"),
        task.c.last_turn == task.c.turn,
    )
    .order_by(task.c.waiting_us)
    .limit(bindparam("at_most"))
)
"""Find the tasks that have waited for their users for the longest time."""
COUNT_WAITING = select(func.count()).select_from(task).where(task.c.waiting_us.is_not(None))
"""Count the tasks that wait for their users."""

TASK_COLUMNS = (
    *("pk", "scope", "tenant", "owner", "id", "context_id", "seq", "state", "turn", "last_turn", "attempt", "epoch"),
    *("size", "at_us", "replica", "snapshot_seq", "snapshot_size", "core"),
)
SIZE_COLUMNS = ("seq", "size")
STATUS_COLUMNS = ("seq", "state", "turn", "last_turn", "attempt", "size", "at_us", "replica")
CLAIM_COLUMNS = ("last_turn", "attempt", "epoch", "replica")


def _update(*columns: str) -> Update:
    """Return an update of some columns of one task."""
    return task.update().where(THIS_TASK).values({name: bindparam(f"new_{name}") for name in columns})


INSERT_TASK = task.insert().values({name: bindparam(name) for name in TASK_COLUMNS})
"""Create a task."""
UPDATE_SIZE = _update(*SIZE_COLUMNS)
"""Count a record that changes no status."""
UPDATE_STATUS = _update(*STATUS_COLUMNS).values(waiting_us=null())
"""Count a record with a status of a task that runs."""
UPDATE_STATUS_WAITING = _update(*STATUS_COLUMNS).values(waiting_us=now_us())
"""Count a record with a status of a task that waits for its user."""
UPDATE_STATUS_ENDED = _update(*STATUS_COLUMNS).values(waiting_us=null(), cancel=null(), ended_us=now_us())
"""Count the last record of a task."""
UPDATE_ENDED = task.update().where(THIS_TASK).values(ended_us=now_us())
"""Set the time at which a task ended that was created with a terminal state."""
UPDATE_CLAIM = _update(*CLAIM_COLUMNS)
"""Write what a claim, a release or a message has changed in a row."""
CORE = select(task.c.core).where(THIS_TASK)
"""Read the core of one task."""
CORES = select(task.c.pk, task.c.core).where(task.c.pk.in_(PKS))
"""Read the cores of tasks."""
UPDATE_CORE = _update("core")
"""Replace the core of one task."""
REQUEST_CANCEL = task.update().where(task.c.pk.in_(PKS)).values(cancel=bindparam("new_cancel"))
"""Leave requests to cancel, for rows that are locked."""
_LOCKED = select(task.c.pk).where(KEYS).order_by(task.c.pk).with_for_update().cte("locked")
_MAY_BE_CANCELED = and_(task.c.state.not_in(sorted(TERMINAL)), task.c.cancel.is_(None))
REQUEST_CANCEL_AND_SHOW = (
    task.update()
    .where(task.c.pk == _LOCKED.c.pk)
    .values(cancel=case((_MAY_BE_CANCELED, bindparam("new_cancel")), else_=task.c.cancel))
    .returning(
        *ROW_COLUMNS,
        select(replica.c.id).where(replica.c.id == task.c.replica).scalar_subquery().label("living"),
        *NAMED,
    )
)
"""Lock rows, leave requests to cancel with the same metadata, and read the rows as `HEADS` does, on PostgreSQL."""
