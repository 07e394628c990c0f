"""Connect to a database: in threads for SQLite and MySQL, on asyncpg for PostgreSQL."""

import logging

from a2a_grpc.database.mysql import mysql_database
from a2a_grpc.database.sqlite import BUSY_S, sqlite_database
from a2a_grpc.database.transactions import POOL, Database
from a2a_grpc.database.urls import DatabaseUrl


def connect(url: DatabaseUrl, *, busy_s: float = BUSY_S) -> Database:
    """Return the database of a URL. It is not opened yet.

    Args:
        url: The URL.
        busy_s: Seconds to wait for another process that writes to the same SQLite file.
    """
    _quiet_pools()
    match url.dialect:
        case "sqlite":
            return sqlite_database(url, min(busy_s, BUSY_S))
        case "mysql":
            return mysql_database(url)
    from a2a_grpc.database.postgresql import AsyncpgDatabase  # asyncpg is an extra

    return AsyncpgDatabase(url)


class _NoTracebacks(logging.Filter):
    """Drops log records with a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.exc_info


def _quiet_pools() -> None:
    """Stop the pools of this package from logging a traceback for each connection that an outage ends.

    The store logs once that the database does not answer. The loggers of other pools stay as they are.
    """
    for kind in ("QueuePool", "AsyncAdaptedQueuePool"):
        logger = logging.getLogger(f"sqlalchemy.pool.impl.{kind}.{POOL}")
        if not logger.filters:
            logger.addFilter(_NoTracebacks())
