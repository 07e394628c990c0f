"""The clock and the gates that simulations rest on."""

import asyncio
import contextvars
from collections.abc import Iterator
from random import Random

import pytest

from tests.simulation.loop import GATE, Gate, SimulatedLoop


@pytest.fixture
def loop() -> Iterator[SimulatedLoop]:
    loop = SimulatedLoop(Random(1))
    yield loop
    loop.close()


def behind(gate: Gate) -> contextvars.Context:
    context = contextvars.copy_context()
    context.run(GATE.set, gate)
    return context


async def ticking(loop: SimulatedLoop, ticks: list[float]) -> None:
    while True:
        await asyncio.sleep(1.0)
        ticks.append(loop.time())


def test_an_hour_passes_at_once(loop: SimulatedLoop) -> None:
    begun = loop.time()
    loop.run_until_complete(asyncio.sleep(3600.0))
    assert loop.time() == pytest.approx(begun + 3600.0)
    assert loop.turns < 10


def test_waiting_for_what_cannot_come_is_an_error(loop: SimulatedLoop) -> None:
    with pytest.raises(RuntimeError, match="nothing is left"):
        loop.run_until_complete(loop.create_future())


def test_a_frozen_process_does_nothing_then_goes_on_where_it_was(loop: SimulatedLoop) -> None:
    gate, ticks = Gate(), list[float]()

    async def main() -> None:
        begun = loop.time()
        task = loop.create_task(ticking(loop, ticks), context=behind(gate))
        await asyncio.sleep(2.5)
        gate.freeze()
        await asyncio.sleep(5.0)
        assert len(ticks) == 2
        gate.thaw()
        await asyncio.sleep(1.5)
        task.cancel()
        await asyncio.wait([task])
        assert [round(tick - begun, 1) for tick in ticks] == [1.0, 2.0, 7.5, 8.5]

    loop.run_until_complete(main())


def test_a_frozen_process_sees_no_timer_that_was_canceled(loop: SimulatedLoop) -> None:
    gate, seen = Gate(), list[str]()

    async def main() -> None:
        context = behind(gate)
        gate.freeze()
        late = loop.call_later(1.0, seen.append, "canceled", context=context)
        loop.call_later(1.0, seen.append, "kept", context=context)
        await asyncio.sleep(2.0)
        late.cancel()
        gate.thaw()
        await asyncio.sleep(0.1)

    loop.run_until_complete(main())
    assert seen == ["kept"]


def test_a_killed_process_never_runs_again_nor_cleans_up(loop: SimulatedLoop) -> None:
    gate, seen = Gate(), list[str]()

    async def work() -> None:
        try:
            await asyncio.sleep(1.0)
        finally:
            seen.append("cleaned up")

    async def main() -> None:
        task = loop.create_task(work(), context=behind(gate))
        await asyncio.sleep(0.5)
        gate.kill()
        task.cancel()
        await asyncio.sleep(2.0)
        assert seen == []
        assert loop.tasks_behind(gate) == [task]
        task._log_destroy_pending = False  # type: ignore[attr-defined]

    loop.run_until_complete(main())
