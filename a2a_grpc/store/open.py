"""A store by its URL."""

from a2a_grpc.config import ConfigurationError
from a2a_grpc.masking import mask_url
from a2a_grpc.store.memory import MemoryStore
from a2a_grpc.store.protocol import TaskStore

SCHEMES = ("sqlite", "postgresql", "postgres", "mysql", "mariadb")


def open_store(url: str, *, budget_s: float = 20.0) -> TaskStore:
    """The store for `memory:`, `sqlite:///file`, `postgresql://…`, `mysql://…` or `mariadb://…`; it is not opened yet.

    A database may be away for `budget_s` seconds before a call fails.
    Raises ConfigurationError for a URL that names no store, or one whose driver is not installed.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory" and rest in ("", "//"):
        return MemoryStore()
    if scheme.partition("+")[0] in SCHEMES and rest.startswith("//"):
        from a2a_grpc.store.sql import SqlStore  # SQLAlchemy: who keeps tasks in memory need not wait for it

        return SqlStore(url, budget_s=budget_s)
    raise ConfigurationError(
        f"store is '{mask_url(url)}'; it must be memory:, sqlite:///tasks.db, postgresql://…, mysql://… or mariadb://…"
    )
