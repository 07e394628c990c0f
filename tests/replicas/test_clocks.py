"""No wall clock of a replica moves a lease or a retention: a library before libc moves the clocks of processes."""

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from a2a_grpc import Task
from a2a_grpc.database.clock import MachineClock, boot_id
from a2a_grpc.engine.takeover import LOST_FAILURE
from a2a_grpc.lifecycle import COMPLETED, FAILED
from a2a_grpc.store import Binding, Scope, open_store
from a2a_grpc.store.contract.given import ME, create
from a2a_grpc.store.sql import SqlStore, schema
from a2a_grpc.store.sql.migrations import upgrade
from tests.harness import Program, eventually, run_program
from tests.replicas.rig import counted, reason_of
from tests.replicas.test_processes import client_of
from tests.tools import MissingProgram, skip_without

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the library that moves the clock is for Linux")

HOUR_S = 3600
SCOPE = Scope("", "")
LEASE_S = 2.0


class WallClock:
    """The wall clock of processes that are started with `environment`."""

    def __init__(self, folder: Path, library: Path) -> None:
        self._offset = folder / f"offset-{time.monotonic_ns()}"
        self.jump(0)
        self.environment = {"LD_PRELOAD": str(library), "WALL_CLOCK_OFFSET": str(self._offset)}

    def jump(self, seconds: int) -> None:
        """Set how far the clock is ahead of the machine's."""
        fresh = self._offset.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.replace(self._offset)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        skip_without(MissingProgram("cc", "apt-get install gcc libc6-dev"))
    made = tmp_path_factory.mktemp("clock") / "wall_clock.so"
    source = Path(__file__).with_name("wall_clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made, source], check=True)
    return made


@pytest.fixture
def new_clock(tmp_path: Path, library: Path) -> Callable[[], WallClock]:
    return lambda: WallClock(tmp_path, library)


def replica(url: str, clock: WallClock, *options: str) -> Program:
    return Program(
        *("tests/replicas/counter.py", "-o", "json", "--listen", "127.0.0.1:0", "--http-listen", "off"),
        *("--lease-s", str(LEASE_S), "--poll-interval-s", "0.3", *options),
        env={"A2A_GRPC_STORE": url, "NOT_RESUMABLE": "1", **clock.environment},
    )


async def test_the_library_moves_the_wall_clock_and_no_other(new_clock: Callable[[], WallClock]) -> None:
    clock = new_clock()
    clock.jump(HOUR_S)
    told = "import time; print(time.time(), time.monotonic())"
    code, out, err = await run_program("-c", told, env=clock.environment)
    assert (code, err) == (0, "")
    wall, monotonic = map(float, out.split())
    assert abs(wall - time.time() - HOUR_S) < 120
    assert abs(monotonic - time.monotonic()) < 120


@pytest.mark.long
@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
async def test_a_wall_clock_that_jumps_loses_no_lease_and_fails_no_task_on_sqlite(
    tmp_path: Path, new_clock: Callable[[], WallClock], jump_s: int
) -> None:
    """The jump is there for one replica before the other has renewed its lease: each would declare the other dead."""
    url, clocks = f"sqlite:///{tmp_path}/tasks.db", [new_clock(), new_clock()]
    async with replica(url, clocks[0]) as first, replica(url, clocks[1]) as second:
        tasks: list[Task] = []
        for program in (first, second):
            async with client_of(program) as client:
                for _ in range(2):
                    sent = await client.start("count 40 0.1")
                    assert isinstance(sent, Task)
                    tasks.append(sent)
        clocks[1].jump(jump_s)
        await asyncio.sleep(LEASE_S)
        clocks[0].jump(jump_s)
        async with client_of(first) as client:
            for task in tasks:
                ended = await client.wait(task.id)
                assert ended.status.state == COMPLETED, reason_of(ended)
                assert counted(ended) == 40


@pytest.mark.long
async def test_a_wall_clock_that_goes_back_delays_no_take_over_on_sqlite(
    tmp_path: Path, new_clock: Callable[[], WallClock]
) -> None:
    url, clock = f"sqlite:///{tmp_path}/tasks.db", new_clock()
    async with replica(url, clock) as first, replica(url, clock) as second, client_of(second) as client:
        async with client_of(first) as other:
            task = await other.start("count 3000 0.1")
            assert isinstance(task, Task)
        first.process.kill()
        await first.process.wait()
        clock.jump(-HOUR_S)

        async def is_failed() -> None:
            found = await client.get(task.id)
            assert found.status.state == FAILED
            assert reason_of(found) == LOST_FAILURE

        await eventually(is_failed, within_s=60)  # LEASE_S and a little, on a machine with nothing else to do


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/tasks.db"
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.mark.long
async def test_a_replica_whose_clock_is_ahead_purges_nothing_that_ended_just_now(
    url: str, new_clock: Callable[[], WallClock]
) -> None:
    await upgrade(url)
    right, ahead = new_clock(), new_clock()
    ahead.jump(25 * HOUR_S)
    sweeps = ("--sweep-interval-s", "0.1", "--retention-s", str(24 * HOUR_S))
    async with replica(url, right) as first, client_of(first) as client:
        ended = await client.send("count 1 0")
        assert isinstance(ended, Task)
        store = open_store(url)
        await store.open()
        await store.bind(SCOPE, "key", Binding(b"request"))
        async with replica(url, ahead, *sweeps) as second, client_of(second) as other:
            late = await other.send("count 1 0")
            assert isinstance(late, Task)
            await asyncio.sleep(1.0)  # ten sweeps, or some
            assert (await client.get(ended.id)).status.state == COMPLETED
            assert (await client.get(late.id)).status.state == COMPLETED
            assert await store.bound(SCOPE, "key") is not None
        await store.close()


async def test_after_a_reboot_the_replicas_of_before_are_dead_whatever_their_leases_say(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/tasks.db")
    await store.open()
    await store.join(ME, 1e6)
    await create(store)
    assert await store.orphaned(10) == []
    assert store._database is not None
    await store._write(MachineClock("another start of the machine").anchor, schema.clock, schema.replica)
    await store.close()
    await store.open()
    assert [key.id for key in await store.orphaned(10)] == ["t-1"]
    await store.close()


async def test_processes_of_one_start_of_the_machine_agree_on_the_time(tmp_path: Path) -> None:
    assert boot_id()
    url = f"sqlite:///{tmp_path}/tasks.db"
    store = SqlStore(url)
    await store.open()
    later = MachineClock()
    later._offset_us += HOUR_S * 1_000_000  # as it is for a process that starts after a jump of the wall clock
    await store._write(later.anchor, schema.clock, schema.replica)
    assert store._database is not None
    assert store._database.clock is not None
    assert abs(later.now_us() - store._database.clock.now_us()) < 1_000_000
    await store.close()
