"""Keep the name of the agent whose tasks these are, so that no other agent takes them for its own."""

from alembic import op
from sqlalchemy import Column, Integer

from a2a_grpc.database.columns import text_type

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "a2a_agent",
        Column("one", Integer, primary_key=True, autoincrement=False),
        Column("name", text_type(), nullable=False),
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )
