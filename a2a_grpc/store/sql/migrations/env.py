"""The script that Alembic runs. It applies the revisions on a given connection, or writes them as text."""

from alembic import context

from a2a_grpc.store.sql.schema import VERSION_TABLE, metadata

if context.is_offline_mode():
    context.configure(
        dialect_name=context.config.attributes["dialect"],
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    # The transaction is the caller's.
    context.configure(
        connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
    )
    context.run_migrations()
