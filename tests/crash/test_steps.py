"""The process of a job is killed at every point of it: each result is recorded once, each effect happened."""

from pathlib import Path

import pytest

from a2a_grpc import Task, connect, data_of
from a2a_grpc.agent.packed import unpack
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.store import TaskKey, open_store
from tests.covers import covers
from tests.crash import stepper
from tests.crash.server import WorkerServer

OPTIONS = ("--lease-s", "0.3", "--poll-interval-s", "0.1", "--max-attempts", "100")


async def be_killed(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do a job whose process is killed at every point, and check what was recorded."""
    monkeypatch.setattr(stepper, "journal", tmp_path / "journal")
    async with WorkerServer(url, tmp_path, *OPTIONS, module="tests.crash.stepper") as server:
        await server.start()
        async with connect(server.address, retry_initial_s=0.05, retry_maximum_s=0.2, connect_timeout_s=60.0) as client:
            task = await client.send("go")
    assert isinstance(task, Task)
    assert task.status.state == COMPLETED
    assert [point for [point] in stepper.noted("death")] == stepper.POINTS

    results = data_of(task)
    assert isinstance(results, list)
    effects = [value for _, value in stepper.noted("effect")]
    assert set(results) <= set(effects)
    assert len(effects) >= 3 * stepper.STEPS, "each death between an effect and the commit has repeated the effect"
    returned = {(step, value) for step, value in stepper.noted("result")}
    assert returned == set(enumerate(results)), "no run was ever given another result"
    assert len({tuple(values) for values in stepper.noted("same")}) == 1
    assert len(stepper.noted("same")) > len(stepper.POINTS)
    progress = [number for [number] in stepper.noted("progress")]
    assert progress == sorted(progress)
    assert set(progress) == set(range(stepper.STEPS + 1))

    store = open_store(url)
    await store.open()
    key = TaskKey("", "", task.id)
    stored = [await store.get_note(key, 1, f"step#{number}") for number in range(1, stepper.STEPS + 1)]
    assert [unpack(packed or b"", "it") for packed in stored] == results
    await store.close()


@covers("G1")
@pytest.mark.long
async def test_a_job_that_is_killed_at_every_point_records_each_result_once_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await be_killed(f"sqlite:///{tmp_path}/tasks.db", tmp_path, monkeypatch)


@covers("G1")
@pytest.mark.long
async def test_a_job_that_is_killed_at_every_point_records_each_result_once_postgres(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_store: str
) -> None:
    await be_killed(postgres_store, tmp_path, monkeypatch)
