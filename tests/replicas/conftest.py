"""A store for replicas, of each kind that they can share."""

from collections.abc import AsyncIterator

import pytest

from tests.replicas.rig import MEMORY, Site


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def shared_url(request: pytest.FixtureRequest) -> str:
    """The URL of a store without tasks."""
    match request.param:
        case "memory":
            return MEMORY
        case "sqlite":
            return str(request.getfixturevalue("sqlite_store"))
    return str(request.getfixturevalue("postgres_store"))


@pytest.fixture
async def site(shared_url: str) -> AsyncIterator[Site]:
    """Replicas in this process."""
    async with Site(shared_url) as site:
        yield site
