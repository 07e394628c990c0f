"""A store by its URL."""

from a2a_grpc.config import ConfigurationError
from a2a_grpc.store.memory import MemoryStore
from a2a_grpc.store.protocol import TaskStore


def open_store(url: str) -> TaskStore:
    """The store for `memory:`. Raises ConfigurationError for a URL that names no store."""
    if url.partition(":")[0] == "memory" and url.partition(":")[2] in ("", "//"):
        return MemoryStore()
    raise ConfigurationError(f"store is '{url}'; it must be memory:")
