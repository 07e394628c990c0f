"""Stores by their URLs."""

import shlex

from a2a_grpc.config import ConfigurationError
from a2a_grpc.masking import MASK, mask_url
from a2a_grpc.store.memory import MemoryStore
from a2a_grpc.store.protocol import TaskStore

SCHEMES = ("sqlite", "postgresql", "postgres", "mysql", "mariadb")


def db_command(verb: str, shown: str, *words: str) -> str:
    """Return the end of a sentence: the `a2a-grpc db` command to run for a store.

    A URL with a masked password cannot be part of a command, so the command then takes the URL from A2A_GRPC_STORE.

    Args:
        verb: The command, such as `upgrade`.
        shown: The URL of the store, its secrets masked.
        words: The arguments of the command.
    """
    command = shlex.join(["a2a-grpc", "db", verb, *words])
    if MASK in shown:
        return f"set A2A_GRPC_STORE to the URL with its password, and run: {command}"
    return f"run: {command} --store {shlex.quote(shown)}"


def open_store(url: str, *, budget_s: float = 20.0) -> TaskStore:
    """Return the store for a URL. It is not opened yet.

    Args:
        url: `memory:`, `sqlite:///FILE`, `postgresql://…`, `mysql://…` or `mariadb://…`.
        budget_s: Seconds for which a database may fail to answer before a call raises StoreUnavailable.

    Raises:
        ConfigurationError: The URL names no store, or the driver of its database is not installed.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory" and rest in ("", "//"):
        return MemoryStore()
    if scheme.partition("+")[0] in SCHEMES and rest.startswith("//"):
        from a2a_grpc.store.sql import SqlStore  # imports SQLAlchemy, which a server with a memory store does not need

        return SqlStore(url, budget_s=budget_s)
    raise ConfigurationError(
        f"store is '{mask_url(url)}'; it must be memory:, sqlite:///tasks.db, postgresql://…, mysql://… or mariadb://…"
    )
