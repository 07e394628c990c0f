"""Stores of entries by their URLs."""

from a2a_grpc.config import ConfigurationError
from a2a_grpc.masking import mask_url
from a2a_grpc.registry.memory import MemoryEntries
from a2a_grpc.registry.protocol import EntryStore

SCHEMES = ("sqlite", "postgresql", "postgres")


def open_entries(url: str, *, lease_s: float = 15.0, max_entries: int = 100_000) -> EntryStore:
    """Return the store of entries for a URL. It is not opened yet.

    Args:
        url: `memory:`, `sqlite:///FILE` or `postgresql://…`.
        lease_s: Seconds for which an entry is there without a renewal.
        max_entries: The largest number of entries.

    Raises:
        ConfigurationError: The URL names no store, or the driver of its database is not installed.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory" and rest in ("", "//"):
        return MemoryEntries(lease_s=lease_s, max_entries=max_entries)
    if scheme.partition("+")[0] in SCHEMES and rest.startswith("//"):
        from a2a_grpc.registry.sql import SqlEntries  # imports SQLAlchemy

        return SqlEntries(url, lease_s=lease_s, max_entries=max_entries)
    raise ConfigurationError(
        f"store is '{mask_url(url)}'; the store of a sentinel must be memory:, sqlite:///sentinel.db or postgresql://…"
    )
