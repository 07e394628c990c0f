"""Find out whether the database of a URL can be used, and if not, why."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.connect import connect
from a2a_grpc.database.retry import is_database_error, is_transient, reason, tls_problem
from a2a_grpc.database.transactions import Database
from a2a_grpc.database.unavailable import StoreDamaged, StoreUnavailable
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.masking import mask_url


@contextmanager
def usable(url: DatabaseUrl) -> Iterator[None]:
    """Raise ConfigurationError if the block fails because the database cannot be used. Transient errors pass."""
    try:
        if url.dialect == "sqlite":
            check_file(url)
        yield
    except Exception as error:
        if not is_database_error(error) or (is_transient(error) and not tls_problem(error)):
            raise
        raise _unusable(url, error) from error


@asynccontextmanager
async def reaching(url: DatabaseUrl) -> AsyncIterator[Database]:
    """Connect to a database for the block, without retries.

    Raises:
        ConfigurationError: The database cannot be used.
        StoreUnavailable: The database does not answer.
    """
    database = connect(url)
    try:
        with usable(url):
            yield database
    except StoreDamaged as error:
        if error.__cause__ is None:
            raise
        raise _unusable(url, error.__cause__) from error
    except Exception as error:
        if not is_database_error(error):
            raise
        raise StoreUnavailable(f"'{url.shown}' does not answer: {reason(error)}") from error
    finally:
        await database.close()


def is_there(url: DatabaseUrl) -> bool:
    """Return False if the database is an SQLite file that does not exist. Raise ConfigurationError for a path that
    cannot be one."""
    if url.dialect != "sqlite":
        return True
    check_file(url)
    return Path(url.path).exists()


def check_there(url: DatabaseUrl) -> None:
    """Raise ConfigurationError if the database is an SQLite file that does not exist, as connecting would make it."""
    if not is_there(url):
        raise ConfigurationError(f"store is '{url.shown}'; there is no file {url.path}")


def check_file(url: DatabaseUrl) -> None:
    """Raise ConfigurationError if a file cannot be used, since the error of SQLite would say less."""
    path = Path(url.path)
    try:
        if path.is_dir():
            raise ConfigurationError(f"store is '{url.shown}'; {path} is a directory")
        if not path.parent.is_dir():
            raise ConfigurationError(f"store is '{url.shown}'; there is no directory {path.parent}")
        if not os.access(path if path.exists() else path.parent, os.R_OK | os.W_OK):
            raise ConfigurationError(f"store is '{url.shown}'; {path} cannot be written")
    except OSError as error:  # the name is too long, for example
        raise ConfigurationError(f"store is '{url.shown}'; {error.strerror}") from error


def _unusable(url: DatabaseUrl, error: BaseException) -> ConfigurationError:
    if why := tls_problem(error):
        root = "sslrootcert" if url.dialect == "postgresql" else "ssl_ca"
        return ConfigurationError(f"store is '{url.shown}'; {why}; check {root} and the host in the URL")
    said = mask_url(str(getattr(error, "orig", None) or error).strip().splitlines()[0])
    return ConfigurationError(f"store is '{url.shown}'; it cannot be used: {said}")
