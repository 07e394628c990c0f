"""A bounded rate of log lines: one of a kind in an interval, with a count of those left out."""

import asyncio
import logging
import threading

import pytest

from a2a_grpc.throttle import MAX_KINDS, Throttle
from tests.harness import eventually

logger = logging.getLogger("a2a_grpc.test_throttle")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def in_a_thread(work: threading.Thread) -> None:
    work.start()
    work.join()


def test_the_next_line_of_a_kind_says_how_many_were_left_out(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    throttle = Throttle(logger, 10, clock=clock)
    for number in range(1000):
        clock.now = number * 0.009
        throttle.warning("refused", "refused call %d", number)
    clock.now = 10
    throttle.warning("refused", "refused call %d", 1000)
    throttle.warning("refused", "refused call %d", 1001)
    assert caplog.messages == ["refused call 0", "refused call 1000 (and 999 more like this)"]


def test_kinds_do_not_delay_each_other(caplog: pytest.LogCaptureFixture) -> None:
    throttle = Throttle(logger, 10, clock=Clock())
    for _ in range(3):
        throttle.warning("bytes", "too many bytes")
        throttle.error("files", "no file descriptors left")
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "too many bytes"),
        ("ERROR", "no file descriptors left"),
    ]


async def test_in_an_event_loop_the_count_is_written_without_a_next_line(caplog: pytest.LogCaptureFixture) -> None:
    throttle = Throttle(logger, 0.05)
    for _ in range(500):
        throttle.warning("refused", "refused a call")

    def counted() -> None:
        assert caplog.messages == ["refused a call", "refused a call (and 499 more like this)"]

    await eventually(counted)
    await asyncio.sleep(0.2)
    counted()  # and not once more


async def test_the_line_with_the_count_counts_as_a_line_of_its_kind(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    throttle = Throttle(logger, 0.01, clock=clock)
    throttle.warning("refused", "refused")
    throttle.warning("refused", "refused")
    await eventually(lambda: _assert_lines(caplog, 2))
    throttle.warning("refused", "refused")  # the clock stands: the interval of the second line is not over
    _assert_lines(caplog, 2)


def test_lines_of_threads_are_counted_too(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    throttle = Throttle(logger, 1, clock=clock)

    def write() -> None:
        for _ in range(100):
            throttle.warning("thread", "line")

    for _ in range(5):
        in_a_thread(threading.Thread(target=write))
    clock.now = 1
    throttle.warning("thread", "line")
    assert caplog.messages == ["line", "line (and 499 more like this)"]


def test_arguments_of_lines_left_out_are_not_formatted(caplog: pytest.LogCaptureFixture) -> None:
    class Costly:
        formatted = 0

        def __str__(self) -> str:
            Costly.formatted += 1
            return "costly"

    throttle = Throttle(logger, 1, clock=Clock())
    for _ in range(100):
        throttle.warning("costly", "%s", Costly())
    assert Costly.formatted == 1


def test_kinds_are_forgotten_over_a_bound(caplog: pytest.LogCaptureFixture) -> None:
    throttle = Throttle(logger, 1, clock=Clock())
    for number in range(2 * MAX_KINDS):
        throttle.warning(f"kind {number}", "line")
    assert len(throttle._kinds) == MAX_KINDS


def _assert_lines(caplog: pytest.LogCaptureFixture, count: int) -> None:
    assert len(caplog.messages) == count


async def test_a_throttle_that_is_closed_writes_no_count(caplog: pytest.LogCaptureFixture) -> None:
    closed, open_ = Throttle(logger, 0.02), Throttle(logger, 0.02)
    for _ in range(2):
        closed.warning("refused", "refused by the first")
        open_.warning("refused", "refused by the second")
    closed.close()

    def counted() -> None:
        assert "refused by the second (and 1 more like this)" in caplog.messages

    await eventually(counted)
    assert caplog.messages.count("refused by the first") == 1
    assert len(caplog.messages) == 3
