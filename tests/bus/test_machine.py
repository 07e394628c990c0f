"""Wakes between the processes of one machine."""

import asyncio
import os
import shutil
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from a2a_grpc.bus import Bus, open_bus
from a2a_grpc.bus.directory import MAX_PATH_BYTES, machine_directories
from a2a_grpc.bus.machine import DIGESTS_A_DATAGRAM, MachineBus
from a2a_grpc.bus.peer import datagram_socket
from a2a_grpc.bus.shared import MAX_WAITING, split
from a2a_grpc.config import ConfigurationError
from tests.bus.contract import TASK, SharedBusContract, healthy, woken
from tests.bus.process import OtherProcess
from tests.harness import eventually

SPY = "5" * 16
LONGEST_ADDRESS = 107 if sys.platform == "linux" else MAX_PATH_BYTES
"""Bytes of the longest path that a socket can have here."""


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's directory for sockets, its path as short as theirs."""
    folder = Path(tempfile.mkdtemp(prefix="run-", dir="/tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder whose path is short: sockets beside a database in it fit. Those that pytest makes can be too long."""
    with tempfile.TemporaryDirectory(prefix="db-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def urls(tmp_path: Path) -> tuple[str, str]:
    return "machine:", f"sqlite:///{tmp_path}/tasks.db?synchronous=normal"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return machine_directories(str(tmp_path / "tasks.db"))[0]


def sockets(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def there(directory: Path, count: int) -> None:
    assert len(sockets(directory)) == count


def peers(bus: Bus, count: int) -> None:
    assert isinstance(bus, MachineBus)
    assert len(bus._peers) == count


class TestMachineBus(SharedBusContract):
    @pytest.fixture
    def urls(self, tmp_path: Path) -> tuple[str, str]:
        return "machine:", f"sqlite:///{tmp_path}/tasks.db"

    async def test_processes_that_start_together_find_each_other(self, urls: tuple[str, str]) -> None:
        buses = [open_bus(*urls) for _ in range(8)]
        await asyncio.gather(*(bus.start() for bus in buses))
        for bus in buses:
            await eventually(lambda bus=bus: peers(bus, 7))
        await asyncio.gather(*(bus.stop() for bus in buses))

    async def test_the_directory_is_for_the_user_alone(self, bus: Bus, directory: Path) -> None:
        assert directory.stat().st_mode & 0o777 == 0o700

    async def test_nothing_is_left_after_the_stop(self, urls: tuple[str, str], runtime: Path) -> None:
        descriptors = os.listdir("/proc/self/fd")
        one, other = open_bus(*urls), open_bus(*urls)
        await one.start()
        await other.start()
        await eventually(lambda: peers(one, 1))
        one.wake(TASK)
        await one.stop()
        await other.stop()
        assert list(runtime.iterdir()) == []
        assert len(os.listdir("/proc/self/fd")) <= len(descriptors)

    async def test_what_is_no_socket_of_a_bus_stays_as_it_is(self, directory: Path, urls: tuple[str, str]) -> None:
        directory.mkdir(mode=0o700)
        (directory / "notes").write_text("mine")
        bus = open_bus(*urls)
        await bus.start()
        bus.wake(TASK)
        await bus.stop()
        assert sockets(directory) == ["notes"]

    async def test_a_bus_on_another_database_hears_nothing(self, bus: Bus, tmp_path: Path) -> None:
        other = open_bus("machine:", f"sqlite:///{tmp_path}/other.db")
        await other.start()
        peers(other, 0)
        await other.stop()


# -- cost


@pytest.fixture
async def bus(urls: tuple[str, str]) -> AsyncIterator[Bus]:
    made = open_bus(*urls)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def spy(bus: Bus, directory: Path) -> AsyncIterator[socket.socket]:
    """A socket that the bus takes for another process's, once it has been greeted."""
    with datagram_socket() as made, datagram_socket() as greeter:
        made.bind(str(directory / f"{SPY}.sock"))
        greeter.sendto(SPY.encode(), str(next(path for path in directory.glob("*.sock") if path.stem != SPY)))
        await asyncio.get_running_loop().sock_recv(made, 65536)
        yield made
    (directory / f"{SPY}.sock").unlink(missing_ok=True)


async def test_10_000_wakes_take_ten_datagrams(bus: Bus, spy: socket.socket) -> None:
    for number in range(10_000):
        bus.wake(f"t-{number}")
    heard, datagrams = set[bytes](), 0
    while len(heard) < 10_000:
        heard.update(split((await asyncio.get_running_loop().sock_recv(spy, 65536))[16:]))
        datagrams += 1
    assert datagrams == -(-10_000 // DIGESTS_A_DATAGRAM)


async def test_many_wakes_of_a_key_are_told_once(bus: Bus, spy: socket.socket) -> None:
    for _ in range(1_000):
        bus.wake(TASK)
    assert len(list(split((await asyncio.get_running_loop().sock_recv(spy, 65536))[16:]))) == 1
    with pytest.raises(BlockingIOError):
        spy.recv(65536)


async def test_what_waits_for_a_process_that_reads_nothing_is_bounded(bus: Bus, spy: socket.socket) -> None:
    assert isinstance(bus, MachineBus)
    outbox = None
    for number in range(3 * MAX_WAITING):
        bus.wake(f"t-{number}")
        await asyncio.sleep(0)
        outbox = outbox or bus._peers[SPY].outbox
        assert outbox is None or len(outbox) <= MAX_WAITING
    assert outbox is not None


async def test_what_is_no_datagram_of_a_bus_does_nothing(bus: Bus, directory: Path) -> None:
    path = str(next(directory.glob("*.sock")))
    with datagram_socket() as stranger, bus.listen(TASK) as topic, bus.listen("end") as end:
        for datagram in (b"", b"x", b"../../../../etc/pa", b"\xff" * 40, b"0" * 16 + b"short", b"0" * 50):
            stranger.sendto(datagram, path)
        stop = MachineBus(directory)
        await stop.start()
        stop.wake("end")
        await eventually(woken(end))
        assert topic.wakes == 0
        await stop.stop()


# -- faults


async def test_a_process_killed_is_forgotten_and_its_socket_removed(
    bus: Bus, urls: tuple[str, str], directory: Path
) -> None:
    async with OtherProcess(*urls) as victim, OtherProcess(*urls) as survivor:
        await survivor.listen(TASK)
        await eventually(lambda: peers(bus, 2))
        await victim.kill()
        assert len(sockets(directory)) == 3
        bus.wake(TASK)
        assert await survivor.woken() == TASK
        await eventually(lambda: peers(bus, 1))
        there(directory, 2)


async def test_a_process_that_starts_removes_what_the_dead_left(urls: tuple[str, str], directory: Path) -> None:
    async with OtherProcess(*urls) as victim:
        await victim.kill()
    there(directory, 1)
    bus = open_bus(*urls)
    await bus.start()
    peers(bus, 0)
    there(directory, 1)
    await bus.stop()
    there(directory, 0)


async def test_a_process_that_is_stopped_delays_nobody_and_hears_everything_once_it_goes_on(
    bus: Bus, urls: tuple[str, str]
) -> None:
    async with OtherProcess(*urls) as stopped, OtherProcess(*urls) as other:
        await stopped.listen("last")
        await other.listen("last")
        await eventually(lambda: peers(bus, 2))
        stopped.signal(signal.SIGSTOP)
        for number in range(2_000):
            bus.wake(f"t-{number}")
            await asyncio.sleep(0)
        bus.wake("last")
        assert await other.woken() == "last"
        stopped.signal(signal.SIGCONT)
        assert await stopped.woken() == "last"


@pytest.mark.parametrize("what", ["socket", "directory"])
@pytest.mark.few(1)
async def test_a_socket_that_somebody_removes_is_made_again(
    bus: Bus, urls: tuple[str, str], directory: Path, what: str
) -> None:
    with bus.listen(TASK) as topic:
        if what == "socket":
            next(directory.glob("*.sock")).unlink()
        else:
            shutil.rmtree(directory)
        await eventually(lambda: there(directory, 1))
        await eventually(woken(topic))  # it may have missed something
        async with OtherProcess(*urls) as other:
            await other.wake(TASK)
            await eventually(woken(topic, 2))


async def test_processes_whose_sockets_are_removed_still_tell_each_other_and_find_each_other_again(
    bus: Bus, urls: tuple[str, str], directory: Path
) -> None:
    async with OtherProcess(*urls) as other:
        await other.listen(TASK)
        await eventually(lambda: peers(bus, 1))
        for path in directory.glob("*.sock"):
            path.unlink()
        bus.wake(TASK)
        assert await other.woken() == TASK
        await eventually(lambda: there(directory, 2))
        await eventually(lambda: peers(bus, 1))


async def test_a_directory_that_cannot_be_made_again_makes_it_unhealthy_until_it_can(
    bus: Bus, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(directory)
    directory.write_text("in the way")
    await eventually(healthy(bus, False))
    directory.unlink()
    await eventually(healthy(bus))
    assert caplog.text.count("other processes cannot wake this one") == 1


# -- the directory


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory to which all users can write; there is no runtime directory."""
    folder = Path(tempfile.mkdtemp(prefix="tmp-", dir="/tmp"))
    folder.chmod(0o1777)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield folder
    shutil.rmtree(folder)


def squat_with_a_file(directory: Path) -> None:
    directory.write_text("mine")


def squat_with_a_directory(directory: Path) -> None:
    directory.mkdir(mode=0o777)
    directory.chmod(0o777)


def squat_with_a_link(directory: Path) -> None:
    directory.symlink_to("/tmp")


def squat_as_another_user(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    os.chown(directory, 12345, 12345)


SQUATS = [squat_with_a_file, squat_with_a_directory, squat_with_a_link]
SQUATS += [squat_as_another_user] if os.getuid() == 0 else []


@pytest.mark.parametrize("squat", SQUATS)
@pytest.mark.few(1)
async def test_a_name_that_another_user_took_first_makes_all_processes_meet_beside_the_database(
    shared: Path, tmp_path: Path, urls: tuple[str, str], squat: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    squat(machine_directories(str(tmp_path / "tasks.db"))[0])
    bus = open_bus(*urls)
    assert isinstance(bus, MachineBus)
    await bus.start()
    try:
        assert bus.directory == tmp_path / "tasks.db-bus"
        assert stat.S_IMODE(bus.directory.stat().st_mode) == 0o700
        assert f"next={bus.directory}" in caplog.text
        async with OtherProcess(*urls) as other:
            await other.listen(TASK)
            await eventually(lambda: peers(bus, 1))
            bus.wake(TASK)
            assert await other.woken() == TASK
    finally:
        await bus.stop()
    assert not (tmp_path / "tasks.db-bus").exists()


async def test_a_name_that_is_free_again_does_not_part_the_processes(
    shared: Path, tmp_path: Path, urls: tuple[str, str]
) -> None:
    directory = machine_directories(str(tmp_path / "tasks.db"))[0]
    squat_with_a_file(directory)
    first, second = open_bus(*urls), open_bus(*urls)
    assert isinstance(first, MachineBus)
    assert isinstance(second, MachineBus)
    await first.start()
    directory.unlink()
    await second.start()
    await eventually(lambda: peers(first, 1))
    assert first.directory == second.directory
    await first.stop()
    await second.stop()


async def test_a_directory_that_is_taken_while_the_bus_runs_is_left_for_the_next(
    shared: Path, tmp_path: Path, urls: tuple[str, str]
) -> None:
    directory = machine_directories(str(tmp_path / "tasks.db"))[0]
    bus = open_bus(*urls)
    assert isinstance(bus, MachineBus)
    await bus.start()
    assert bus.directory == directory
    async with OtherProcess(*urls) as other:
        await other.listen(TASK)
        await eventually(lambda: peers(bus, 1))
        shutil.rmtree(directory)
        squat_with_a_file(directory)
        await eventually(lambda: there(tmp_path / "tasks.db-bus", 2))
        await eventually(lambda: peers(bus, 1))
        await asyncio.sleep(0)
        bus.wake(TASK)
        assert await other.woken() == TASK
    await bus.stop()


async def test_a_directory_that_nothing_can_replace_is_told_with_the_way_to_choose_one(
    shared: Path, tmp_path: Path, urls: tuple[str, str]
) -> None:
    squat_with_a_file(machine_directories(str(tmp_path / "tasks.db"))[0])
    squat_with_a_file(tmp_path / "tasks.db-bus")
    with pytest.raises(ConfigurationError, match="choose one as bus=machine:/DIRECTORY"):
        await open_bus(*urls).start()
    chosen = open_bus(f"machine:{shared}/mine", urls[1])
    assert isinstance(chosen, MachineBus)
    await chosen.start()
    assert chosen.directory.parent == shared / "mine"
    await chosen.stop()


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
async def test_the_sockets_are_for_their_owner_alone_whatever_the_umask(
    urls: tuple[str, str], directory: Path, umask: int
) -> None:
    bus = open_bus(*urls)
    before = os.umask(umask)
    try:
        await bus.start()
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.lstat().st_mode) for path in directory.iterdir()} == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    await bus.stop()


def test_a_socket_is_never_wider_than_for_its_owner(tmp_path: Path) -> None:
    """Where the system makes the path with the socket's mode, no moment is left before the mode is set."""
    before = os.umask(0)
    with datagram_socket() as made:
        os.fchmod(made.fileno(), 0o600)
        made.bind(str(tmp_path / "s"))
        os.umask(before)
        assert stat.S_IMODE((tmp_path / "s").lstat().st_mode) == 0o600 or sys.platform != "linux"


@pytest.mark.parametrize("mode", [0o755, 0o770])
async def test_a_directory_that_others_can_read_is_refused(directory: Path, urls: tuple[str, str], mode: int) -> None:
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(
        ConfigurationError, match=r"cannot use the directory .*it must be a directory of this user alone"
    ):
        await open_bus(*urls).start()


async def test_a_directory_of_another_user_is_refused(directory: Path, urls: tuple[str, str]) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a directory away")
    directory.mkdir(mode=0o700)
    os.chown(directory, 12345, 12345)
    with pytest.raises(ConfigurationError, match="of this user alone"):
        await open_bus(*urls).start()


async def test_a_link_to_a_directory_is_refused(directory: Path, urls: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    directory.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="of this user alone"):
        await open_bus(*urls).start()


@pytest.mark.parametrize("too_many", [1, 2, 3, 4, 50])
async def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path, too_many: int) -> None:
    longest = LONGEST_ADDRESS - len(f"{tmp_path}//{SPY}.sock")
    bus = MachineBus(tmp_path / ("x" * (longest + too_many)))
    with pytest.raises(ConfigurationError, match="too long"):
        await bus.start()


async def test_processes_meet_at_the_longest_path_of_a_socket(tmp_path: Path) -> None:
    directory = tmp_path / ("x" * (LONGEST_ADDRESS - len(f"{tmp_path}//{SPY}.sock")))
    first, second = MachineBus(directory), MachineBus(directory)
    await first.start()
    await second.start()
    await eventually(lambda: peers(first, 1))
    await first.stop()
    await second.stop()


def test_every_path_to_a_database_leads_to_one_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    paths = ["tasks.db", "./link/tasks.db", f"{tmp_path}/tasks.db", f"{tmp_path}/link/../{tmp_path.name}/tasks.db"]
    assert len({machine_directories(path)[0] for path in paths}) == 1
    assert machine_directories("other.db")[0] != machine_directories("tasks.db")[0]


def test_it_is_in_the_users_runtime_directory_or_else_among_the_temporary_files(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine_directories("tasks.db")[0].parent == runtime
    for none in ("", "relative", str(runtime / "missing")):
        monkeypatch.setenv("XDG_RUNTIME_DIR", none)
        assert machine_directories("tasks.db")[0].parent == Path(tempfile.gettempdir())


def test_a_socket_fits_whatever_the_temporary_directory_is(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    assert len(str(machine_directories("tasks.db")[0] / ("0" * 16 + ".sock"))) <= MAX_PATH_BYTES
