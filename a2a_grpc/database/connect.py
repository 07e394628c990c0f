"""The database at a place: in threads for SQLite and MySQL, on asyncpg for PostgreSQL."""

from a2a_grpc.database.transactions import BUSY_S, Database, mysql_database, sqlite_database
from a2a_grpc.database.transient import quiet_drivers
from a2a_grpc.database.urls import Place


def connect(place: Place, *, busy_s: float = BUSY_S) -> Database:
    """Return the database at a place. Nothing is opened yet. On SQLite `busy_s` is the wait for another process."""
    quiet_drivers()
    match place.dialect:
        case "sqlite":
            return sqlite_database(place, min(busy_s, BUSY_S))
        case "mysql":
            return mysql_database(place)
    from a2a_grpc.database.postgresql import AsyncpgDatabase  # asyncpg is an extra

    return AsyncpgDatabase(place)
