"""Statements about push configs: their claims, their cursors, and those that are dead."""

from enum import IntEnum
from typing import Any

from sqlalchemy import and_, bindparam, func, null, select, tuple_

from a2a_grpc.database.columns import now_us
from a2a_grpc.store.sql.schema import push, replica, task
from a2a_grpc.store.sql.sqlite import among
from a2a_grpc.store.sql.statements.tasks import KEY, KEY_COLUMNS, NAMED, PKS


class State(IntEnum):
    """The states of a config in the database."""

    ACTIVE = 0
    ENDED = 1
    DEAD = 2


_PUSH = (push.c.id, push.c.config, push.c.secrets, push.c.version)
_FAILURES = (push.c.attempts, push.c.denials)
_OF_TASK = push.c.task == bindparam("of_pk")
_ONE = and_(_OF_TASK, push.c.id == bindparam("of_push"))
_THESE = among("names", push.c.task, push.c.id)
_AT_MOST: Any = bindparam("at_most")

KEYS_OF = select(task.c.pk, *KEY_COLUMNS).where(task.c.pk.in_(PKS))
"""Find the keys of tasks by their numbers."""
COUNT = select(func.count()).select_from(push).where(_OF_TASK)
"""Count the configs of one task."""
FORMER = select(push.c.seq, push.c.state).where(_ONE)
"""Find the config that is about to be replaced."""
DELETE = push.delete().where(_ONE)
"""Delete one config."""
INSERT = push.insert().values(
    state=State.ACTIVE, since_us=now_us(), due_us=now_us(), epoch=now_us(), attempts=0, denials=0, error=""
)
"""Store a config that is due at once. Its epoch is greater than that of a config that was deleted before."""
CONFIGS = select(*_PUSH).where(_OF_TASK, push.c.id > bindparam("after")).order_by(push.c.id).limit(_AT_MOST)
"""Read a page of the configs of one task."""
CONFIG = (
    select(*_PUSH).select_from(push.join(task, task.c.pk == push.c.task)).where(KEY, push.c.id == bindparam("of_push"))
)
"""Read one config."""
WAKE = (
    push.update()
    .where(_OF_TASK, push.c.state == State.ACTIVE, push.c.due_us.is_(None), push.c.replica.is_(None))
    .values(due_us=now_us())
)
"""Make the configs of a task due that rest."""
_is_due = push.c.due_us <= now_us()
_is_lost = and_(push.c.replica.is_not(None), ~select(replica.c.id).where(replica.c.id == push.c.replica).exists())
_TO_CLAIM = (push.c.task, *_PUSH, push.c.epoch, push.c.seq, *_FAILURES)
ANY_DUE = select(push.c.task).where(_is_due).limit(1)
"""Find out whether any config is due."""
ANY_LOST = select(push.c.task).where(_is_lost).limit(1)
"""Find out whether any config is claimed by a replica that is not alive."""
DUE = select(*_TO_CLAIM).where(_is_due).order_by(push.c.due_us).limit(_AT_MOST).with_for_update(skip_locked=True)
"""Lock configs that are due, the first ones first. Rows that another transaction has locked are left out."""
LOST = select(*_TO_CLAIM).where(_is_lost).limit(_AT_MOST).with_for_update(skip_locked=True)
"""Lock configs that are claimed by replicas that are not alive."""
CLAIM = push.update().where(_THESE).values(replica=bindparam("of_replica"), epoch=push.c.epoch + 1, due_us=null())
"""Claim configs that are locked."""
CLAIMED = (
    select(*NAMED, push.c.id, push.c.epoch, push.c.seq, *_FAILURES, push.c.error)
    .select_from(push.join(task, task.c.pk == push.c.task))
    .where(push.c.replica == bindparam("of_replica"))
)
"""Read the claims of a replica."""
HELD = (
    select(push.c.task, push.c.id, push.c.epoch, push.c.seq)
    .where(_THESE, push.c.replica.is_not(None))
    .order_by(push.c.task, push.c.id)
    .with_for_update()
)
"""Lock configs that are claimed, in the order in which all transactions lock them."""
_PROGRESS: dict[str, Any] = {name: bindparam(f"new_{name}") for name in ("seq", "attempts", "denials", "error")}
_UPDATE_CONFIG = push.update().where(_ONE)
KEEP = _UPDATE_CONFIG.values(**_PROGRESS)
"""Move the cursor of a config, and keep the claim."""
WAIT = _UPDATE_CONFIG.values(**_PROGRESS, replica=null(), due_us=now_us() + bindparam("delay_us"))
"""Move the cursor, give the claim up, and make the config due after a while."""
STOP = _UPDATE_CONFIG.values(**_PROGRESS, replica=null(), state=bindparam("new_state"), since_us=now_us())
"""Move the cursor, and give the claim up: the config rests, has ended, or is dead."""
_is_dead = push.c.state == State.DEAD
DEAD = (
    select(*NAMED, *_PUSH, push.c.seq, push.c.attempts, push.c.error, push.c.since_us)
    .select_from(push.join(task, task.c.pk == push.c.task))
    .where(_is_dead)
    .order_by(task.c.tenant, task.c.owner, task.c.id, push.c.id)
    .limit(_AT_MOST)
)
"""Read dead configs of all callers."""
FULL_NAME = tuple_(task.c.tenant, task.c.owner, task.c.id, push.c.id)
"""What dead configs are ordered by."""
REVIVE = (
    push.update()
    .where(_ONE, _is_dead)
    .values(state=State.ACTIVE, since_us=now_us(), due_us=now_us(), attempts=0, denials=0, error="")
)
"""Make a dead config due at once."""
DROP = push.delete().where(_ONE, _is_dead)
"""Delete a dead config."""
