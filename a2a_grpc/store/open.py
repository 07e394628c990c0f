"""Stores by their URLs."""

from a2a_grpc.config import ConfigurationError
from a2a_grpc.masking import mask_url
from a2a_grpc.store.memory import MemoryStore
from a2a_grpc.store.protocol import TaskStore

SCHEMES = ("sqlite", "postgresql", "postgres", "mysql", "mariadb")


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
