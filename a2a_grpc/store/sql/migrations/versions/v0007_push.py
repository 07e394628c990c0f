"""Keep push configs of tasks, and how far each of them is delivered."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, text

from a2a_grpc.database.columns import Exact, blob_type, key_type, text_type

revision = "0007"
down_revision = "0006"

DUE = text("due_us IS NOT NULL")
CLAIMED = text("replica IS NOT NULL")
DEAD = text("state = 2")


def upgrade() -> None:
    op.create_table(
        "a2a_push",
        Column("task", key_type(), primary_key=True, autoincrement=False),
        Column("id", Exact, primary_key=True),
        Column("config", blob_type(), nullable=False),
        Column("secrets", blob_type(), nullable=False),
        Column("version", text_type(), nullable=False),
        Column("seq", BigInteger, nullable=False),
        Column("state", Integer, nullable=False),
        Column("since_us", BigInteger, nullable=False),
        Column("due_us", BigInteger),
        Column("replica", Exact),
        Column("epoch", BigInteger, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("denials", Integer, nullable=False),
        Column("error", text_type(), nullable=False),
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )
    op.create_index("a2a_push_due", "a2a_push", ["due_us"], postgresql_where=DUE, sqlite_where=DUE)
    op.create_index("a2a_push_claimed", "a2a_push", ["replica"], postgresql_where=CLAIMED, sqlite_where=CLAIMED)
    op.create_index("a2a_push_dead", "a2a_push", ["state", "task", "id"], postgresql_where=DEAD, sqlite_where=DEAD)
