"""Fixtures of all tests, with the check that each test leaves nothing behind."""

import asyncio
import gc
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator

import hypothesis
import pytest

from tests.forks import STARTED
from tests.harness import AT_SENTINEL, Served, eventually, scripted_agent, serving

pytest_plugins = ["tests.tools", "tests.databases", "tests.quick", "tests.covers", "tests.regressions.silent_program"]

EXAMPLES = int(os.environ.get("PROPERTY_EXAMPLES", "25"))
"""How many examples a property test tries. `make test-all` tries 50, and `make test-nightly` 1000."""
hypothesis.settings.register_profile("tests", max_examples=EXAMPLES, deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("tests")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts programs in the background so
    signal.signal(signal.SIGINT, signal.default_int_handler)  # programs of tests have to hear Ctrl-C

os.environ.setdefault("A2A_GRPC_STORE", "memory:")  # programs of tests leave no files behind, unless a test is about it

gc.disable()  # until all tests are collected, which makes a million objects that stay


def pytest_collection_finish() -> None:
    """Have the garbage collector leave out what is there, and seldom look at the rest."""
    gc.freeze()  # without this, the collector took a seventh of the time of tests
    gc.set_threshold(10_000, 10, 10)
    gc.enable()


@pytest.fixture(
    scope="session", params=[pytest.param(False, id="quick"), pytest.param(True, id="full", marks=pytest.mark.long)]
)
def full(request: pytest.FixtureRequest) -> bool:
    """True in `make test-all`: the test is to have its full size. In `make test` it has its quick form."""
    return bool(request.param)


@pytest.fixture(scope="session", autouse=True)
def sockets_of_this_session() -> Iterator[None]:
    """Where the buses of programs meet: a folder of its own, short enough for a socket's name."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="a2a-") as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        yield


@pytest.fixture(scope="session", autouse=True)
def started_in_this_session(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where the processes of pytest tell each other for which programs Python was started (see tests/forks.py)."""
    ours = tmp_path_factory.getbasetemp()
    folder = (ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours) / "started"
    folder.mkdir(exist_ok=True)
    os.environ[STARTED] = str(folder)


@pytest.fixture(autouse=True)
async def nothing_left_behind(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """After each test no asyncio task of this project is left. Tasks that an earlier test left are not counted again.

    pytest-timeout abandons a test: its coroutine stays in the loop that all tests share, with the servers that it
    started. The coroutine is canceled here, which ends them, so that the failure of one test is not the next one's.
    """
    before = asyncio.all_tasks()
    yield
    abandoned = [task for task in asyncio.all_tasks() - before if coroutine_name(task) == request.node.originalname]
    for task in abandoned:
        task.cancel()
    if abandoned:
        await asyncio.wait(abandoned, timeout=30)

    def none_left() -> None:
        left = [task.get_name() for task in asyncio.all_tasks() - before]
        assert [name for name in left if name.startswith("a2a-grpc")] == []

    await eventually(none_left)


def coroutine_name(task: "asyncio.Task[object]") -> str:
    return getattr(task.get_coro(), "__name__", "")


@pytest.fixture(params=["direct", pytest.param("through a sentinel", marks=pytest.mark.long)])
def any_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a test directly, and through a sentinel: `pytestmark = pytest.mark.usefixtures("any_way")` for a file."""
    if request.param != "direct":
        monkeypatch.setenv(AT_SENTINEL, "1")
        monkeypatch.setenv("A2A_GRPC_TENANT", "scripted@fame.fabric")


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """The scripted agent on a server with defaults."""
    async with serving(scripted_agent()) as running:
        yield running
