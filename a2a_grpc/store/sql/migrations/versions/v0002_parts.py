"""Store tasks in parts, so that a reader loads only the parts that it wants.

Older rows have NULL in the new columns. They are read as a whole, as before.
"""

from alembic import op
from sqlalchemy import Column, Integer, text

from a2a_grpc.database.columns import blob_type
from a2a_grpc.store.sql.schema import STATUS_INDEX, is_index_of

revision = "0002"
down_revision = "0001"

TELLS_STATUS = text("at_us > 0")


def upgrade() -> None:
    op.add_column("a2a_task", Column("core", blob_type()))
    op.add_column("a2a_record", Column("messages", Integer))
    op.add_column("a2a_snapshot", Column("history", blob_type()))
    op.add_column("a2a_snapshot", Column("artifacts", blob_type()))
    if is_index_of(op.get_context().dialect.name, STATUS_INDEX):
        op.create_index(
            STATUS_INDEX,
            "a2a_record",
            ["task", "seq", "messages"],
            postgresql_where=TELLS_STATUS,
            sqlite_where=TELLS_STATUS,
        )
