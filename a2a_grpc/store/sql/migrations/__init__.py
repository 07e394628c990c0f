"""The schema's history, and how a database comes to the newest one.

SQLite is brought there when a store is opened; the others when somebody says so: `a2a-grpc db upgrade`.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from sqlalchemy import Connection, inspect, text
from sqlalchemy.schema import CreateSchema

from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.connect import connect
from a2a_grpc.database.retry import is_database_error, is_transient, tls_problem
from a2a_grpc.database.transactions import LOCK_S, Database
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.database.usable import check_file, is_there, reaching, unusable
from a2a_grpc.store.command import db_command
from a2a_grpc.store.sql.schema import VERSION_TABLE, clock, replica

if TYPE_CHECKING:
    from alembic.config import Config

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
"""All revisions, the oldest first."""
HEAD = REVISIONS[-1]
"""The revision that this version of the package works with."""
NONE = "none"
"""Where a database without the schema is."""

_LOCKS = {
    "postgresql": text("SELECT pg_advisory_xact_lock(4202025001)"),
    "mysql": text("SELECT GET_LOCK(CONCAT('a2a_grpc.', MD5(DATABASE())), 60)"),
}
"""What keeps other processes out: on PostgreSQL until the transaction ends, on MySQL until the connection is closed,
for its lock must outlast the commit."""


_PATIENCE = {
    "postgresql": text(
        "SELECT set_config('idle_in_transaction_session_timeout', '60s', true), set_config('lock_timeout', '60s', true)"
    ),
    "mysql": text("SET SESSION wait_timeout = 60"),
}
"""How long the database waits for the next statement of an upgrade. Other transactions have a few seconds. An upgrade
has many statements with work between them, and all are lost if a busy machine does not run the process for a while.
PostgreSQL also waits so long for the upgrade of another process."""

_IMPATIENCE = {"postgresql": text(f"SET LOCAL lock_timeout = '{LOCK_S}s'")}
"""For the locks of tables: calls of running servers queue up behind an upgrade that waits for one."""


async def upgrade(url: str) -> tuple[str, str]:
    """Brings the schema to the newest revision: from which, to which; the same one where there was nothing to do.

    Raises ConfigurationError for a database that cannot be used, StoreUnavailable if it does not answer.
    """
    database_url = DatabaseUrl.parse(url)
    database = connect(database_url)
    await asyncio.to_thread(_import_alembic)  # in the transaction it could take longer than a database waits
    try:
        return await reaching(database_url, lambda: database.write(migrate, database_url.schema)), HEAD
    finally:
        await database.close()


async def current(url: str) -> tuple[str, str]:
    """The revision that the schema is at, and the one that this version needs.

    Raises ConfigurationError for a database that cannot be used, StoreUnavailable if it does not answer.
    """
    database_url = DatabaseUrl.parse(url)
    if database_url.dialect == "sqlite" and not is_there(database_url):
        return NONE, HEAD  # to look at a file must not make one
    database = connect(database_url)
    try:
        return await reaching(database_url, lambda: database.read(version)), HEAD
    finally:
        await database.close()


async def prepare(database: Database, url: DatabaseUrl) -> None:
    """Raises ConfigurationError unless the schema is the one that this version needs. A fault that passes is raised as
    it is."""
    try:
        if url.dialect == "sqlite":
            check_file(url)
            if await database.read(version) != HEAD:
                await asyncio.to_thread(_import_alembic)  # it takes a while, and would keep other processes waiting
                await database.write(migrate)
            if database.clock is not None:
                await database.write(database.clock.anchor, clock, replica)
            return
        at = await database.read(version)
    except Exception as error:
        if not is_database_error(error) or (is_transient(error) and not tls_problem(error)):
            raise
        raise unusable(url, error) from error
    check_known(url, at)
    if at != HEAD:
        raise outdated(url, at)


def outdated(url: DatabaseUrl, at: str) -> ConfigurationError:
    """Return the error for a database whose schema is missing or too old. It names the command to run."""
    return ConfigurationError(f"store is '{url.shown}'; {lacks(at)}; {db_command('upgrade', url.shown)}")


def lacks(at: str) -> str:
    """Return a sentence about a schema that is missing or too old."""
    return "the database has no tables yet" if at == NONE else f"the schema is at {at}, this version needs {HEAD}"


def version(connection: Connection) -> str:
    """The revision that the schema is at."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return NONE
    return connection.scalars(text(f"SELECT version_num FROM {VERSION_TABLE}")).first() or NONE


def migrate(connection: Connection, schema: str = "") -> str:
    """Brings the tables to the newest revision; one process at a time does: from which. PostgreSQL's `schema` is made
    if it is missing."""
    if (patience := _PATIENCE.get(connection.dialect.name)) is not None:
        connection.execute(patience)
    if (lock := _LOCKS.get(connection.dialect.name)) is not None:
        connection.execute(lock)
    if (impatience := _IMPATIENCE.get(connection.dialect.name)) is not None:
        connection.execute(impatience)
    if schema:
        _create_schema(connection, schema)
    at = version(connection)
    if at not in (NONE, *REVISIONS):
        raise ConfigurationError(
            f"the schema is at {at}, which is newer than this version of a2a-grpc knows ({HEAD}); "
            "install a newer version"
        )
    if at != HEAD:
        _run_alembic(connection)
    return at


def _create_schema(connection: Connection, schema: str) -> None:
    # Looked for first: a user without the right to make schemas may use one that exists.
    if not inspect(connection).has_schema(schema):
        connection.execute(CreateSchema(schema))


def _import_alembic() -> None:
    import alembic.command
    import alembic.config  # noqa: F401


def _run_alembic(connection: Connection) -> None:
    from alembic import command  # slow to import, and rarely needed

    command.upgrade(config_of(connection=connection), "head")


def config_of(output: TextIO | None = None, **attributes: object) -> "Config":
    """Return the configuration of Alembic for these revisions.

    Args:
        output: The file to which SQL is written, if no database is called.
        attributes: What `env.py` needs.
    """
    from alembic.config import Config

    config = Config(output_buffer=output)
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(attributes)
    return config


def check_known(url: DatabaseUrl, at: str) -> None:
    if at not in (NONE, *REVISIONS):
        raise ConfigurationError(
            f"store is '{url.shown}'; the schema is at {at}, which is newer than this version of a2a-grpc knows "
            f"({HEAD}); install a newer version"
        )
