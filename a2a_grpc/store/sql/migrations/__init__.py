"""The revisions of the schema, and the upgrade of a database to the newest one.

An SQLite file is upgraded when a store opens it. The operator upgrades other databases with `a2a-grpc db upgrade`.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from sqlalchemy import Connection, inspect, text
from sqlalchemy.schema import CreateSchema

from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.transactions import LOCK_S, Database
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.database.usable import is_there, reaching, usable
from a2a_grpc.store.command import db_command
from a2a_grpc.store.sql.schema import VERSION_TABLE, clock, replica

if TYPE_CHECKING:
    from alembic.config import Config

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008")
"""All revisions, the oldest first."""
HEAD = REVISIONS[-1]
"""The revision that this version of the package works with."""
NONE = "none"
"""The revision of a database that has no tables."""

_LOCKS = {
    "postgresql": text("SELECT pg_advisory_xact_lock(4202025001)"),
    "mysql": text("SELECT GET_LOCK(CONCAT('a2a_grpc.', MD5(DATABASE())), 60)"),
}
"""The statements that keep other processes out. PostgreSQL holds the lock until the transaction ends. MySQL holds it
until the connection is closed, because MySQL commits after each change of a table."""


_UPGRADE_TIMEOUTS = {
    "postgresql": text(
        "SELECT set_config('idle_in_transaction_session_timeout', '60s', true), set_config('lock_timeout', '60s', true)"
    ),
    "mysql": text("SET SESSION wait_timeout = 60"),
}
"""The time for which the database waits for the next statement of an upgrade. Other transactions have a few seconds. An
upgrade has many statements with work between them, and all are lost if a busy machine does not run the process for a
while. PostgreSQL also waits so long for the upgrade of another process."""

_TABLE_LOCK_TIMEOUTS = {"postgresql": text(f"SET LOCAL lock_timeout = '{LOCK_S}s'")}
"""The time for which an upgrade waits for the lock of a table. Calls of running servers wait behind it."""


async def upgrade(url: str) -> tuple[str, str]:
    """Upgrade the schema to the newest revision.

    Args:
        url: The URL of the database.

    Returns:
        The revision before and the revision after. They are equal if the schema was up to date.

    Raises:
        ConfigurationError: The database cannot be used.
        StoreUnavailable: The database does not answer.
    """
    database_url = DatabaseUrl.parse(url)
    await asyncio.to_thread(_import_alembic)  # in the transaction it could take longer than a database waits
    async with reaching(database_url) as database:
        return await database.write(migrate, database_url.schema), HEAD


async def current(url: str) -> tuple[str, str]:
    """Return the revision of the schema, and the revision that this version of the package needs.

    Args:
        url: The URL of the database.

    Raises:
        ConfigurationError: The database cannot be used.
        StoreUnavailable: The database does not answer.
    """
    database_url = DatabaseUrl.parse(url)
    if not is_there(database_url):
        return NONE, HEAD  # connecting would make the file
    async with reaching(database_url) as database:
        return await database.read(version), HEAD


async def prepare(database: Database, url: DatabaseUrl) -> None:
    """Check the schema of a store that is opened. Upgrade it if the database is an SQLite file.

    Raises:
        ConfigurationError: The database cannot be used, or its schema is not the one that this version needs.
        Exception: The error of the database, if it is transient.
    """
    with usable(url):
        at = await database.read(version)
        if url.dialect == "sqlite" and at != HEAD:
            await asyncio.to_thread(_import_alembic)  # it takes a while, and would keep other processes waiting
            await database.write(migrate)
            at = HEAD
        if database.clock is not None:
            await database.write(database.clock.anchor, clock, replica)
    check_head(url, at)


def is_newer(at: str) -> bool:
    """Return True for a schema that belongs to a newer version of the package."""
    return at not in (NONE, *REVISIONS)


def check_head(url: DatabaseUrl, at: str) -> None:
    """Raise ConfigurationError if a schema is not the one that this version needs. The error says what to do."""
    if at != HEAD:
        todo = "" if is_newer(at) else f"; {db_command('upgrade', url.shown)}"
        raise ConfigurationError(f"store is '{url.shown}'; {difference(at)}{todo}")


def difference(at: str) -> str:
    """Return a sentence about a schema that is missing, too old or too new."""
    if is_newer(at):
        return (
            f"the schema is at {at}, which is newer than this version of a2a-grpc knows ({HEAD}); "
            "install a newer version"
        )
    return "the database has no tables yet" if at == NONE else f"the schema is at {at}, this version needs {HEAD}"


def version(connection: Connection) -> str:
    """Return the revision of the schema."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return NONE
    return connection.scalars(text(f"SELECT version_num FROM {VERSION_TABLE}")).first() or NONE


def migrate(connection: Connection, schema: str = "") -> str:
    """Upgrade the tables to the newest revision, in one process at a time. Return the revision before.

    Args:
        connection: A connection with an open transaction.
        schema: The schema of PostgreSQL, which is made if it is missing; "" for the default one.

    Raises:
        ConfigurationError: The tables belong to a newer version of the package.
    """
    for statements in (_UPGRADE_TIMEOUTS, _LOCKS, _TABLE_LOCK_TIMEOUTS):
        if (statement := statements.get(connection.dialect.name)) is not None:
            connection.execute(statement)
    # A user without the right to make schemas may use one that exists.
    if schema and not inspect(connection).has_schema(schema):
        connection.execute(CreateSchema(schema))
    at = version(connection)
    if is_newer(at):
        raise ConfigurationError(difference(at))
    if at != HEAD:
        from alembic import command  # slow to import, and rarely needed

        command.upgrade(config_of(connection=connection), "head")
    return at


def _import_alembic() -> None:
    import alembic.command
    import alembic.config  # noqa: F401


def config_of(output: TextIO | None = None, **attributes: object) -> "Config":
    """Return the configuration of Alembic for these revisions.

    Args:
        output: The file to which SQL is written, if no database is called.
        attributes: The values that `env.py` reads.
    """
    from alembic.config import Config

    config = Config(output_buffer=output)
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(attributes)
    return config
