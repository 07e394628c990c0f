"""A store keeps the tasks of one agent; several agents share a database by schemas of their own."""

import asyncio
import shlex
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.bus.postgres import CHANNEL, channel_of
from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.libpq import connecting
from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED
from a2a_grpc.store import MemoryStore
from a2a_grpc.store.sql.migrations import HEAD, NONE, current, upgrade
from a2a_grpc.store.sql.upkeep.opened import rename_at
from a2a_grpc.wire import ListTasksRequest
from tests.cli.terminal import Done, error_of, run
from tests.databases import postgres_connection
from tests.harness import V1, Served, message, refusal, request, serving, texts


def agent_of(name: str, version: str = "1.0.0") -> Agent:
    """An agent that asks once, and says its name and version with the answer."""
    agent = Agent(name, "Says its name.", version)

    @agent.skill()
    async def say(turn: Turn) -> str:
        return f"{name} {version}: {await turn.ask('what?')}"

    return agent


async def asked(served: Served) -> str:
    task = (await served.send(request())).task
    assert task.status.state == INPUT_REQUIRED
    return str(task.id)


async def answered(served: Served, task_id: str) -> list[str]:
    task = (await served.send(request(message("this", task_id=task_id)))).task
    assert task.status.state == COMPLETED
    return texts(task)


async def ids(served: Served) -> list[str]:
    return [task.id for task in (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).tasks]


async def refused(agent: Agent, **settings: Any) -> str:
    with pytest.raises(ConfigurationError) as error:
        async with serving(agent, **settings):
            raise AssertionError("it started")
    return str(error.value)


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/tasks.db"
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def url(empty_url: str) -> str:
    """The URL of a store without tasks."""
    await upgrade(empty_url)
    return empty_url


async def test_another_agent_is_refused_with_both_names_and_versions_of_one_agent_share(url: str) -> None:
    async with serving(agent_of("Poet"), store=url) as old:
        task_id = await asked(old)
        said = await refused(agent_of("The Critic"), store=url)
        assert "tasks of the agent 'Poet', and this agent is 'The Critic'" in said
        assert "run: a2a-grpc db rename 'The Critic'" in said
        assert "***" not in said[said.index("a2a-grpc db rename") :], "a masked password could not be used"
        async with serving(agent_of("Poet", "2.0.0"), store=url) as new:
            await old.server.stop()
            assert await answered(new, task_id) == ["Poet 2.0.0: this"]
    assert "'Poet'" in await refused(agent_of("The Critic"), store=url), "also while no server runs"


async def test_a_renamed_agent_takes_its_tasks_along_and_servers_that_run_go_on(url: str) -> None:
    async with serving(agent_of("Poet"), store=url) as old:
        task_id, other_id = await asked(old), await asked(old)
        assert await rename_at(url, "Bard") == "Poet"
        assert await answered(old, other_id) == ["Poet 1.0.0: this"]
        async with serving(agent_of("Bard"), store=url) as new:
            await old.server.stop()
            assert await answered(new, task_id) == ["Bard 1.0.0: this"]
    assert "tasks of the agent 'Bard', and this agent is 'Poet'" in await refused(agent_of("Poet"), store=url)


async def test_of_two_agents_that_start_at_the_same_time_one_is_refused(url: str) -> None:
    async with AsyncExitStack() as stack:
        started = [stack.enter_async_context(serving(agent_of(name), store=url)) for name in ("Poet", "Critic")]
        outcomes = await asyncio.gather(*started, return_exceptions=True)
        [error] = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        assert isinstance(error, ConfigurationError)
        assert "'Poet'" in str(error)
        assert "'Critic'" in str(error)


async def test_a_store_of_ones_own_is_one_agents_too() -> None:
    from a2a_grpc.server.loaded import make_server

    settings = {"listen": "127.0.0.1:0", "http_listen": "off"}
    store = MemoryStore()
    async with make_server(agent_of("Poet"), settings, store=store):
        pass
    with pytest.raises(ConfigurationError, match=r"the given store keeps .* 'Poet', and this agent is 'Critic'"):
        await make_server(agent_of("Critic"), settings, store=store).start()


@pytest.mark.long
async def test_agents_share_a_postgresql_database_by_schemas(postgres_url: str) -> None:
    names = {"": "Poet", "critic": "Critic", "Clerk_2": "Clerk"}
    urls = {schema: f"{postgres_url}?schema={schema}" if schema else postgres_url for schema in names}
    for schema, url in urls.items():
        assert await current(url) == (NONE, HEAD), schema
        if schema:
            assert f"?schema={schema}" in await refused(agent_of(names[schema]), store=url)
        assert await upgrade(url) == (NONE, HEAD)
        assert await upgrade(url) == await current(url) == (HEAD, HEAD)
    async with AsyncExitStack() as stack:
        servers, tasks = {}, {}
        for schema, name in names.items():
            served = await stack.enter_async_context(serving(agent_of(name), store=urls[schema]))
            servers[schema], tasks[schema] = served, await asked(served)
        for schema, served in servers.items():
            assert await ids(served) == [tasks[schema]]
            other = next(task_id for known, task_id in tasks.items() if known != schema)
            assert (await refusal(served.stub.GetTask(request_of(other), metadata=V1))).reason == "TASK_NOT_FOUND"
            # The other replica of an agent answers; only the wakes of its own agent reach it.
            replica = await stack.enter_async_context(serving(agent_of(names[schema]), store=urls[schema]))
            assert replica.server._running.log.bus._channel == channel_of(urls[schema])  # type: ignore[attr-defined]
            assert await answered(replica, tasks[schema]) == [f"{names[schema]} 1.0.0: this"]
    assert len({channel_of(url) for url in urls.values()}) == 3
    assert channel_of(postgres_url) == CHANNEL
    async with postgres_connection(postgres_url) as connection:
        rows = await connection.fetch("SELECT schemaname FROM pg_tables WHERE tablename = 'a2a_task'")
    assert sorted(row["schemaname"] for row in rows) == ["Clerk_2", "critic", "public"]


def request_of(task_id: str) -> Any:
    from a2a_grpc.wire import GetTaskRequest

    return GetTaskRequest(id=task_id)


async def test_a_user_who_may_make_no_schema_uses_one_that_is_there(postgres_url: str) -> None:
    async with postgres_connection(postgres_url) as connection:
        await connection.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
        await connection.execute("CREATE SCHEMA guests AUTHORIZATION guest")
        url = postgres_url.replace("tester:secret", "guest:guest") + "?schema=guests"
        try:
            assert await upgrade(url) == (NONE, HEAD)
            with pytest.raises(ConfigurationError, match="permission denied"):
                await upgrade(url.replace("guests", "elsewhere"))
        finally:
            await connection.execute("DROP SCHEMA guests CASCADE")
            await connection.execute("DROP ROLE guest")


@pytest.mark.parametrize("schema", ["1a", "a-b", 'a"b', "a" * 64, "a;b", "pg catalog"])
def test_a_schema_that_cannot_be_is_refused(schema: str) -> None:
    with pytest.raises(ConfigurationError, match="a schema has up to 63 letters"):
        DatabaseUrl.parse(f"postgresql://u@h/db?schema={quote(schema)}&ssl=require")


def test_other_databases_have_no_schemas() -> None:
    for url in ("sqlite:///a.db?schema=x", "mysql://u@h/db?schema=x"):
        with pytest.raises(ConfigurationError, match="no option schema"):
            DatabaseUrl.parse(url)


def test_the_buss_driver_is_not_given_the_schema() -> None:
    for query, left in (
        ("?schema=a", ""),
        ("?schema=a&ssl=require", "?sslmode=require"),
        ("?ssl=require&schema=a", "?sslmode=require"),
        ("?ssl=require&schema=a&host=x", "?sslmode=require&host=x"),
    ):
        assert connecting(f"postgresql://u@h/db{query}").dsn == f"postgresql://u@h/db{left}"


async def test_a_new_name_that_is_empty_and_a_file_that_is_missing_are_refused(tmp_path: Path) -> None:
    for name, said in ((" ", "the new name is empty"), ("Critic", "there is no file")):
        with pytest.raises(ConfigurationError, match=said):
            await rename_at(f"sqlite:///{tmp_path}/none.db", name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
async def test_the_command_line_says_whose_tasks_they_are_and_renames(tmp_path: Path) -> None:
    program, store = tmp_path / "critic.py", f"sqlite:///{tmp_path}/tasks.db"
    program.write_text(
        "from a2a_grpc import Agent, Turn, serve\n"
        "agent = Agent('Critic', 'Says so.')\n"
        "@agent.skill()\n"
        "async def say(turn: Turn) -> str:\n"
        "    return 'no'\n"
        "serve(agent)\n"
    )
    async with serving(agent_of("Poet"), store=store):
        pass
    serve = ("serve", str(program), "--store", store, "--listen", "127.0.0.1:0", "--http-listen", "off")
    told = error_of(await run(*serve), 2)
    assert "keeps the tasks of the agent 'Poet', and this agent is 'Critic'" in told
    command = shlex.split(told[told.index("a2a-grpc db rename") :])
    assert await run(*command[1:]) == Done(
        0, f"{store}: the tasks are those of the agent 'Critic' now; before, of 'Poet'\n", ""
    )
