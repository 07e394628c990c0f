"""The transactions about replicas and their claims."""

from collections.abc import Sequence

from sqlalchemy import Connection

from a2a_grpc.store.sql import outbox
from a2a_grpc.store.sql.rows import is_alive, row_to_write, write_claim
from a2a_grpc.store.sql.statements import coordination as statements
from a2a_grpc.store.sql.statements.tasks import CLAIMED_BY, COUNT_WAITING, ORPHANED, WAITING_LONGER
from a2a_grpc.store.values import Head, TaskKey


def join(connection: Connection, replica: str, lease_s: float) -> None:
    leave(connection, replica)
    connection.execute(statements.INSERT_REPLICA, {"of_id": replica, "lease_us": int(lease_s * 1e6)})


def renew(connection: Connection, replica: str, lease_s: float) -> tuple[bool, list[str]]:
    """Extend a lease. Return whether the replica is alive, and the replicas whose leases are over.

    None are returned if the lease of the caller was over, too: the database was probably away, and the others are
    about to renew theirs.
    """
    was_late = connection.scalar(statements.IS_LATE, {"of_id": replica}) is not None
    if not connection.execute(statements.RENEW, {"of_id": replica, "lease_us": int(lease_s * 1e6)}).rowcount:
        return False, []
    return True, [] if was_late else list(connection.scalars(statements.OTHERS_LAPSED, {"of_id": replica}))


def expire(connection: Connection, replicas: Sequence[str]) -> None:
    """Declare replicas dead that have not renewed their leases by now.

    This is a transaction of its own. Otherwise a replica that has just renewed would wait, with its own row locked, for
    another one that does the same.
    """
    for replica in sorted(replicas):
        connection.execute(statements.EXPIRE, {"of_id": replica})


def leave(connection: Connection, replica: str) -> None:
    connection.execute(statements.DELETE_REPLICA, {"of_id": replica})


def ping(connection: Connection) -> None:
    """Write nothing, in a transaction that could write."""
    leave(connection, "")


def orphaned(connection: Connection, limit: int) -> list[TaskKey]:
    return [TaskKey(*found) for found in connection.execute(ORPHANED, {"at_most": limit})]


def claimed_by(connection: Connection, replica: str) -> list[TaskKey]:
    return [TaskKey(*found) for found in connection.execute(CLAIMED_BY, {"of_replica": replica})]


def waiting_longer(connection: Connection, than_s: float, limit: int) -> list[TaskKey]:
    ages = {"age_us": int(than_s * 1e6), "at_most": limit}
    return [TaskKey(*found) for found in connection.execute(WAITING_LONGER, ages)]


def count_waiting(connection: Connection) -> int:
    return connection.execute(COUNT_WAITING).scalar_one()


def claim(connection: Connection, key: TaskKey, replica: str, force: bool) -> Head | None:
    row = row_to_write(connection, key)
    if row is None:
        return None
    was_free = not row.replica
    if row.claim(replica, force=force):
        if was_free:
            outbox.wake(connection, row.pk)
        row.is_lost = not is_alive(connection, replica)
        write_claim(connection, row)
    return row.head(is_lost=row.is_lost)


def release(connection: Connection, key: TaskKey, epoch: int) -> None:
    row = row_to_write(connection, key)
    if row is not None and row.epoch == epoch and row.last_turn == row.turn and row.replica:
        row.replica = ""
        write_claim(connection, row)


def agent_name(connection: Connection) -> str:
    """Return the name of the agent whose tasks these are; "" if none is kept."""
    return connection.scalars(statements.AGENT_NAME).first() or ""


def belong_to(connection: Connection, name: str) -> str:
    """Keep the name of the agent if none is kept. Return the name that is kept.

    Of two agents that come at the same time, one meets a conflict, and reads the name of the other at its next try.
    """
    kept = agent_name(connection)
    if not kept:
        connection.execute(statements.INSERT_AGENT, {"name": name})
    return kept or name


def rename(connection: Connection, name: str) -> str:
    """Keep another name of the agent. Return the name that was kept before; "" if there was none."""
    before: str | None = connection.scalars(statements.AGENT_NAME.with_for_update()).first()
    connection.execute(statements.INSERT_AGENT if before is None else statements.UPDATE_AGENT, {"name": name})
    return before or ""
