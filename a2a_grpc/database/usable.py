"""Find out whether the database of a URL can be used, and if not, why."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.retry import is_database_error, is_transient, reason, tls_problem
from a2a_grpc.database.unavailable import StoreDamaged, StoreUnavailable
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.masking import mask_url


async def reaching(url: DatabaseUrl, ask: Callable[[], Awaitable[str]]) -> str:
    """Return the answer of a database. Raise ConfigurationError if it cannot be used, StoreUnavailable if it does not
    answer."""
    try:
        if url.dialect == "sqlite":
            check_file(url)
        return await ask()
    except Exception as raised:
        error = raised.__cause__ if isinstance(raised, StoreDamaged) and raised.__cause__ else raised
        if not is_database_error(error):
            raise
        if is_transient(error) and not tls_problem(error):
            raise StoreUnavailable(f"'{url.shown}' does not answer: {reason(error)}") from error
        raise unusable(url, error) from error


def is_there(url: DatabaseUrl) -> bool:
    """Return True if an SQLite file exists. Raise ConfigurationError for a path that cannot be one."""
    check_file(url)
    return Path(url.path).exists()


def check_file(url: DatabaseUrl) -> None:
    """Raise ConfigurationError if a file cannot be used, since the error of SQLite would say less."""
    path = Path(url.path)
    if path.is_dir():
        raise ConfigurationError(f"store is '{url.shown}'; {path} is a directory")
    if not path.parent.is_dir():
        raise ConfigurationError(f"store is '{url.shown}'; there is no directory {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.R_OK | os.W_OK):
        raise ConfigurationError(f"store is '{url.shown}'; {path} cannot be written")


def unusable(url: DatabaseUrl, error: BaseException) -> ConfigurationError:
    if why := tls_problem(error):
        root = "sslrootcert" if url.dialect == "postgresql" else "ssl_ca"
        return ConfigurationError(f"store is '{url.shown}'; {why}; check {root} and the host in the URL")
    said = mask_url(str(getattr(error, "orig", None) or error).strip().splitlines()[0])
    return ConfigurationError(f"store is '{url.shown}'; it cannot be used: {said}")
