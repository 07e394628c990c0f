"""Keep named values of tasks: the results of steps, and what handlers remember."""

from alembic import op
from sqlalchemy import Column, Integer

from a2a_grpc.database.columns import Exact, blob_type, key_type

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "a2a_note",
        Column("task", key_type(), primary_key=True, autoincrement=False),
        Column("turn", Integer, primary_key=True, autoincrement=False),
        Column("name", Exact, primary_key=True),
        Column("value", blob_type(), nullable=False),
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )
