"""A statement that must end leaves nothing in the log of asyncio, and no connection that is broken or missing."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Connection, text

from a2a_grpc.database import postgresql
from a2a_grpc.database.postgresql import AsyncpgDatabase
from a2a_grpc.database.transactions import READERS, WRITERS, Use
from a2a_grpc.database.urls import DatabaseUrl

LIMIT_S = 0.1


def sleep(connection: Connection) -> None:
    """Run statements that end before the limit of the server, but only together after the limit of a transaction."""
    while True:
        connection.execute(text("SELECT pg_sleep(0.06)"))


def answer(connection: Connection) -> int:
    return int(connection.execute(text("SELECT 42")).scalar_one())


@pytest.fixture
async def database(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncpgDatabase]:
    monkeypatch.setattr(postgresql, "ATTEMPT_S", LIMIT_S)
    database = AsyncpgDatabase(DatabaseUrl.parse(postgres_url))
    yield database
    await database.close()


def check_log(caplog: pytest.LogCaptureFixture) -> None:
    gc.collect()  # a future whose exception was not read is logged when it is deleted
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO] == []


async def test_a_statement_that_takes_too_long_ends_and_logs_nothing(
    database: AsyncpgDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        running = [
            *(database.read(sleep) for _ in range(READERS)),
            *(database.run(Use.READ_SNAPSHOT, sleep) for _ in range(READERS)),
            *(database.write(sleep) for _ in range(WRITERS)),
            database.run(Use.WRITE_PRIORITY, sleep),
            database.run(Use.WRITE_UNSYNCED, sleep),
        ]
        for ended in await asyncio.gather(*running, return_exceptions=True):
            assert isinstance(ended, TimeoutError)
    pools: dict[Use, Any] = {use: engine.pool for use, engine in database.pools.items()}
    assert {use: pool.checkedout() for use, pool in pools.items()} == dict.fromkeys(Use, 0)
    assert await asyncio.gather(*(database.write(answer) for _ in range(WRITERS))) == [42] * WRITERS
    assert await asyncio.gather(*(database.read(answer) for _ in range(READERS))) == [42] * READERS
    check_log(caplog)


async def test_statements_of_a_database_that_is_given_up_at_their_limit_end_and_log_nothing(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for turns in range(12):
        database = AsyncpgDatabase(DatabaseUrl.parse(postgres_url))
        assert await asyncio.gather(*(database.write(answer) for _ in range(WRITERS))) == [42] * WRITERS
        with monkeypatch.context() as patched:
            patched.setattr(postgresql, "ATTEMPT_S", LIMIT_S)
            running = [asyncio.ensure_future(database.write(sleep)) for _ in range(WRITERS)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await asyncio.sleep(LIMIT_S)
        for _ in range(turns):
            await asyncio.sleep(0)
        await database.give_up()
        for ended in await asyncio.gather(*running, return_exceptions=True):
            assert isinstance(ended, TimeoutError)
        await database.close()
    check_log(caplog)
