"""Store the caller of each message that waits, for the replica that runs the turn of the message."""

from alembic import op
from sqlalchemy import Column

from a2a_grpc.database.columns import text_type

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("a2a_pending", Column("caller", text_type()))
