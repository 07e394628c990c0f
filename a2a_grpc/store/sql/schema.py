"""The tables of the store, with every column explained.

All times are microseconds since the epoch, UTC. All text is exact: compared and ordered by code point. Nothing here
refers to another table by a foreign key: each transaction writes a task's row first, and a purge removes all of it.
"""

from typing import Any

from sqlalchemy import BigInteger, Column, Dialect, Index, Integer, MetaData, Table, literal_column

from a2a_grpc.database.columns import Exact, blob_type, digest_type, key_type, text_type


def is_index_of(dialect: str, name: str) -> bool:
    """Return True if the schema has the index on this database."""
    return name != STATUS_INDEX or dialect in ("sqlite", "postgresql")


def _has_partial_indexes(*_: Any, dialect: Dialect, **__: Any) -> bool:
    return is_index_of(dialect.name, STATUS_INDEX)


STATUS_INDEX = "a2a_record_status"
VERSION_TABLE = "a2a_version"
"""Alembic's table: the revision that the schema is at."""

metadata = MetaData()
_MYSQL: Any = {"mysql_engine": "InnoDB", "mariadb_engine": "InnoDB"}

task = Table(
    "a2a_task",
    metadata,
    # The number of the task in the other tables: made by the store, unique, about in the order of creation.
    Column("pk", key_type(), primary_key=True, autoincrement=False),
    # SHA-256 of tenant and owner: what indexes begin with, so that their keys stay short.
    Column("scope", digest_type(32), nullable=False),
    # Whose task it is. Both are empty if there are no tenants, and if the caller is not known.
    Column("tenant", Exact, nullable=False),
    Column("owner", Exact, nullable=False),
    # The task's id and its context's.
    Column("id", Exact, nullable=False),
    Column("context_id", Exact, nullable=False),
    # The seq of the newest record; its TaskState, a number of the contract; its turn.
    Column("seq", BigInteger, nullable=False),
    Column("state", Integer, nullable=False),
    Column("turn", Integer, nullable=False),
    # The newest message that was accepted: above `turn` while messages wait.
    Column("last_turn", Integer, nullable=False),
    # How often the present run has been begun.
    Column("attempt", Integer, nullable=False),
    # The newest claim: only who knows this number may append.
    Column("epoch", BigInteger, nullable=False),
    # Bytes of all records: events and messages.
    Column("size", BigInteger, nullable=False),
    # When the status was set that the task has now.
    Column("at_us", BigInteger, nullable=False),
    # When the task ended, by the database's clock; NULL until the task ends. Retention counts from this time.
    Column("ended_us", BigInteger),
    # Since when the task waits for its user, by the database's clock; NULL while it does not.
    Column("waiting_us", BigInteger),
    # The replica that holds the task; NULL if the task is free.
    Column("replica", Exact),
    # A request to cancel that the holder has yet to see: a serialised google.protobuf.Struct.
    Column("cancel", blob_type()),
    # The seq of the stored snapshot, and `size` at that seq; 0 without a snapshot.
    Column("snapshot_seq", BigInteger, nullable=False),
    Column("snapshot_size", BigInteger, nullable=False),
    # The task without its artifacts and its history: a serialised Task whose status is the first one. NULL if it is not
    # known: in rows of earlier versions.
    Column("core", blob_type()),
    # On PostgreSQL a page is filled to 70 % at first, so that an append can write the new row to the same page.
    **_MYSQL,
)
Index("a2a_task_key", task.c.scope, task.c.id, unique=True)
Index("a2a_task_list", task.c.scope, task.c.at_us, task.c.id)
Index("a2a_task_context", task.c.scope, task.c.context_id, task.c.at_us, task.c.id)
_waits = task.c.waiting_us.is_not(None)
Index("a2a_task_waiting", task.c.waiting_us, postgresql_where=_waits, sqlite_where=_waits)
_is_held, _has_ended = task.c.replica.is_not(None), task.c.ended_us.is_not(None)
Index("a2a_task_held", task.c.replica, postgresql_where=_is_held, sqlite_where=_is_held)
Index("a2a_task_ended", task.c.ended_us, task.c.pk, postgresql_where=_has_ended, sqlite_where=_has_ended)

record = Table(
    "a2a_record",
    metadata,
    Column("task", key_type(), primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    # The serialised StreamResponse, as it goes to every stream.
    Column("event", blob_type(), nullable=False),
    # The task's state and turn once it is folded.
    Column("state", Integer, nullable=False),
    Column("turn", Integer, nullable=False),
    # When the status was set that the record brings; 0 if the record brings none.
    Column("at_us", BigInteger, nullable=False),
    # The claim under which it was written: tells who has to know that it was.
    Column("epoch", BigInteger, nullable=False),
    # The serialised user message that opened the turn, on its first record from the second turn on.
    Column("message", blob_type()),
    # If it brings a status: how many messages it adds to the history, sooner or later. NULL if that is not known: in
    # rows of earlier versions.
    Column("messages", Integer),
    sqlite_with_rowid=False,
    **_MYSQL,
)
_tells_status = record.c.at_us > literal_column("0")
# All of a task except its artifacts. MySQL has no partial index; there it would hold each chunk of an artifact, too.
Index(
    STATUS_INDEX,
    record.c.task,
    record.c.seq,
    record.c.messages,
    postgresql_where=_tells_status,
    sqlite_where=_tells_status,
).ddl_if(callable_=_has_partial_indexes)

snapshot = Table(
    "a2a_snapshot",
    metadata,
    Column("task", key_type(), primary_key=True, autoincrement=False),
    # The task as of this seq, with its state and turn then: a shortcut; the records say the same.
    Column("seq", BigInteger, nullable=False),
    Column("state", Integer, nullable=False),
    Column("turn", Integer, nullable=False),
    # All of it, or, if the next two are not NULL, all except the history and the artifacts. The three, one after the
    # other, are the serialised Task.
    Column("body", blob_type(), nullable=False),
    Column("history", blob_type()),
    Column("artifacts", blob_type()),
    **_MYSQL,
)
SNAPSHOT_PARTS = (snapshot.c.body, snapshot.c.history, snapshot.c.artifacts)
"""The columns that are the serialised Task, one after the other."""

pending = Table(
    "a2a_pending",
    metadata,
    Column("task", key_type(), primary_key=True, autoincrement=False),
    # The turn that the message waits for, or that may have to be played again.
    Column("turn", Integer, primary_key=True, autoincrement=False),
    Column("skill", text_type(), nullable=False),
    # The serialised SendMessageRequest.
    Column("request", blob_type(), nullable=False),
    # Of schemas before 0006: always an empty JSON array.
    Column("scopes", text_type(), nullable=False),
    # Random bytes of the writer. If the commit is not answered, the writer finds its own row by them.
    Column("token", digest_type(16), nullable=False),
    # The caller that sent the message, as JSON text of Principal.to_json. NULL in rows of schemas before 0006.
    Column("caller", text_type()),
    sqlite_with_rowid=False,
    **_MYSQL,
)

binding = Table(
    "a2a_binding",
    metadata,
    # Whose idempotency key (as in a2a_task), and the key.
    Column("scope", digest_type(32), primary_key=True),
    Column("key", Exact, primary_key=True),
    # A digest of the request that came with it first.
    Column("fingerprint", blob_type(), nullable=False),
    # The task and turn it led to; or, with an empty task_id, the serialised reply.
    Column("task_id", Exact, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("reply", blob_type(), nullable=False),
    # When it was bound, by the database's clock.
    Column("at_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    **_MYSQL,
)
Index("a2a_binding_age", binding.c.at_us)

push = Table(
    "a2a_push",
    metadata,
    # The task's number, and the config's id, which is unique for its task.
    Column("task", key_type(), primary_key=True, autoincrement=False),
    Column("id", Exact, primary_key=True),
    # The serialised TaskPushNotificationConfig without its secrets, and these, encrypted; empty if it has none.
    Column("config", blob_type(), nullable=False),
    Column("secrets", blob_type(), nullable=False),
    # The version of the protocol with which the config was registered; after a space its trace, if there is one.
    Column("version", text_type(), nullable=False),
    # The seq of the newest record that was delivered.
    Column("seq", BigInteger, nullable=False),
    # 0: something is delivered, or will be. 1: it has ended. 2: it is dead.
    Column("state", Integer, nullable=False),
    # Since when the config has this state, by the database's clock.
    Column("since_us", BigInteger, nullable=False),
    # From when on any replica may claim it, by the database's clock. NULL if it is claimed, rests, has ended, or is
    # dead.
    Column("due_us", BigInteger),
    # The replica that has claimed it; NULL if there is none. The number of the claim.
    Column("replica", Exact),
    Column("epoch", BigInteger, nullable=False),
    # Attempts that have failed since the cursor moved, those that the receiver did not authorize, the newest reason.
    Column("attempts", Integer, nullable=False),
    Column("denials", Integer, nullable=False),
    Column("error", text_type(), nullable=False),
    **_MYSQL,
)
_is_due, _is_claimed = push.c.due_us.is_not(None), push.c.replica.is_not(None)
Index("a2a_push_due", push.c.due_us, postgresql_where=_is_due, sqlite_where=_is_due)
Index("a2a_push_claimed", push.c.replica, postgresql_where=_is_claimed, sqlite_where=_is_claimed)
_is_dead = push.c.state == literal_column("2")
Index("a2a_push_dead", push.c.state, push.c.task, push.c.id, postgresql_where=_is_dead, sqlite_where=_is_dead)

note = Table(
    "a2a_note",
    metadata,
    Column("task", key_type(), primary_key=True, autoincrement=False),
    # The turn whose handler keeps the value; 0 for a value of the whole task. The name that the handler gave it.
    Column("turn", Integer, primary_key=True, autoincrement=False),
    Column("name", Exact, primary_key=True),
    # What the handler keeps, as `a2a_grpc.agent` packs it.
    Column("value", blob_type(), nullable=False),
    **_MYSQL,
)

agent = Table(
    "a2a_agent",
    metadata,
    # There is one row: its key is 1.
    Column("one", Integer, primary_key=True, autoincrement=False),
    # The name of the agent whose tasks these are.
    Column("name", text_type(), nullable=False),
    **_MYSQL,
)

replica = Table(
    "a2a_replica",
    metadata,
    # A replica is alive as long as its row is here.
    Column("id", Exact, primary_key=True),
    # Until when no other replica may delete the row, by the database's clock.
    Column("lease_until_us", BigInteger, nullable=False),
    **_MYSQL,
)

clock = Table(
    "a2a_clock",
    metadata,
    # SQLite's only: the machine's start since which the processes agree.
    Column("boot", Exact, primary_key=True),
    # The machine's monotonic clock plus this offset is the time since the epoch, in microseconds.
    Column("offset_us", BigInteger, nullable=False),
    **_MYSQL,
)
