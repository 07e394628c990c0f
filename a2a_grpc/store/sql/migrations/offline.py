"""The statements of an upgrade as text, for those who run them by other means."""

import io

from alembic import command

from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.store.sql.migrations import HEAD, REVISIONS, config_of


async def statements(url: str, since: str = "") -> str:
    """Return the statements that upgrade a database. The database is not called.

    Args:
        url: The URL of the database, for its dialect and its schema.
        since: The revision that the database has; "" if it has no tables.

    Raises:
        ConfigurationError: There is no such revision, or nothing to upgrade.
    """
    database = DatabaseUrl.parse(url)
    if since and since not in REVISIONS[:-1]:
        raise ConfigurationError(f"--from is '{since}'; it must be one of {', '.join(REVISIONS[:-1])}")
    output = io.StringIO()
    command.upgrade(config_of(output, dialect=database.dialect), f"{since}:{HEAD}" if since else HEAD, sql=True)
    text = output.getvalue()
    if database.schema:
        name = f'"{database.schema}"'  # in quotes, as the server names it
        return f"CREATE SCHEMA IF NOT EXISTS {name};\n\nSET search_path TO {name};\n\n{text}"
    return text
