"""`a2a-grpc db stats` and `a2a-grpc db purge`, which count the tasks of a database, and delete ended ones."""

import json
import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from a2a_grpc.cli.database import Output, Url, ask_store, say, shown
from a2a_grpc.cli.options import OutputFormat
from a2a_grpc.config import ConfigurationError
from a2a_grpc.harmless import one_line
from a2a_grpc.lifecycle import TERMINAL, state_name
from a2a_grpc.wire import TaskState

if TYPE_CHECKING:
    from a2a_grpc.store.sql.purging import Deleted
    from a2a_grpc.store.sql.upkeep.stats import Stats

_AGE = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d|w)", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def stats(store: Url, output: Output = OutputFormat.TEXT) -> None:
    """Show how many tasks a database has, by state, how large they are, and how old."""
    from a2a_grpc.database.transactions import Use
    from a2a_grpc.store.sql.upkeep.opened import opened
    from a2a_grpc.store.sql.upkeep.stats import stats as counted

    async def count(url: str) -> "Stats":
        async with opened(url) as database:
            return await database.run(Use.READ_SNAPSHOT, counted)

    found = ask_store(count, store)
    states = {
        name: {
            "tasks": of.tasks,
            "records": of.records,
            "bytes": of.bytes,
            "largest_bytes": of.largest,
            "oldest": _time(of.oldest_us),
            "newest": _time(of.newest_us),
        }
        for name, of in found.states.items()
    }
    others = {
        "held": found.held,
        "waiting_messages": found.waiting_messages,
        "notes": found.notes,
        "note_bytes": found.note_bytes,
        "snapshots": found.snapshots,
        "idempotency_keys": found.keys,
        "replicas": found.replicas,
        "push_configs": found.pushes,
    }
    if output is OutputFormat.JSON:
        total = sum(of.tasks for of in found.states.values())
        return say(json.dumps({"agent": found.agent, "tasks": total, "states": states, **others}, ensure_ascii=False))
    whose = f"the tasks of the agent '{one_line(found.agent)}'" if found.agent else "no server has used it yet"
    say(f"{shown(store)}: {whose}")
    columns: list[tuple[str, ...]] = [("STATE", "TASKS", "RECORDS", "SIZE", "LARGEST", "OLDEST STATUS", "NEWEST")]
    for name, of in found.states.items():
        sizes = (size(of.bytes), size(of.largest))
        columns.append((name, str(of.tasks), str(of.records), *sizes, _time(of.oldest_us), _time(of.newest_us)))
    for row in _aligned(columns):
        say(row)
    say(f"results of steps and remembered values: {found.notes}, {size(found.note_bytes)}")
    pushes = ", ".join(f"{count} {state}" for state, count in found.pushes.items()) or "0"
    say(f"held by replicas: {found.held}; replicas: {found.replicas}; messages that wait: {found.waiting_messages}")
    return say(f"push configs: {pushes}; idempotency keys: {found.keys}; snapshots: {found.snapshots}")


def purge(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Age since the end of the task: 90m, 12h, 30d or 8w.")
    ],
    store: Url,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="STATE", help="State of the tasks. May be given several times. Default: all "
                     "states in which a task has ended.", show_default=False),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", envvar="", help="Delete the tasks. Without it the command only counts.")
    ] = False,
    output: Output = OutputFormat.TEXT,
) -> None:  # fmt: skip
    """Delete tasks that ended long ago. Without --yes, only count them.

    Running servers continue. They delete ended tasks by themselves if --retention-s or --max-ended-tasks says so.
    """

    async def delete(url: str) -> "dict[str, Deleted]":
        age_s, states = _seconds(older_than), _ended_states(state or ())
        from a2a_grpc.store.sql import purging
        from a2a_grpc.store.sql.upkeep.opened import opened

        async with opened(url, writes=yes) as database:
            before_us = await database.read(purging.time_before, age_s)
            if not yes:
                return await database.read(purging.count_old, before_us, states)
            gone: dict[str, Deleted] = {}
            while page := await database.write(purging.delete_old, before_us, states):
                for name, part in page.items():
                    tasks, size_ = gone.get(name, (0, 0))
                    gone[name] = purging.Deleted(tasks + part.tasks, size_ + part.bytes)
            return gone

    found = ask_store(delete, store)
    total = sum(part.tasks for part in found.values())
    if output is OutputFormat.JSON:
        states = {name: {"tasks": part.tasks, "bytes": part.bytes} for name, part in found.items()}
        return say(json.dumps({"deleted": yes, "tasks": total, "states": states}))
    for name, part in found.items():
        say(f"{name}: {part.tasks} task{'' if part.tasks == 1 else 's'}, {size(part.bytes)}")
    if yes:
        return say(f"{shown(store)}: {total} task{'' if total == 1 else 's'} deleted")
    return say(f"{shown(store)}: nothing was deleted" + ("; give --yes to delete these tasks" if total else ""))


def _seconds(age: str) -> float:
    if (found := _AGE.fullmatch(age.strip())) is None:
        raise ConfigurationError(f"--older-than is '{one_line(age, 40)}'; give an age such as 90m, 12h, 30d or 8w")
    return float(found[1]) * _UNITS[found[2]]


def _ended_states(names: Collection[str]) -> set[int]:
    """Return the numbers of states. Raise ConfigurationError for a state in which no task has ended."""
    known: dict[str, int] = {state_name(state): state for state in sorted(TERMINAL)}
    for name in names:
        if name.upper() not in known:
            raise ConfigurationError(f"--state is '{one_line(name, 40)}'; it must be one of {', '.join(known)}")
    return {known[name.upper()] for name in names} or set(known.values())


def states_of(names: Collection[str]) -> set[int]:
    """Return the numbers of states by their names. Raise ConfigurationError for an unknown one."""
    known = {state_name(state): state for state in TaskState.values() if state}
    for name in names:
        if name.upper() not in known:
            raise ConfigurationError(f"--state is '{one_line(name, 40)}'; it must be one of {', '.join(known)}")
    return {known[name.upper()] for name in names}


def size(count: float) -> str:
    """Return a number of bytes in words, such as `1.5 MiB`."""
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    step = 0
    while count >= 1024 and step < len(units) - 1:
        count, step = count / 1024, step + 1
    return f"{count:.0f} {units[step]}" if step == 0 else f"{count:.1f} {units[step]}"


def _time(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _aligned(rows: "list[tuple[str, ...]]") -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
