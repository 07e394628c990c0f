"""The journal that the workers keep: who worked on which task, when, and when a process stood still."""

import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line: a run is about to do a step, or a process finds that it has stood still."""

    at: float
    """Seconds on the machine's monotonic clock, the same in every process."""
    pid: int
    run: str = ""
    """Of one call of the agent's function; empty where the line tells of a pause."""
    task: str = ""
    turn: int = 0
    """Messages of the user that the run found in the task."""
    attempt: int = 0
    step: int = 0
    paused_since: float = 0.0
    """For a pause: the last time that the process was seen to move before it."""


class Journal:
    """Appends lines to a file that several processes share; a line is written whole or not at all."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def step(self, run: str, task: str, turn: int, attempt: int, step: int) -> None:
        self._write(
            Entry(at=time.monotonic(), pid=os.getpid(), run=run, task=task, turn=turn, attempt=attempt, step=step)
        )

    def pause(self, since: float) -> None:
        self._write(Entry(at=time.monotonic(), pid=os.getpid(), paused_since=since))

    def _write(self, entry: Entry) -> None:
        os.write(self._file, json.dumps(asdict(entry)).encode() + b"\n")


def entries_of(path: Path) -> list[Entry]:
    """The lines of a journal, in the order of their times."""
    if not path.exists():
        return []
    return sorted((Entry(**json.loads(line)) for line in path.read_text().splitlines()), key=lambda entry: entry.at)


def overlaps(entries: Iterable[Entry], *, lease_s: float) -> list[str]:
    """What says that a task ran at two places at once.

    Once a run of a task has written its first line, no earlier run of that task writes any: runs come in the order of
    the turns and attempts that they are told they are. Only one whose process has stood still since before, or while,
    it was taken over may write the one line that it was about to write: it cannot know before it has asked.
    """
    written = list(entries)
    pauses = [entry for entry in written if not entry.run]
    lines = sorted((entry for entry in written if entry.run), key=lambda entry: (entry.task, entry.at))
    return [
        found
        for _, of_task in groupby(lines, key=lambda entry: entry.task)
        for found in _overlaps_of(list(of_task), pauses, lease_s)
    ]


def _overlaps_of(lines: list[Entry], pauses: list[Entry], lease_s: float) -> list[str]:
    first: dict[str, Entry] = {}
    for line in lines:
        first.setdefault(line.run, line)
    late: set[str] = set()
    found = []
    for line in lines:
        later = [begun.at for begun in first.values() if _place(begun) > _place(first[line.run])]
        if not later or line.at < (taken_over_at := min(later)):
            continue
        was_paused = any(
            pause.pid == line.pid and pause.paused_since < line.at and pause.at > taken_over_at - lease_s
            for pause in pauses
        )
        if line.run in late or not was_paused:
            found.append(
                f"task {line.task}: run {line.run} does step {line.step} at {line.at:.3f}, though it was taken over "
                f"before {taken_over_at:.3f}" + (" and knows it" if line.run in late else "")
            )
        late.add(line.run)
    return found


def _place(begun: Entry) -> tuple[int, int, float]:
    """Where a run stands among those of its task, by its first line."""
    return begun.turn, begun.attempt, begun.at
