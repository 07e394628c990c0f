"""Connect to a database: in threads for SQLite and MySQL, on asyncpg for PostgreSQL."""

from a2a_grpc.database.transactions import BUSY_S, Database, mysql_database, sqlite_database
from a2a_grpc.database.transient import quiet_drivers
from a2a_grpc.database.urls import DatabaseUrl


def connect(url: DatabaseUrl, *, busy_s: float = BUSY_S) -> Database:
    """Return the database of a URL. It is not opened yet.

    Args:
        url: The URL.
        busy_s: Seconds to wait for another process that writes to the same SQLite file.
    """
    quiet_drivers()
    match url.dialect:
        case "sqlite":
            return sqlite_database(url, min(busy_s, BUSY_S))
        case "mysql":
            return mysql_database(url)
    from a2a_grpc.database.postgresql import AsyncpgDatabase  # asyncpg is an extra

    return AsyncpgDatabase(url)
