"""What the log says of an outage of which only some calls take notice."""

import asyncio
import logging

import pytest

from a2a_grpc.database.retry import Outage, retry
from a2a_grpc.database.unavailable import StoreUnavailable
from tests.harness import eventually


async def test_an_outage_ends_once_none_of_the_calls_that_failed_is_still_tried(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("a2a_grpc.database.retry.SETTLED_S", 0.0)
    outage = Outage("sqlite:///tasks.db")

    def lines() -> list[str]:
        said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        return [text.split(" store=")[0] for text in said]

    def call(answers: asyncio.Event, budget_s: float = 600.0) -> "asyncio.Task[str]":
        async def attempt(is_repeat: bool) -> str:
            if not answers.is_set():
                raise TimeoutError("no answer")
            return "answered"

        return asyncio.create_task(retry(attempt, budget_s=budget_s, outage=outage))

    now, first, second, never = asyncio.Event(), asyncio.Event(), asyncio.Event(), asyncio.Event()
    now.set()
    failing = [call(first), call(second), call(never)]
    await eventually(lambda: _is(lines(), ["database unavailable"]))
    with pytest.raises(StoreUnavailable):
        await call(never, budget_s=0.0)
    first.set()
    assert [await call(now), await failing[0], await call(now)] == ["answered"] * 3
    assert lines() == ["database unavailable"]
    failing[2].cancel()
    await asyncio.wait([failing[2]])
    await call(now)
    assert lines() == ["database unavailable"]
    second.set()
    assert await failing[1] == "answered"
    assert lines() == ["database unavailable", "database available again"]


def _is(said: list[str], expected: list[str]) -> None:
    assert said == expected
