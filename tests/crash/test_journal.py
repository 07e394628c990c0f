"""What the journal's rule lets pass, and what it does not: so that the tests which rely on it can fail."""

from tests.crash.journal import Entry, overlaps

LEASE_S = 1.0


def line(at: float, run: str, *, pid: int, task: str = "t-1", turn: int = 1) -> Entry:
    """A line of the run `a`, which is the first attempt, or of `b`, the second, …"""
    return Entry(at=at, pid=pid, run=run, task=task, turn=turn, attempt=ord(run) - ord("a") + 1)


def pause(since: float, until: float, *, pid: int) -> Entry:
    return Entry(at=until, pid=pid, paused_since=since)


def test_one_run_after_the_other_is_no_overlap() -> None:
    assert not overlaps([line(1, "a", pid=1), line(2, "a", pid=1), line(3, "b", pid=2)], lease_s=LEASE_S)


def test_a_run_that_goes_on_after_it_was_taken_over_is_one() -> None:
    assert len(overlaps([line(1, "a", pid=1), line(2, "b", pid=2), line(3, "a", pid=1)], lease_s=LEASE_S)) == 1


def test_runs_of_different_tasks_do_not_overlap() -> None:
    lines = [line(1, "a", pid=1), line(2, "b", pid=2, task="t-2"), line(3, "a", pid=1)]
    assert not overlaps(lines, lease_s=LEASE_S)


def test_a_process_that_was_paused_meanwhile_may_write_one_line_more() -> None:
    lines = [line(1, "a", pid=1), line(2.5, "b", pid=2), line(3, "a", pid=1), pause(1.1, 3, pid=1)]
    assert not overlaps(lines, lease_s=LEASE_S)
    assert len(overlaps([*lines, line(3.1, "a", pid=1)], lease_s=LEASE_S)) == 1


def test_the_pause_of_another_process_excuses_nothing() -> None:
    lines = [line(1, "a", pid=1), line(2.5, "b", pid=2), line(3, "a", pid=1), pause(1.1, 3, pid=3)]
    assert len(overlaps(lines, lease_s=LEASE_S)) == 1


def test_a_pause_that_was_long_over_excuses_nothing() -> None:
    lines = [pause(0.2, 0.9, pid=1), line(1, "a", pid=1), line(2.5, "b", pid=2), line(3, "a", pid=1)]
    assert len(overlaps(lines, lease_s=LEASE_S)) == 1


def test_a_run_that_is_taken_over_twice_has_still_one_line() -> None:
    lines = [line(1, "a", pid=1), line(2.5, "b", pid=2), line(2.8, "c", pid=3), pause(1.1, 3, pid=1)]
    assert not overlaps([*lines, line(3, "a", pid=1)], lease_s=LEASE_S)
    assert len(overlaps([*lines, line(3, "a", pid=1), line(3, "b", pid=2)], lease_s=LEASE_S)) == 1


def test_a_run_that_was_paused_before_its_first_line_is_still_the_earlier_one() -> None:
    lines = [line(2.5, "b", pid=2), line(3, "a", pid=1), line(3.1, "b", pid=2), pause(1.1, 3, pid=1)]
    assert not overlaps(lines, lease_s=LEASE_S)


def test_the_attempts_of_the_next_turn_come_after_those_of_this_one() -> None:
    lines = [line(1, "c", pid=1), line(2, "a", pid=2, turn=2)]
    assert not overlaps(lines, lease_s=LEASE_S)
    assert len(overlaps([*lines, line(3, "c", pid=1)], lease_s=LEASE_S)) == 1
