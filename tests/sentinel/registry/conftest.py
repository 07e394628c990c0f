"""Stores of entries for the tests of the registry: in memory, in SQLite and in PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from a2a_grpc.registry import EntryStore, open_entries

LEASE_S = 60.0


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store of each kind."""
    match request.param:
        case "sqlite":
            return f"sqlite:///{tmp_path}/sentinel.db"
        case "postgresql":
            return str(request.getfixturevalue("postgres_url"))
    return "memory:"


@pytest.fixture
async def entries(url: str) -> AsyncIterator[EntryStore]:
    """An open store of each kind."""
    store = open_entries(url, lease_s=LEASE_S)
    await store.open()
    yield store
    await store.close()
