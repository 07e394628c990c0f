"""Open a database as it is: without a server, without an upgrade, and without making a file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.connect import connect
from a2a_grpc.database.retry import is_database_error, is_transient, reason, tls_problem
from a2a_grpc.database.transactions import Database
from a2a_grpc.database.unavailable import StoreUnavailable
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.database.usable import is_there, unusable
from a2a_grpc.store.sql.migrations import HEAD, check_known, outdated, version
from a2a_grpc.store.sql.schema import clock, replica


@asynccontextmanager
async def opened(url: str, *, writes: bool = False) -> AsyncIterator[Database]:
    """Open a database of the schema that this version needs, and close it after the block.

    Args:
        url: The URL of the store.
        writes: True if the block writes times. The processes of a machine then agree on the time of an SQLite file.

    Raises:
        ConfigurationError: There is no such database, it cannot be used, or its schema is another one.
        StoreUnavailable: The database does not answer, also inside the block.
    """
    database_url = DatabaseUrl.parse(url)
    if database_url.dialect == "sqlite" and not is_there(database_url):
        raise ConfigurationError(f"store is '{database_url.shown}'; there is no file {database_url.path}")
    database = connect(database_url)
    try:
        if (at := await database.read(version)) != HEAD:
            check_known(database_url, at)
            raise outdated(database_url, at)
        if writes and database.clock is not None:
            await database.write(database.clock.anchor, clock, replica)
        yield database
    except Exception as error:
        if not is_database_error(error):
            raise
        if is_transient(error) and not tls_problem(error):
            raise StoreUnavailable(f"'{database_url.shown}' does not answer: {reason(error)}") from error
        raise unusable(database_url, error) from error
    finally:
        await database.close()
