"""Open a database as it is: without a server, without an upgrade, and without making a file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.transactions import Database
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.database.usable import check_there, reaching
from a2a_grpc.store.sql.coordination import rename
from a2a_grpc.store.sql.migrations import check_head, version
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
    check_there(database_url)
    async with reaching(database_url) as database:
        check_head(database_url, await database.read(version))
        if writes and database.clock is not None:
            await database.write(database.clock.anchor, clock, replica)
        yield database


async def rename_at(url: str, name: str) -> str:
    """Keep another name of the agent in a database. Return the name that was kept before; "" if there was none.

    Raises the errors of `opened`, and ConfigurationError for an empty name.
    """
    if not name.strip():
        raise ConfigurationError("the new name is empty; give the name that the agent's card has")
    async with opened(url) as database:
        return await database.write(rename, name)
