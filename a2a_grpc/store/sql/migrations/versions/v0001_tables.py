"""The tables of the store. a2a_grpc/store/sql/schema.py says what the columns mean."""

from typing import Any

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, text

from a2a_grpc.database.columns import Exact, blob_type, digest_type, key_type, text_type

revision = "0001"
down_revision = None

INNODB: Any = {"mysql_engine": "InnoDB", "mariadb_engine": "InnoDB"}
HELD = text("replica IS NOT NULL")
ENDED = text("ended_us IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "a2a_task",
        Column("pk", key_type(), primary_key=True, autoincrement=False),
        Column("scope", digest_type(32), nullable=False),
        Column("tenant", Exact, nullable=False),
        Column("owner", Exact, nullable=False),
        Column("id", Exact, nullable=False),
        Column("context_id", Exact, nullable=False),
        Column("seq", BigInteger, nullable=False),
        Column("state", Integer, nullable=False),
        Column("turn", Integer, nullable=False),
        Column("last_turn", Integer, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("epoch", BigInteger, nullable=False),
        Column("size", BigInteger, nullable=False),
        Column("at_us", BigInteger, nullable=False),
        Column("ended_us", BigInteger),
        Column("replica", Exact),
        Column("cancel", blob_type()),
        Column("snapshot_seq", BigInteger, nullable=False),
        Column("snapshot_size", BigInteger, nullable=False),
        **INNODB,
    )
    if op.get_context().dialect.name == "postgresql":  # SQLAlchemy has an option for it from 2.1 on
        op.execute("ALTER TABLE a2a_task SET (fillfactor = 70)")
    op.create_index("a2a_task_key", "a2a_task", ["scope", "id"], unique=True)
    op.create_index("a2a_task_list", "a2a_task", ["scope", "at_us", "id"])
    op.create_index("a2a_task_context", "a2a_task", ["scope", "context_id", "at_us", "id"])
    op.create_index("a2a_task_held", "a2a_task", ["replica"], postgresql_where=HELD, sqlite_where=HELD)
    op.create_index("a2a_task_ended", "a2a_task", ["ended_us", "pk"], postgresql_where=ENDED, sqlite_where=ENDED)
    op.create_table(
        "a2a_record",
        Column("task", key_type(), primary_key=True, autoincrement=False),
        Column("seq", BigInteger, primary_key=True, autoincrement=False),
        Column("event", blob_type(), nullable=False),
        Column("state", Integer, nullable=False),
        Column("turn", Integer, nullable=False),
        Column("at_us", BigInteger, nullable=False),
        Column("epoch", BigInteger, nullable=False),
        Column("message", blob_type()),
        sqlite_with_rowid=False,
        **INNODB,
    )
    op.create_table(
        "a2a_snapshot",
        Column("task", key_type(), primary_key=True, autoincrement=False),
        Column("seq", BigInteger, nullable=False),
        Column("state", Integer, nullable=False),
        Column("turn", Integer, nullable=False),
        Column("body", blob_type(), nullable=False),
        **INNODB,
    )
    op.create_table(
        "a2a_pending",
        Column("task", key_type(), primary_key=True, autoincrement=False),
        Column("turn", Integer, primary_key=True, autoincrement=False),
        Column("skill", text_type(), nullable=False),
        Column("request", blob_type(), nullable=False),
        Column("scopes", text_type(), nullable=False),
        Column("token", digest_type(16), nullable=False),
        sqlite_with_rowid=False,
        **INNODB,
    )
    op.create_table(
        "a2a_binding",
        Column("scope", digest_type(32), primary_key=True),
        Column("key", Exact, primary_key=True),
        Column("fingerprint", blob_type(), nullable=False),
        Column("task_id", Exact, nullable=False),
        Column("turn", Integer, nullable=False),
        Column("reply", blob_type(), nullable=False),
        Column("at_us", BigInteger, nullable=False),
        sqlite_with_rowid=False,
        **INNODB,
    )
    op.create_index("a2a_binding_age", "a2a_binding", ["at_us"])
    op.create_table(
        "a2a_replica",
        Column("id", Exact, primary_key=True),
        Column("lease_until_us", BigInteger, nullable=False),
        **INNODB,
    )
