"""Queries go along an index, on each database: as its own planner says."""

import asyncio
import importlib
import json
import pkgutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Delete, Select, TupleType, Update, literal, select, text

from a2a_grpc.database.connect import connect
from a2a_grpc.database.transactions import Database
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.store import ListFilter, Position
from a2a_grpc.store.contract.given import KEY, append, create, status
from a2a_grpc.store.sql import SqlStore, statements
from a2a_grpc.store.sql.migrations import upgrade
from a2a_grpc.store.sql.schema import note, task
from a2a_grpc.store.sql.statements.lists import ended_statement, page_statement, surplus_statement
from a2a_grpc.store.sql.statements.tasks import COUNT_WAITING, WAITING_LONGER
from tests.covers import covers

TASKS = 2_000
MIDDLE = Position(500_000, "t-0500")


@asynccontextmanager
async def populated(url: str) -> AsyncIterator[Database]:
    """A database with tasks: every tenth in a context of its own, half of them ended, a note each."""
    await upgrade(url)
    store = SqlStore(url)
    await store.open()
    keys = [KEY._replace(id=f"t-{place:04}") for place in range(TASKS)]
    epochs = await asyncio.gather(
        *(create(store, key, at_us=1000 * place, context_id=f"c-{place % 10}") for place, key in enumerate(keys))
    )
    await asyncio.gather(
        *(
            append(store, status(2, COMPLETED, at_us=1000 * place), epoch=epochs[place], key=keys[place])
            for place in range(0, TASKS, 2)
        )
    )
    await store.close()
    database = connect(DatabaseUrl.parse(url))
    await database.write(_give_notes)
    await database.write(_analyze)
    yield database
    await database.close()


def _give_notes(connection: Connection) -> None:
    notes = select(task.c.pk, literal(1), literal("a"), literal(b"x"))
    connection.execute(note.insert().from_select(["task", "turn", "name", "value"], notes))


def _analyze(connection: Connection) -> None:
    for table in ("a2a_task", "a2a_record", "a2a_note"):
        connection.execute(text(f"ANALYZE {'TABLE ' if connection.dialect.name == 'mysql' else ''}{table}")).close()


def _explain(connection: Connection, statement: Select[Any]) -> tuple[set[str], bool]:
    """The indexes that the plan goes along, and whether it sorts."""
    compiled = statement.compile(dialect=connection.dialect)
    values = compiled.construct_params()
    parameters: Any = tuple(values[name] for name in compiled.positiontup) if compiled.positiontup else values

    def explain(how: str) -> list[Any]:
        return list(connection.exec_driver_sql(f"{how} {compiled}", parameters).mappings())

    match connection.dialect.name:
        case "sqlite":
            lines = [row["detail"] for row in explain("EXPLAIN QUERY PLAN")]
            indexes = {line.partition("INDEX ")[2].partition(" ")[0] for line in lines if "INDEX " in line}
            return indexes, any("TEMP B-TREE" in line for line in lines)
        case "postgresql":
            plan = explain("EXPLAIN (FORMAT JSON)")[0]["QUERY PLAN"]
            nodes = _nodes((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
            indexes = {node["Index Name"] for node in nodes if "Index Name" in node}
            return indexes, any("Sort" in node["Node Type"] for node in nodes)
    rows = explain("EXPLAIN")
    return {row["key"] for row in rows if row["key"]}, any("filesort" in (row["Extra"] or "") for row in rows)


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in _nodes(child))]


def _read_whole(connection: Connection) -> tuple[set[str], list[str]]:
    """The statements that get lists, and what their plans on SQLite read whole, for lists of one item and of four."""
    looked_at, whole = set(), []
    for module in pkgutil.iter_modules(statements.__path__):
        for name, statement in vars(importlib.import_module(f"{statements.__name__}.{module.name}")).items():
            if name.startswith("_") or not isinstance(statement, Select | Update | Delete):
                continue
            compiled = statement.compile(dialect=connection.dialect)
            lists = {key: bound.type for key, bound in compiled.binds.items() if bound.expanding and bound.required}
            for count in (1, 4) if lists else ():
                looked_at.add(name)
                given: Any = dict.fromkeys(key for key, bound in compiled.binds.items() if bound.required)
                for key, type in lists.items():
                    given[key] = [(None,) * len(type.types) if isinstance(type, TupleType) else None] * count
                sent = compiled.construct_expanded_state(given)
                explained = connection.exec_driver_sql(
                    f"EXPLAIN QUERY PLAN {sent.statement}", sent.positional_parameters
                )
                for *_, detail in explained:
                    if detail.startswith("SCAN a2a_") and "a2a_replica" not in detail:  # replicas are few
                        whole.append(f"{name} of {count}: {detail}")
    return looked_at, whole


class Plans:
    """The same for every database."""

    key_of_notes: str

    @pytest.mark.parametrize("after", [None, MIDDLE])
    async def test_a_page_of_a_list_goes_along_the_index_without_a_sort(
        self, database: Database, after: Position | None
    ) -> None:
        statement = page_statement(KEY.scope, ListFilter(), after, 20)
        assert await database.read(_explain, statement) == ({"a2a_task_list"}, False)

    @pytest.mark.parametrize("after", [None, MIDDLE])
    async def test_a_page_of_a_context_goes_along_its_index_without_a_sort(
        self, database: Database, after: Position | None
    ) -> None:
        statement = page_statement(KEY.scope, ListFilter(context_id="c-3"), after, 20)
        assert await database.read(_explain, statement) == ({"a2a_task_context"}, False)

    async def test_a_purge_finds_the_oldest_along_an_index(self, database: Database) -> None:
        assert await database.read(_explain, surplus_statement(100)) == ({"a2a_task_ended"}, False)
        assert await database.read(_explain, ended_statement(20_000, None, 100)) == (
            {"a2a_task_ended", self.key_of_notes},
            False,
        )

    async def test_what_waits_longest_is_found_and_counted_along_an_index(self, database: Database) -> None:
        longest = WAITING_LONGER.params(age_us=1_000_000, at_most=100)
        assert await database.read(_explain, longest) == ({"a2a_task_waiting"}, False)
        assert await database.read(_explain, COUNT_WAITING) == ({"a2a_task_waiting"}, False)


class TestSqlite(Plans):
    key_of_notes = "sqlite_autoindex_a2a_note_1"

    @pytest.fixture
    async def database(self, tmp_path: Path) -> AsyncIterator[Database]:
        async with populated(f"sqlite:///{tmp_path}/tasks.db") as database:
            yield database

    @covers("G12")
    async def test_a_statement_about_several_reads_no_table_whole(self, database: Database) -> None:
        looked_at, whole = await database.read(_read_whole)
        assert {"HEADS", "RECORDS_AT", "BINDINGS", "HELD", "CORES"} <= looked_at
        assert not whole


class TestPostgres(Plans):
    key_of_notes = "a2a_note_pkey"

    @pytest.fixture
    async def database(self, postgres_url: str) -> AsyncIterator[Database]:
        async with populated(postgres_url) as database:
            yield database


class TestMariadb(Plans):
    key_of_notes = "PRIMARY"

    @pytest.fixture
    async def database(self, mariadb_url: str) -> AsyncIterator[Database]:
        async with populated(mariadb_url) as database:
            yield database
