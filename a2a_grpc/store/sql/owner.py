"""Change the name of the agent whose tasks a database keeps."""

from sqlalchemy import Connection

from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.connect import connect
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.database.usable import is_there, reaching
from a2a_grpc.store.sql.coordination import rename
from a2a_grpc.store.sql.migrations import HEAD, check_known, outdated, version


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
