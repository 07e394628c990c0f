"""The SQL store: one implementation for SQLite, PostgreSQL, MySQL and MariaDB.

Importing this package imports SQLAlchemy. `a2a_grpc.store.open_store` does so only for the URL of a database.
Connections, transactions and retries are those of `a2a_grpc.database`.

schema        the tables, with a comment for each column
statements    all statements, with a line of description for each
sqlite        what only SQLite needs: many rows as one, large values in pieces
migrations    the history of the schema, for Alembic
keys          the names and numbers of tasks in the database
row           the row of a task, and what is decided on it
rows          reading and writing rows
batch         many creates and appends in one transaction
bulk          statements for many rows, without SQLAlchemy's handling of parameters
commits       group commit: the next batch is what arrives during a transaction
coordination  transactions about replicas and claims
mailbox       transactions about messages, requests to cancel, and idempotency keys
outbox        transactions about push configs
notes         named values of tasks
loading       reading records and whole tasks
parts         reading less than a whole task, and pages of lists
purging       deleting what is past its retention, for a server and for an operator
upkeep        what an operator does: count, copy, rename the agent
snapshots     storing snapshots in the background
cache         the newest snapshots, in memory
access        the database of a store, with retries
reads         reads of tasks, with the caches
push_configs  the outbox
store         the `TaskStore` made of these
"""

from a2a_grpc.store.sql.store import SqlStore

__all__ = ["SqlStore"]
