"""What every bus guarantees, and every bus between processes, as tests to be run on each kind."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from a2a_grpc.bus import Bus, Topic, open_bus
from a2a_grpc.bus.protocol import Key
from a2a_grpc.bus.shared import MAX_WAITING
from tests.bus.process import OtherProcess
from tests.harness import eventually

TASK: Key = ("tenant", "alice", "t-1")
ODD_KEYS: list[Key] = ["", "\x00", "\ud800", "ключ" * 10_000, (), ("",), ("", "\udfff", "x" * 100_000)]


def woken(topic: Topic, times: int = 1) -> Callable[[], None]:
    """For `eventually`."""

    def check() -> None:
        assert topic.wakes >= times

    return check


def healthy(bus: Bus, expected: bool = True) -> Callable[[], None]:
    """For `eventually`."""

    def check() -> None:
        assert bus.is_healthy is expected

    return check


class BusContract:
    """One bus. A subclass has a fixture `urls`: the URL of the bus and of the store beside it."""

    @pytest.fixture
    async def bus(self, urls: tuple[str, str]) -> AsyncIterator[Bus]:
        made = open_bus(*urls)
        await made.start()
        yield made
        await made.stop()

    async def test_a_wake_reaches_every_listener_of_its_key_here_at_once(self, bus: Bus) -> None:
        with bus.listen(TASK) as first, bus.listen(TASK) as second, bus.listen("other") as other:
            bus.wake(TASK)
            assert (first.wakes, second.wakes, other.wakes) == (1, 1, 0)

    async def test_a_wake_wakes_here_before_the_start_and_after_the_stop(self, urls: tuple[str, str]) -> None:
        bus = open_bus(*urls)
        with bus.listen(TASK) as topic:
            bus.wake(TASK)
            await bus.start()
            before = topic.wakes
            assert before >= 1
            await bus.stop()
            bus.wake(TASK)
            assert topic.wakes == before + 1

    async def test_a_wake_between_a_look_and_the_wait_is_not_missed(self, bus: Bus) -> None:
        with bus.listen(TASK) as topic:
            seen = topic.wakes
            bus.wake(TASK)
            await asyncio.wait_for(topic.wait(seen), 10)

    async def test_a_wake_ends_the_wait_of_every_listener(self, bus: Bus) -> None:
        with bus.listen(TASK) as topic:
            waits = [asyncio.create_task(topic.wait(topic.wakes)) for _ in range(3)]
            await asyncio.sleep(0)
            bus.wake(TASK)
            await asyncio.wait_for(asyncio.gather(*waits), 10)

    async def test_wake_all_wakes_the_listeners_of_every_key(self, bus: Bus) -> None:
        with bus.listen(TASK) as one, bus.listen("name") as other:
            bus.wake_all()
            assert (one.wakes, other.wakes) == (1, 1)

    async def test_it_counts_the_keys_that_have_listeners(self, bus: Bus) -> None:
        assert len(bus) == 0
        with bus.listen(TASK), bus.listen("name"):
            with bus.listen(TASK):
                assert len(bus) == 2
            assert len(bus) == 2
        assert len(bus) == 0

    async def test_a_wait_that_is_canceled_leaves_the_others_waiting(self, bus: Bus) -> None:
        with bus.listen(TASK) as topic:
            canceled, waiting = (asyncio.create_task(topic.wait(0)) for _ in range(2))
            await asyncio.sleep(0)
            canceled.cancel()
            await asyncio.sleep(0)
            bus.wake(TASK)
            await asyncio.wait_for(waiting, 10)
            assert canceled.cancelled()

    async def test_a_wake_of_any_key_raises_nothing(self, bus: Bus) -> None:
        for key in ODD_KEYS:
            with bus.listen(key) as topic:
                bus.wake(key)
                assert topic.wakes == 1

    async def test_it_can_be_stopped_twice_and_without_a_start_and_started_again(self, urls: tuple[str, str]) -> None:
        bus = open_bus(*urls)
        await bus.stop()
        for _ in range(2):
            await bus.start()
            assert bus.is_healthy
            await bus.stop()
        await bus.stop()


class SharedBusContract(BusContract):
    """Buses with the same URLs, in this process and in others."""

    @pytest.fixture
    async def other_bus(self, urls: tuple[str, str]) -> AsyncIterator[Bus]:
        made = open_bus(*urls)
        await made.start()
        yield made
        await made.stop()

    async def test_a_wake_reaches_the_listeners_at_another_bus(self, bus: Bus, other_bus: Bus) -> None:
        with bus.listen(TASK) as here, other_bus.listen(TASK) as there, other_bus.listen("other") as unmeant:
            bus.wake(TASK)
            await eventually(woken(there))
            other_bus.wake(TASK)
            await eventually(woken(here, 2))
            assert unmeant.wakes == 0

    async def test_a_wake_reaches_a_listener_of_any_key_at_another_bus(self, bus: Bus, other_bus: Bus) -> None:
        for key in ODD_KEYS:
            with other_bus.listen(key) as topic:
                bus.wake(key)
                await eventually(woken(topic))

    async def test_a_wake_reaches_all_other_processes(self, bus: Bus, urls: tuple[str, str]) -> None:
        async with OtherProcess(*urls) as one, OtherProcess(*urls) as another:
            with bus.listen(TASK) as here:
                await one.listen(TASK)
                await another.listen(TASK)
                bus.wake(TASK)
                assert await one.woken() == TASK
                assert await another.woken() == TASK
                await one.listen("name")
                await another.wake("name")
                assert await one.woken() == "name"
                await one.wake("nobody's")
                await another.wake(TASK)
                assert await another.woken() == TASK
                await eventually(woken(here, 2))

    async def test_a_wake_comes_back_to_nobody(self, bus: Bus, other_bus: Bus) -> None:
        with bus.listen(TASK) as here, bus.listen("end") as end, other_bus.listen(TASK) as there:
            bus.wake(TASK)
            await eventually(woken(there))
            other_bus.wake("end")
            await eventually(woken(end))
            assert (here.wakes, there.wakes) == (1, 1)

    async def test_each_of_many_wakes_at_once_arrives(self, bus: Bus, other_bus: Bus) -> None:
        keys = [("tenant", "alice", f"t-{number}") for number in range(5_000)]
        async with AsyncExitStack() as stack:
            topics = [stack.enter_context(other_bus.listen(key)) for key in keys]
            for key in keys:
                bus.wake(key)
            for topic in topics:
                await eventually(woken(topic))

    async def test_beyond_what_may_wait_every_listener_is_woken(self, bus: Bus, other_bus: Bus) -> None:
        with other_bus.listen("unmeant") as topic:
            for number in range(MAX_WAITING + 1):
                bus.wake(f"t-{number}")
            await eventually(woken(topic))

    async def test_wakes_of_keys_that_nobody_listens_to_leave_nothing(self, bus: Bus, other_bus: Bus) -> None:
        with other_bus.listen("listened") as topic, other_bus.listen("end") as end:
            for number in range(1_000):
                bus.wake(f"t-{number}")
            bus.wake("end")
            await eventually(woken(end))
            assert (len(bus), len(other_bus), topic.wakes) == (0, 2, 0)
        assert len(other_bus) == 0

    async def test_what_is_woken_before_the_stop_is_told(self, urls: tuple[str, str], other_bus: Bus) -> None:
        bus = open_bus(*urls)
        await bus.start()
        with other_bus.listen(TASK) as topic:
            bus.wake(TASK)
            await bus.stop()
            await eventually(woken(topic))

    async def test_it_is_healthy_from_the_start_to_the_stop(self, urls: tuple[str, str]) -> None:
        bus = open_bus(*urls)
        assert not bus.is_healthy
        await bus.start()
        assert bus.is_healthy
        await bus.stop()
        assert not bus.is_healthy

    async def test_a_background_task_that_dies_makes_it_unhealthy_and_is_logged(
        self, urls: tuple[str, str], caplog: pytest.LogCaptureFixture
    ) -> None:
        before = asyncio.all_tasks()
        bus = open_bus(*urls)
        await bus.start()
        ours = [task for task in asyncio.all_tasks() - before if task.get_name().startswith("a2a-grpc:bus:")]
        assert ours
        ours[0].cancel()
        await eventually(healthy(bus, False))

        def is_logged() -> None:
            assert f"background task failed name={ours[0].get_name()}" in caplog.text

        await eventually(is_logged)
        await bus.stop()
