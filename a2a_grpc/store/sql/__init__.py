"""The SQL store: one implementation for SQLite, PostgreSQL, MySQL and MariaDB.

Importing this package imports SQLAlchemy. `a2a_grpc.store.open_store` does so only for the URL of a database.
Connections, transactions and retries are those of `a2a_grpc.database`; `Access` is the base class of the store.

schema        the tables, with a comment for each column
statements    all statements, with a line of description for each
sqlite        what only SQLite needs: many rows as one, large values in pieces
migrations    the history of the schema, for Alembic
keys          the names and numbers of tasks in the database
rows          the row of a task: reading it, deciding on it, writing it
batch         deciding many creates and appends in one transaction
plan          what this transaction writes, without SQLAlchemy's handling of parameters
commits       group commit: the next batch is what arrives during a transaction
coordination  replicas, claims, messages, requests to cancel, and idempotency keys
notes         named values of tasks
outbox        push configs and their deliveries
snapshots     reading whole tasks, and storing them as snapshots in the background
parts         reading less than a whole task, and pages of lists
reads         reads of tasks, with the caches
purging       deleting what is past its retention, for a server and for an operator
upkeep        what an operator does: count, copy, rename the agent
store         the `TaskStore` made of these
"""

from a2a_grpc.store.sql.store import SqlStore

__all__ = ["SqlStore"]
