"""Store a common clock for the processes of a machine that share an SQLite file."""

from alembic import op
from sqlalchemy import BigInteger, Column

from a2a_grpc.database.columns import Exact

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "a2a_clock",
        Column("boot", Exact, primary_key=True),
        Column("offset_us", BigInteger, nullable=False),
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )
