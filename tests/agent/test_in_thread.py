"""Blocking work beside the event loop."""

import asyncio
import contextvars
import threading
from collections.abc import Iterator

import pytest

from a2a_grpc import Turn
from a2a_grpc.agent import Threads
from a2a_grpc.lifecycle import CANCELED, COMPLETED, FAILED, WORKING
from a2a_grpc.parts import text_of
from tests.agent.agents import GENERIC, agent_of, cancel, result
from tests.harness import eventually, request, serving, texts

CALLER: contextvars.ContextVar[str] = contextvars.ContextVar("caller", default="nobody")

HANG_GUARD_S = 30
"""How long a thread of these tests waits at most, so that a failing one ends."""


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets go all threads that wait for it, at the latest when the test ends."""
    event = threading.Event()
    yield event
    event.set()


async def test_in_thread_gives_the_functions_result_with_its_arguments() -> None:
    def join(*words: str, by: str) -> str:
        return by.join(words)

    async def handler(turn: Turn) -> str:
        return await turn.in_thread(join, "a", "b", by="-")

    assert texts(await result(handler)) == ["a-b"]


async def test_in_thread_runs_beside_the_loops_thread() -> None:
    threads: list[threading.Thread] = []

    async def handler(turn: Turn) -> None:
        await turn.in_thread(lambda: threads.append(threading.current_thread()))

    await result(handler)
    [thread] = threads
    assert thread is not threading.current_thread()
    assert thread.daemon, "one that never returns does not hold up the end of the process"


async def test_in_thread_raises_the_functions_exception_in_the_handler() -> None:
    def fail() -> None:
        raise LookupError("not there")

    async def handler(turn: Turn) -> str:
        try:
            await turn.in_thread(fail)
        except LookupError as error:
            return f"caught {error}"
        return "nothing raised"

    assert texts(await result(handler)) == ["caught not there"]


async def test_in_thread_an_exception_that_the_handler_leaves_fails_the_task(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise LookupError("the secret")

    async def handler(turn: Turn) -> None:
        await turn.in_thread(fail)

    task = await result(handler)
    assert (task.status.state, text_of(task.status.message)) == (FAILED, GENERIC)
    assert "LookupError: the secret" in caplog.text


async def test_in_thread_stop_iteration_is_an_error_like_any_other() -> None:
    async def handler(turn: Turn) -> str:
        with pytest.raises(RuntimeError, match="StopIteration") as raised:
            await turn.in_thread(next, iter(()))
        assert isinstance(raised.value.__cause__, StopIteration)
        return "caught"

    assert texts(await result(handler)) == ["caught"]


async def test_in_thread_generator_exit_does_not_close_the_handler_which_can_await_on() -> None:
    def fail() -> None:
        raise GeneratorExit

    async def handler(turn: Turn) -> str:
        with pytest.raises(RuntimeError, match="GeneratorExit") as raised:
            await turn.in_thread(fail)
        await asyncio.sleep(0)
        assert isinstance(raised.value.__cause__, GeneratorExit)
        return "caught"

    assert texts(await result(handler)) == ["caught"]


async def test_in_thread_the_loop_goes_on_while_the_function_blocks(release: threading.Event) -> None:
    async def handler(turn: Turn) -> str:
        if turn.text == "block":
            assert await turn.in_thread(release.wait, HANG_GUARD_S)
        return turn.text

    async with serving(agent_of(handler)) as served:
        blocked = (await served.send(request("block", immediately=True))).task
        assert texts((await served.send(request("meanwhile"))).task) == ["meanwhile"]
        assert (await served.get(blocked.id)).status.state == WORKING
        release.set()

        async def completed() -> None:
            assert (await served.get(blocked.id)).status.state == COMPLETED

        await eventually(completed)


async def test_in_thread_a_canceled_await_ends_at_once_though_the_function_goes_on(release: threading.Event) -> None:
    busy, left = threading.Event(), list[str]()

    def block() -> None:
        busy.set()
        release.wait(HANG_GUARD_S)
        left.append("function")

    async def handler(turn: Turn) -> None:
        try:
            await turn.in_thread(block)
        finally:
            left.append("await")

    async with serving(agent_of(handler), cancel_grace_s=60.0) as served:
        task = (await served.send(request(immediately=True))).task
        await eventually(lambda: _assert_set(busy))
        assert (await cancel(served, task.id)).status.state == CANCELED
        assert left == ["await"]
        release.set()
        await eventually(lambda: _assert_left(left, ["await", "function"]))


def _assert_set(event: threading.Event) -> None:
    assert event.is_set()


def _assert_left(left: list[str], expected: list[str]) -> None:
    assert left == expected


async def test_in_thread_the_function_sees_that_the_turn_was_canceled(release: threading.Event) -> None:
    busy, stopped = threading.Event(), threading.Event()

    async def handler(turn: Turn) -> None:
        def work() -> None:
            while not turn.canceled and not release.is_set():
                busy.set()
                release.wait(0.001)
            if turn.canceled:
                stopped.set()

        await turn.in_thread(work)

    async with serving(agent_of(handler)) as served:
        task = (await served.send(request(immediately=True))).task
        await eventually(lambda: _assert_set(busy))
        await cancel(served, task.id)
        await eventually(lambda: _assert_set(stopped))


async def test_in_thread_what_a_function_raises_after_its_await_was_canceled_is_dropped(
    release: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    busy, finished = threading.Event(), threading.Event()

    def work() -> None:
        busy.set()
        release.wait(HANG_GUARD_S)
        finished.set()
        raise LookupError("too late")

    async def handler(turn: Turn) -> None:
        await turn.in_thread(work)

    async with serving(agent_of(handler), max_threads=1) as served:
        task = (await served.send(request(immediately=True))).task
        await eventually(lambda: _assert_set(busy))
        canceled = await cancel(served, task.id)
        release.set()
        await eventually(lambda: _assert_set(finished))
        assert await served.get(task.id) == canceled
        # its place is free again: the one that there is
        next_task = (await served.send(request(immediately=True))).task
        await eventually(lambda: _assert_place_was_taken(caplog, next_task.id))
    assert "too late" not in caplog.text.split(next_task.id)[0]


def _assert_place_was_taken(caplog: pytest.LogCaptureFixture, task_id: str) -> None:
    assert any(task_id in record.getMessage() and record.exc_info for record in caplog.records)


async def test_in_thread_at_most_max_threads_run_at_a_time_and_the_others_wait_their_turn(
    release: threading.Event,
) -> None:
    lock, running, peak, done = threading.Lock(), 0, 0, 0

    def work() -> None:
        nonlocal running, peak, done
        with lock:
            running += 1
            peak = max(peak, running)
        release.wait(HANG_GUARD_S)
        with lock:
            running -= 1
            done += 1

    async def handler(turn: Turn) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(turn.in_thread(work))

    def assert_two_run() -> None:
        assert running == 2

    async with serving(agent_of(handler), max_threads=2) as served:
        tasks = [asyncio.create_task(served.send(request())) for _ in range(2)]
        await eventually(assert_two_run)
        for _ in range(3):  # whatever else could start would have
            await served.send(request(immediately=True))
        release.set()
        assert [(await task).task.status.state for task in tasks] == [COMPLETED, COMPLETED]

        def assert_all_done() -> None:
            assert done == 15

        await eventually(assert_all_done)
    assert peak == 2


async def test_in_thread_one_that_waits_for_a_thread_can_be_canceled(release: threading.Event) -> None:
    busy = threading.Event()
    started: list[str] = []

    async def handler(turn: Turn) -> None:
        def work() -> None:
            started.append(turn.text)
            busy.set()
            release.wait(HANG_GUARD_S)

        await turn.in_thread(work)

    async with serving(agent_of(handler), max_threads=1) as served:
        first = asyncio.create_task(served.send(request("first")))
        await eventually(lambda: _assert_set(busy))
        second = (await served.send(request("second", immediately=True))).task
        assert (await cancel(served, second.id)).status.state == CANCELED
        third = asyncio.create_task(served.send(request("third")))
        release.set()
        assert [(await one).task.status.state for one in (first, third)] == [COMPLETED, COMPLETED]
    assert started == ["first", "third"]


async def test_in_thread_the_function_sees_the_handlers_context() -> None:
    async def handler(turn: Turn) -> str:
        CALLER.set(turn.text)
        return await turn.in_thread(CALLER.get)

    async with serving(agent_of(handler)) as served:
        responses = await asyncio.gather(*(served.send(request(name)) for name in ("ada", "bob", "cy")))
    assert [texts(response.task) for response in responses] == [["ada"], ["bob"], ["cy"]]
    assert CALLER.get() == "nobody"


async def test_in_thread_what_the_function_sets_in_the_context_stays_there() -> None:
    def change() -> None:
        CALLER.set("changed")

    async def handler(turn: Turn) -> str:
        await turn.in_thread(change)
        return CALLER.get()

    assert texts(await result(handler)) == ["nobody"]


async def test_a_thread_that_cannot_be_started_costs_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads = Threads(1)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        for _ in range(2):
            async with asyncio.timeout(30):
                with pytest.raises(RuntimeError, match="can't start new thread"):
                    await threads.run(len, "")
    async with asyncio.timeout(30):
        assert await threads.run(len, "ab") == 2
