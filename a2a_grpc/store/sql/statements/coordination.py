"""Statements about replicas, messages that wait, idempotency keys, and the agent whose tasks these are."""

from sqlalchemy import bindparam, select

from a2a_grpc.database.columns import now_us
from a2a_grpc.store.sql.schema import agent, binding, pending, replica, task
from a2a_grpc.store.sql.sqlite import among, json_numbers
from a2a_grpc.store.sql.statements.tasks import KEY, PKS

# -- replicas

_this_replica = replica.c.id == bindparam("of_id")
_has_lapsed = replica.c.lease_until_us < now_us()
_lease_end = now_us() + bindparam("lease_us")

ALIVE_AMONG = select(replica.c.id).where(replica.c.id.in_(bindparam("ids", expanding=True)))
"""Find out which of some replicas are alive."""
INSERT_REPLICA = replica.insert().values(id=bindparam("of_id"), lease_until_us=_lease_end)
"""Make a replica alive."""
RENEW = replica.update().where(_this_replica).values(lease_until_us=_lease_end)
"""Extend a lease."""
IS_LATE = select(replica.c.id).where(_this_replica, _has_lapsed)
"""Find out whether the lease of a replica is over."""
OTHERS_LAPSED = select(replica.c.id).where(_has_lapsed, replica.c.id != bindparam("of_id"))
"""Find the other replicas whose leases are over."""
DELETE_REPLICA = replica.delete().where(_this_replica)
"""End the life of a replica."""
EXPIRE = replica.delete().where(_this_replica, _has_lapsed)
"""End the life of a replica, if it has not renewed its lease meanwhile."""

# -- messages that wait or are kept

INSERT_MESSAGE = pending.insert()
"""Store a message."""
MESSAGES = (
    select(pending.c.turn, pending.c.skill, pending.c.request, pending.c.caller)
    .select_from(pending.join(task, task.c.pk == pending.c.task))
    .where(KEY)
    .order_by(pending.c.turn)
)
"""Read the messages of one task."""
MESSAGE_BY_TOKEN = select(pending.c.turn).where(
    pending.c.task == bindparam("of_pk"), pending.c.token == bindparam("of_token")
)
"""Find out whether a message was stored whose commit was not answered."""
DELETE_MESSAGES = pending.delete().where(pending.c.task == bindparam("of_pk"), pending.c.turn <= bindparam("upto"))
"""Delete the messages of one task up to a turn."""
DELETE_MESSAGES_OF = pending.delete().where(pending.c.task.in_(PKS))
"""Delete all messages of tasks that have ended."""
DELETE_MESSAGES_OF_JSON = pending.delete().where(pending.c.task.in_(json_numbers("pks")))
"""Delete all messages of tasks that have ended, on SQLite."""

# -- idempotency keys

BINDINGS = select(
    binding.c.scope, binding.c.key, binding.c.fingerprint, binding.c.task_id, binding.c.turn, binding.c.reply
).where(among("names", binding.c.scope, binding.c.key))
"""Read the bindings of idempotency keys."""
BIND = binding.insert().values(at_us=now_us())
"""Bind an idempotency key."""
OLD_BINDINGS = (
    select(binding.c.scope, binding.c.key)
    .where(binding.c.at_us < bindparam("before_us"))
    .order_by(binding.c.at_us)
    .limit(bindparam("at_most"))
    .with_for_update(skip_locked=True)
)
"""Lock the oldest idempotency keys, except those that another replica deletes."""
DELETE_BINDING = binding.delete().where(binding.c.scope == bindparam("of_scope"), binding.c.key == bindparam("of_key"))
"""Delete an idempotency key."""

# -- the agent

AGENT_NAME = select(agent.c.name)
"""Read the name of the agent."""
INSERT_AGENT = agent.insert().values(one=1)
"""Set the name of the agent for the first time."""
UPDATE_AGENT = agent.update()
"""Replace the name of the agent."""
