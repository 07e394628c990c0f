"""A full disk can be read, and takes small writes. The store says that it accepts no writes, and logs this once."""

import asyncio
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from a2a_grpc.store import StoreUnavailable
from a2a_grpc.store.contract.given import ME, append, chunk, create, head_of
from a2a_grpc.store.sql import SqlStore
from tests.harness import eventually

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a limit of the size of files plays the full disk")


@contextmanager
def full(wal: Path) -> Iterator[None]:
    """While the block runs, no file of this process may become much larger than the log of the database is now."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size + 256 * 1024, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_store_with_a_full_disk_is_unavailable_until_what_waits_is_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("a2a_grpc.database.retry.SETTLED_S", 0.0)  # what is read meanwhile ends no outage all the same
    store = SqlStore(f"sqlite:///{tmp_path}/tasks.db")
    await store.open()
    await create(store)
    with full(tmp_path / "tasks.db-wal"):
        waiting = asyncio.create_task(append(store, chunk(2, "w" * 1_000_000), epoch=1))

        async def accepts_no_writes() -> None:
            said = await asyncio.gather(store.ping(), return_exceptions=True)
            assert isinstance(said[0], StoreUnavailable)
            assert "accepts no writes" in str(said[0])

        await eventually(accepts_no_writes)
        await store.renew(ME, 10.0)
        assert (await head_of(store)).seq == 1
        assert not waiting.done()
    await waiting
    await store.ping()
    await store.close()
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [text.split(" store=")[0] for text in said] == ["database unavailable", "database available again"]
