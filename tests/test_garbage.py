"""A program's garbage collector looks at what stays once, and at all of it only while no call is open."""

import gc
from collections.abc import Iterator

import pytest

from a2a_grpc.server import garbage
from a2a_grpc.server.garbage import Garbage
from tests.harness import eventually


class Circle:
    """An object that refers to itself."""

    alive = 0

    def __init__(self) -> None:
        self.me = self
        Circle.alive += 1

    def __del__(self) -> None:
        Circle.alive -= 1


@pytest.fixture
def thresholds() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    gc.collect()
    Circle.alive = 0
    yield before
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


@pytest.mark.long
async def test_what_stays_is_looked_at_once(thresholds: tuple[int, int, int]) -> None:
    collector = Garbage(lambda: False)
    collector.start()
    try:
        kept, largest = [], 0
        for place in range(200_000):
            kept.append([place])
            if place % 1_000 == 0:
                largest = max(largest, len(gc.get_objects(2)))
        frozen = gc.get_freeze_count()
    finally:
        collector.stop()
    assert frozen > 180_000
    assert largest < 20_000, "so many objects would be looked at in one collection"


@pytest.mark.long
async def test_young_circles_are_freed_as_ever(thresholds: tuple[int, int, int]) -> None:
    collector = Garbage(lambda: False)
    collector.start()
    try:
        for _ in range(10_000):
            Circle()
        assert Circle.alive < 1000
    finally:
        collector.stop()


@pytest.mark.long
async def test_frozen_circles_are_freed_once_no_call_is_open(
    thresholds: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage, "IDLE_LOOK_S", 0.01)
    monkeypatch.setattr(garbage, "FULL_INTERVAL_S", 0.0)
    is_idle = False
    collector = Garbage(lambda: is_idle)
    collector.start()
    try:
        circle: Circle | None = Circle()
        gc.collect()  # which freezes it
        circle = None
        gc.collect()
        assert (circle, Circle.alive) == (None, 1)
        is_idle = True

        def freed() -> None:
            assert Circle.alive == 0

        await eventually(freed)
    finally:
        collector.stop()
