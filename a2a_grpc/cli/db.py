"""`a2a-grpc db`, which manages the database of a store."""

import json
from typing import Annotated

import typer

from a2a_grpc.cli.database import Output, Url, ask_store, say, shown
from a2a_grpc.cli.examples import with_examples
from a2a_grpc.cli.options import OutputFormat
from a2a_grpc.cli.stats import purge, stats
from a2a_grpc.cli.transfer import export, import_tasks
from a2a_grpc.cli.usage import Command, Group
from a2a_grpc.harmless import one_line

EPILOG = "Exit codes: 0 ok, 1 the schema is not what this version needs, 2 usage, 3 unreachable."


def commands() -> typer.Typer:
    """Return the group of the `db` commands."""
    app = typer.Typer(
        cls=Group, no_args_is_help=True, help="Look after the database that stores tasks: schema, agent, tasks."
    )
    for function in (upgrade, current, rename, stats, export, import_tasks, purge):
        name = "import" if function is import_tasks else function.__name__
        about = with_examples(f"db {name}", function.__doc__)
        app.command(name, cls=Command, help=about, epilog=EPILOG)(function)
    return app


def upgrade(
    store: Url,
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL statements. The database is not called.")] = False,
    since: Annotated[
        str,
        typer.Option("--from", metavar="VERSION", help="With --sql: version of the schema that the database has.",
                     show_default=False),
    ] = "",
    output: Output = OutputFormat.TEXT,
) -> None:  # fmt: skip
    """Upgrade a database to the schema that this version needs. A server upgrades SQLite files by itself.

    With --sql, print the statements for a database administrator who runs them. The URL says for which database they
    are. Without --from they make all tables.
    """
    from a2a_grpc.store.sql import migrations  # SQLAlchemy takes its time to import

    if sql:
        from a2a_grpc.store.sql.migrations.offline import statements

        say(ask_store(lambda url: statements(url, since), store).rstrip("\n"))
        return
    if since:
        raise typer.BadParameter("--from has no effect without --sql")
    before, after = ask_store(migrations.upgrade, store)
    if output is OutputFormat.JSON:
        say(json.dumps({"from": before, "to": after}))
    elif before == after:
        say(f"{shown(store)}: the schema is up to date, at {after}")
    elif before == migrations.NONE:
        say(f"{shown(store)}: the tables were created, the schema is at {after}")
    else:
        say(f"{shown(store)}: the schema was upgraded from {before} to {after}")


def current(store: Url, output: Output = OutputFormat.TEXT) -> None:
    """Show the schema version of a database. The exit code is 0 if this version needs no upgrade, else 1."""
    from a2a_grpc.store.command import db_command
    from a2a_grpc.store.sql import migrations

    at, needed = ask_store(migrations.current, store)
    if output is OutputFormat.JSON:
        say(json.dumps({"at": at, "needed": needed}))
    elif at == needed:
        say(f"{shown(store)}: the schema is at {at}, as this version needs it")
    else:
        todo = "" if migrations.is_newer(at) else f"; {db_command('upgrade', shown(store))}"
        say(f"{shown(store)}: {migrations.difference(at)}{todo}")
    raise typer.Exit(0 if at == needed else 1)


def rename(
    name: Annotated[str, typer.Argument(metavar="NAME", help="New name of the agent, as in its card.")],
    store: Url,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Rename the agent that owns a database. Running servers continue; new servers need the new name."""
    from a2a_grpc.store.sql.upkeep.opened import rename_at

    before = ask_store(lambda url: rename_at(url, name), store)
    if output is OutputFormat.JSON:
        say(json.dumps({"from": before, "to": name}, ensure_ascii=False))
    else:
        then = f"; before, of '{one_line(before)}'" if before else ""
        say(f"{shown(store)}: the tasks are those of the agent '{one_line(name)}' now{then}")
