"""Store the time since which a task waits for its user, so that tasks that wait too long can expire."""

from alembic import op
from sqlalchemy import BigInteger, Column, text

revision = "0003"
down_revision = "0002"

WAITS = text("waiting_us IS NOT NULL")
INTERRUPTED = "6, 8"
"""INPUT_REQUIRED and AUTH_REQUIRED, numbers of the contract."""


def upgrade() -> None:
    op.add_column("a2a_task", Column("waiting_us", BigInteger))
    op.execute(f"UPDATE a2a_task SET waiting_us = at_us WHERE state IN ({INTERRUPTED})")
    op.create_index("a2a_task_waiting", "a2a_task", ["waiting_us"], postgresql_where=WAITS, sqlite_where=WAITS)
