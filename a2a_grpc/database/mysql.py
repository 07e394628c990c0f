"""A database of MySQL or MariaDB."""

from sqlalchemy import create_engine, event
from sqlalchemy.engine.interfaces import IsolationLevel

from a2a_grpc.database.threads import ThreadedDatabase, ThreadedPool
from a2a_grpc.database.transactions import ATTEMPT_S, CONNECT_S, IDLE_S, LOCK_S, POOL, READERS, WRITERS, Use
from a2a_grpc.database.urls import DatabaseUrl


def mysql_database(url: DatabaseUrl) -> ThreadedDatabase:
    """Return a database of MySQL or MariaDB."""
    session = (
        f"SET SESSION innodb_lock_wait_timeout={LOCK_S}, wait_timeout={4 * IDLE_S}, "
        "sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
    )

    def pool(name: str, size: int, isolation: IsolationLevel) -> ThreadedPool:
        engine = create_engine(
            url.engine_url,
            pool_size=size,
            max_overflow=0,
            pool_recycle=2 * IDLE_S,  # before the server ends them
            pool_logging_name=POOL,
            hide_parameters=True,
            isolation_level=isolation,
            connect_args={
                "connect_timeout": CONNECT_S,
                "read_timeout": ATTEMPT_S,
                "write_timeout": ATTEMPT_S,
                "init_command": session,
                "charset": "utf8mb4",
                **url.arguments,
            },
        )
        made = ThreadedPool(name, engine, size)
        event.listen(engine, "connect", lambda connection, _: made.sockets.add(connection._sock))
        return made

    writing = pool("write", WRITERS, "READ COMMITTED")
    pools = {
        Use.READ: pool("read", READERS, "AUTOCOMMIT"),
        Use.READ_SNAPSHOT: pool("read-snapshot", READERS, "REPEATABLE READ"),
        Use.WRITE: writing,
        Use.WRITE_PRIORITY: pool("write-priority", 1, "READ COMMITTED"),
        Use.WRITE_UNSYNCED: writing,
    }
    return ThreadedDatabase("mysql", pools)
