"""The name of the agent whose tasks a database keeps."""

from sqlalchemy import Connection, select

from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.connect import connect
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.database.usable import is_there, reaching
from a2a_grpc.store.sql.migrations import HEAD, check_known, outdated, version
from a2a_grpc.store.sql.schema import agent

ONE = 1
"""The key of the only row."""


def belong_to(connection: Connection, name: str) -> str:
    """Keep the name if none is kept. Return the name that is kept. Of two agents that come at the same time one meets a
    conflict, and reads the other's name at its next try."""
    kept: str | None = connection.scalars(select(agent.c.name)).first()
    if kept is None:
        connection.execute(agent.insert().values(one=ONE, name=name))
        return name
    return kept


def rename(connection: Connection, name: str) -> str:
    """Keep another name. Return the name that was kept before; "" if there was none."""
    before: str | None = connection.scalars(select(agent.c.name).with_for_update()).first()
    if before is None:
        connection.execute(agent.insert().values(one=ONE, name=name))
        return ""
    connection.execute(agent.update().values(name=name))
    return before


async def rename_at(url: str, name: str) -> str:
    """Keep another name in the database of a URL. Return the name that was kept before; "" if there was none.

    Raises ConfigurationError for a database that cannot be used, StoreUnavailable if it does not answer.
    """
    database_url = DatabaseUrl.parse(url)
    if not name.strip():
        raise ConfigurationError("the new name is empty; give the name that the agent's card has")
    if database_url.dialect == "sqlite" and not is_there(database_url):
        raise ConfigurationError(f"store is '{database_url.shown}'; there is no file {database_url.path}")
    database = connect(database_url)

    def transaction(connection: Connection) -> str:
        if (at := version(connection)) != HEAD:
            check_known(database_url, at)
            raise outdated(database_url, at)
        return rename(connection, name)

    try:
        return await reaching(database_url, lambda: database.write(transaction))
    finally:
        await database.close()
