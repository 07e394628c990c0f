"""`a2a-grpc db export` and `a2a-grpc db import`, which copy tasks between databases as lines of JSON."""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from a2a_grpc.cli.database import Output, Url, ask_store, say, shown
from a2a_grpc.cli.options import OutputFormat
from a2a_grpc.cli.output import OutputError
from a2a_grpc.cli.screen import Screen
from a2a_grpc.cli.stats import states_of
from a2a_grpc.config import ConfigurationError
from a2a_grpc.harmless import one_line

if TYPE_CHECKING:
    from a2a_grpc.database.transactions import Database

STANDARD = "-"
TELL_EVERY_S = 2.0
BATCH_TASKS = 100
BATCH_BYTES = 4 << 20


def export(
    store: Url,
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="File to write, or '-'.", show_default=False)] = "-",
    task: Annotated[
        list[str] | None,
        typer.Option("--task", metavar="TASK", help="Id of a task. May be given several times. Default: all tasks.",
                     show_default=False),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="STATE", help="State of the tasks. May be given several times.",
                     show_default=False),
    ] = None,
    with_secrets: Annotated[
        bool, typer.Option("--with-secrets", help="Write the secrets of push configs, too, still encrypted.")
    ] = False,
) -> None:  # fmt: skip
    """Write tasks as lines of JSON, with their events, owners, waiting messages and push configs.

    Running servers continue. Each task is written as it is at one moment. To move tasks to another database, stop the
    servers first. A file is made with mode 0600, and only once it is complete.
    """

    async def write(url: str) -> int:
        from a2a_grpc.store.sql.upkeep.export import Chosen, exported
        from a2a_grpc.store.sql.upkeep.opened import opened

        chosen = Chosen(task or (), states_of(state or ()), with_secrets)
        async with opened(url) as database:
            with _target(file) as target:
                return await _write(exported(database, chosen), target, file)

    count = ask_store(write, store)
    Screen.of_stderr().say(f"{count} task{'' if count == 1 else 's'} exported")


async def _write(lines: AsyncIterator[dict[str, Any]], target: IO[str], file: str) -> int:
    progress, count = _Progress("exported"), 0
    async for line in lines:
        with _writing(file):
            target.write(json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n")
        if "end" in line:
            count += 1
            progress.tell(count)
    with _writing(file):
        target.flush()
    return count


@contextmanager
def _writing(file: str) -> Iterator[None]:
    """Raise ConfigurationError if the file cannot be written. Errors of the database never come from here."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise ConfigurationError(f"the file '{file}' cannot be written: {error.strerror or error}") from None


@contextmanager
def _target(file: str) -> Iterator[IO[str]]:
    """Yield a file for the lines. A file with a name gets this name when it is complete."""
    if file == STANDARD:
        yield sys.stdout
        return
    path = Path(file)
    if path.exists() and not path.is_file():  # a device or a pipe cannot be replaced
        with _writing(file):
            special = path.open("w")
        with special:
            yield special
        return
    path = path.resolve()  # the file that a link names is replaced, not the link
    with _writing(file):
        made = tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False)  # noqa: SIM115
    new = Path(made.name)
    try:
        with made:
            yield made  # an error of the database passes as it is
        with _writing(file):
            new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def import_tasks(
    store: Url,
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="File to read, or '-'.", show_default=False)] = "-",
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out tasks that the database has already.")
    ] = False,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Store the tasks of an export. All of it is checked before anything is written.

    Without --skip-existing, nothing is written if the database has one of the tasks. If the command is interrupted, run
    it again with --skip-existing: each task is stored as a whole, or not at all. Tasks that ran when they were exported
    are taken over by a server, as after a crash.
    """

    async def read(url: str) -> tuple[int, int]:
        from a2a_grpc.store.sql.upkeep.opened import opened

        with _source(file) as source:
            async with opened(url, writes=True) as database:
                skipped = await _check(database, source, skip_existing)
                source.seek(0)
                return await _load(database, source), skipped

    stored, skipped = ask_store(read, store)
    if output is OutputFormat.JSON:
        return say(json.dumps({"imported": stored, "skipped": skipped}))
    left = f", {skipped} left out, which it had" if skipped else ""
    return say(f"{shown(store)}: {stored} task{'' if stored == 1 else 's'} imported{left}")


@contextmanager
def _source(file: str) -> Iterator[IO[bytes]]:
    """Yield the lines of a file, which are read twice. Those of standard input or a pipe are kept in a temporary
    file."""
    with ExitStack() as stack:
        try:
            if file != STANDARD:
                given: IO[bytes] = stack.enter_context(Path(file).open("rb"))
            else:
                given = sys.stdin.buffer
            source = given
            if file == STANDARD or not given.seekable():
                source = stack.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(given, source)
                source.seek(0)
        except OSError as error:
            raise ConfigurationError(f"the file '{file}' cannot be read: {error.strerror or error}") from None
        yield source


async def _check(database: "Database", source: IO[bytes], skip_existing: bool) -> int:
    """Check all lines, and that the tasks fit the database. Return the number of tasks that it has already."""
    from a2a_grpc.store.sql.coordination import agent_name
    from a2a_grpc.store.sql.rows import numbers_of
    from a2a_grpc.store.sql.upkeep.lines import Export, Imported, read_export
    from a2a_grpc.store.values import TaskKey

    export, progress = Export(), _Progress("checked")
    seen: set[TaskKey] = set()
    batch: list[TaskKey] = []
    there: list[TaskKey] = []
    for item in read_export(source, export):
        if not isinstance(item, Imported):
            continue
        if item.key in seen:
            raise ConfigurationError(f"line {item.line} of the export is wrong: task '{item.key.id}' is there twice")
        seen.add(item.key)
        batch.append(item.key)
        if len(batch) == BATCH_TASKS:
            there += sorted(await database.read(numbers_of, batch))
            batch = []
        progress.tell(export.tasks)
    there += sorted(await database.read(numbers_of, batch))
    kept = await database.read(agent_name)
    if export.agent and kept and export.agent != kept:
        raise ConfigurationError(
            f"the database keeps the tasks of the agent '{one_line(kept)}', and the export those of "
            f"'{one_line(export.agent)}'; if they are one agent, run 'a2a-grpc db rename' first"
        )
    if there and not skip_existing:
        raise ConfigurationError(
            f"the database has {len(there)} of the {len(seen)} tasks already, for example '{one_line(there[0].id)}'; "
            "nothing was written; give --skip-existing to import the others"
        )
    return len(there)


async def _load(database: "Database", source: IO[bytes]) -> int:
    """Store the tasks that are not there yet. Return their number."""
    from a2a_grpc.store.sql.keys import Numbers
    from a2a_grpc.store.sql.upkeep import load
    from a2a_grpc.store.sql.upkeep.lines import Export, Imported, read_export

    numbers, progress, export = Numbers(), _Progress("imported"), Export()
    stored = size = 0
    tasks: list[Imported] = []
    keys: list[dict[str, Any]] = []
    for item in read_export(source, export):
        if isinstance(item, Imported):
            tasks.append(item)
            size += item.row["size"] + sum(len(note["value"]) for note in item.parts["note"])
        else:
            keys.append(item)
        if len(tasks) == BATCH_TASKS or size >= BATCH_BYTES or len(keys) == BATCH_TASKS:
            stored += await database.write(load.load, tasks, keys, export.agent, numbers)
            tasks, keys, size = [], [], 0
            progress.tell(stored)
    return stored + await database.write(load.load, tasks, keys, export.agent, numbers)


class _Progress:
    """Says on standard error how many tasks are done, every few seconds."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._next = time.monotonic() + TELL_EVERY_S
        self._screen = Screen.of_stderr()

    def tell(self, count: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + TELL_EVERY_S
            self._screen.say(f"{count} tasks {self._what}", style="dim")
