"""MariaDB: the contract of every store, and what every SQL store does beyond it."""

from collections.abc import AsyncIterator

import pytest

from a2a_grpc.store import TaskStore, open_store
from tests.store.test_sql_sqlite import SqlContract


class TestMariadbStore(SqlContract):
    @pytest.fixture
    async def store(self, mariadb_store: str) -> AsyncIterator[TaskStore]:
        store = open_store(mariadb_store)
        await store.open()
        yield store
        await store.close()
