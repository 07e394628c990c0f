"""Look at a database without changing its contents. After a crash, SQLite may make its `-shm` file."""

import sqlite3
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.database.usable import is_there, reaching
from a2a_grpc.store.sql.coordination import agent_name
from a2a_grpc.store.sql.migrations import HEAD, NONE, version


class Looked(NamedTuple):
    """What was seen of a database.

    Attributes:
        at: The revision of its schema; `NONE` without tables.
        agent: The name of the agent whose tasks it keeps; "" if there is none, or if the schema is another one.
        is_there: False for an SQLite file that does not exist.
    """

    at: str
    agent: str = ""
    is_there: bool = True


async def look(url: str) -> Looked:
    """Look at the database of a store.

    Raises:
        ConfigurationError: The database cannot be used.
        StoreUnavailable: It does not answer.
    """
    database_url = DatabaseUrl.parse(url)
    if not is_there(database_url):
        return Looked(NONE, is_there=False)
    if database_url.dialect == "sqlite":
        return _look_at_file(database_url)
    async with reaching(database_url) as database:
        return await database.read(_looked)


def _looked(connection: Connection) -> Looked:
    at = version(connection)
    return Looked(at, agent_name(connection) if at == HEAD else "")


def _look_at_file(url: DatabaseUrl) -> Looked:
    """Read a file. If no process has it open, open it as immutable, so that SQLite makes no file next to it."""
    path = Path(url.path)
    is_open = path.with_name(path.name + "-wal").exists()
    uri = f"{path.absolute().as_uri()}?mode=ro{'' if is_open else '&immutable=1'}"
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(uri, uri=True), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            return _looked(connection)
    except DBAPIError as error:
        raise ConfigurationError(f"store is '{url.shown}'; it cannot be used: {error.orig}") from error
