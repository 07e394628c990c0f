"""Periodic tasks go on through failures, and log them at a bounded rate."""

import logging

import pytest

from a2a_grpc.engine.background import PeriodicTasks
from a2a_grpc.store import StoreUnavailable
from tests.harness import eventually


async def test_a_store_that_is_lost_is_one_line_for_all_loops_while_their_rounds_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rounds = {"lease": 0, "sweep": 0}

    async def fail(name: str) -> None:
        rounds[name] += 1
        raise StoreUnavailable("the database file was deleted")

    periodic = PeriodicTasks()
    for name in rounds:
        periodic.every(0.001, name, lambda name=name: fail(name))  # type: ignore[misc]

    def several_each() -> None:
        assert min(rounds.values()) > 2

    await eventually(several_each)
    assert periodic.is_healthy
    await periodic.stop()
    assert [record.getMessage().partition(" loop=")[0] for record in caplog.records] == ["the store does not answer"]


async def test_a_bug_in_a_round_is_one_traceback_of_a_kind(caplog: pytest.LogCaptureFixture) -> None:
    raised: list[Exception] = []

    async def fail() -> None:
        raised.append(ValueError("odd") if len(raised) % 2 else KeyError("even"))
        raise raised[-1]

    periodic = PeriodicTasks()
    periodic.every(0.001, "sweep", fail)

    def several() -> None:
        assert len(raised) > 4

    await eventually(several)
    await periodic.stop()
    tracebacks = [record for record in caplog.records if record.exc_info]
    assert len(tracebacks) == 2
    assert {record.levelno for record in tracebacks} == {logging.ERROR}
