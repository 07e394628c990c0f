"""What Alembic runs: the revisions, on the connection that it was given."""

from alembic import context

from a2a_grpc.store.sql.schema import VERSION_TABLE, metadata

# The transaction is the caller's.
context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
)
context.run_migrations()
