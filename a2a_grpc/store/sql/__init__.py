"""The SQL store: one implementation for SQLite, PostgreSQL, MySQL and MariaDB.

Importing this package imports SQLAlchemy; `a2a_grpc.store.open_store` does so only for the URL of a database.
Connections and transactions are those of `a2a_grpc.database`.

store       the `TaskStore` made of these
schema      the tables, every column explained
migrations  how they came to be, for Alembic
owner       the name of the agent whose tasks a database keeps
keys        how tasks are named in the database
row         the row of a task and what is decided on it
rows        reading and writing that row
mailbox     the transactions about one task, one key or one replica
parts       reading less than a whole task
loading     reading whole tasks
sqlite      reading and writing large values in steps
listing     lists of tasks
purging     removing what is past its retention
batch       many creates and appends in one transaction
commits     who calls that: group commit
bulk        the few statements of the append path, sent the short way
tail        what was appended here lately, in memory
snapshots   stored snapshots
"""

from a2a_grpc.store.sql.store import SqlStore

__all__ = ["SqlStore"]
