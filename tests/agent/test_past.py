"""What a handler may read of other tasks: `turn.context()` and `turn.referenced()`."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from a2a_grpc import Agent, Task, Turn, connect
from a2a_grpc.engine.past import Past
from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED, SUBMITTED
from a2a_grpc.parts import Json, data_of, text_of
from a2a_grpc.server.loaded import make_server
from a2a_grpc.store import CORE, WHOLE, Create, MemoryStore, Record, Snapshot, TaskKey, TaskView, open_store
from a2a_grpc.store.sql.migrations import upgrade
from a2a_grpc.wire import SendMessageRequest, StreamResponse
from tests.agent.agents import agent_of
from tests.covers import covers
from tests.harness import Served, message, refusal, request, serving, texts


@pytest.fixture(params=["memory", "sqlite", "postgres", "mariadb"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        return "memory:"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/tasks.db"
    return str(request.getfixturevalue(f"{request.param}_url"))


def brief(task: Task) -> str:
    """A task in words: what the user said, and what the agent gave."""
    return f"{' '.join(text_of(said) for said in task.history)}>{''.join(texts(task))}"


def rememberer() -> Agent:
    """An agent that says what it finds: `context N`, `bare N` (no artifacts, no history) or `referenced`."""

    async def remember(turn: Turn) -> Json:
        verb, _, number = turn.text.partition(" ")
        match verb:
            case "context":
                found = await turn.context(int(number)) if number else await turn.context()
            case "bare":
                found = await turn.context(int(number), artifacts=False, history_length=0)
            case "referenced":
                found = await turn.referenced()
            case _:
                return turn.text.upper()
        return [brief(task) for task in found]

    return agent_of(remember)


@pytest.fixture
async def served(store_url: str) -> AsyncIterator[Served]:
    if not store_url.startswith(("memory", "sqlite")):
        await upgrade(store_url)
    async with serving(rememberer(), store=store_url) as served:
        yield served


def sending(text: str, *, tenant: str = "", references: Sequence[str] = (), **ids: str) -> SendMessageRequest:
    sent = request(message(text, **ids))
    sent.tenant = tenant
    sent.message.reference_task_ids.extend(references)
    return sent


async def said(served: Served, text: str, **more: Any) -> Task:
    task: Task = (await served.send(sending(text, **more))).task
    assert task.status.state == COMPLETED, task
    return task


@covers("IDS-4")
async def test_the_other_tasks_of_the_context_come_newest_first_as_many_as_are_asked_for(served: Served) -> None:
    for text in ("one", "two", "three"):
        await said(served, text, context_id="c")
    await said(served, "elsewhere", context_id="d")
    await said(served, "of another tenant", context_id="c", tenant="other")
    assert data_of(await said(served, "context 2", context_id="c")) == ["three>THREE", "two>TWO"]
    found = data_of(await said(served, "context", context_id="c"))
    assert found == ["context 2>", "three>THREE", "two>TWO", "one>ONE"]
    assert data_of(await said(served, "bare 2", context_id="c")) == [">", ">"]
    assert data_of(await said(served, "context", context_id="new")) == []
    of_theirs = data_of(await said(served, "context", context_id="c", tenant="other"))
    assert of_theirs == ["of another tenant>OF ANOTHER TENANT"]


@covers("SEND-14")
async def test_the_tasks_that_a_message_names_come_in_its_order_and_unknown_ones_are_left_out(served: Served) -> None:
    one, two = await said(served, "one", context_id="c"), await said(served, "two", context_id="d")
    foreign = await said(served, "theirs", tenant="other")
    references = [two.id, "unknown", foreign.id, one.id, two.id]
    assert data_of(await said(served, "referenced", references=references)) == ["two>TWO", "one>ONE"]
    assert data_of(await said(served, "referenced")) == []
    assert data_of(await said(served, "referenced", references=[foreign.id], tenant="other")) == ["theirs>THEIRS"]


async def test_together_the_tasks_are_no_larger_than_one_may_be_except_that_one_always_comes() -> None:
    async with serving(rememberer(), max_task_bytes=10_000) as served:
        for letter in "abc":
            await said(served, letter * 2_000, context_id="c")
        found = data_of(await said(served, "context", context_id="c"))
        assert isinstance(found, list)
        assert [str(task)[0] for task in found] == ["c", "b"]
        await said(served, "d" * 4_500, context_id="c")
        found = data_of(await said(served, "context 3", context_id="c"))
        assert isinstance(found, list)
        assert [str(task)[0] for task in found] == ["d"]


@covers("SEC-4")
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_tasks_of_another_owner_are_unknown(kind: str, tmp_path: Path) -> None:
    store = open_store("memory:" if kind == "memory" else f"sqlite:///{tmp_path}/tasks.db")
    await store.open()
    try:
        keys = [TaskKey("acme", owner, f"t-{owner}") for owner in ("ada", "bob")]
        for key in keys:
            task = Task(id=key.id, context_id="c")
            element = StreamResponse(task=task).SerializeToString()
            await store.write(Create(key, Record(1, element, SUBMITTED, 1, 1), "c", "r"))
        ids = [key.id for key in keys]
        for key in keys:
            past = Past(store, 1_000_000, key.scope, "c")
            assert [task.id for task in await past.context(10, True, None)] == [key.id]
            assert [task.id for task in await past.tasks(ids, True, None)] == [key.id]
    finally:
        await store.close()


class Noting(MemoryStore):
    """Notes what is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[tuple[str, TaskView]] = []

    async def load(self, key: TaskKey, view: TaskView = WHOLE) -> Snapshot | None:
        self.loaded.append((key.id, view))
        return await super().load(key, view)


async def test_no_more_is_read_than_is_asked_for() -> None:
    seen: list[str] = []

    async def remember(turn: Turn) -> None:
        if turn.text == "look":
            store.loaded.clear()
            seen.extend(task.id for task in await turn.context(2, artifacts=False, history_length=1))

    store = Noting()
    settings = {"listen": "127.0.0.1:0", "http_listen": "off"}
    async with make_server(agent_of(remember), settings, store=store) as server:
        async with connect(server.grpc_address) as client:
            for text in ("one", "two", "three"):
                await client.send(text, context_id="c")
            await client.send("look", context_id="c")
    view = TaskView(artifacts=False, history_length=1)
    assert [entry for entry in store.loaded if entry[1] != CORE][:2] == [(id, view) for id in seen]
    assert len(seen) == 2


@pytest.mark.parametrize("limit", [0, -1, 101])
async def test_a_limit_beyond_the_bounds_is_a_value_error(limit: int) -> None:
    raised: list[str] = []

    async def remember(turn: Turn) -> None:
        try:
            await turn.context(limit)
        except ValueError as error:
            raised.append(str(error))

    async with serving(agent_of(remember)) as served:
        await said(served, "go")
    assert raised == [f"limit is {limit}; it must be 1 to 100"]


async def test_a_skill_that_answers_with_a_message_remembers_too() -> None:
    agent = Agent("Two", "Remembers.", default_skill="do")

    @agent.skill()
    async def do(turn: Turn) -> str:
        return turn.text.upper()

    @agent.skill(answers="message")
    async def recall(turn: Turn) -> Json:
        return [brief(task) for task in [*await turn.context(), *await turn.referenced()]]

    async with serving(agent) as served:
        task = await said(served, "one", context_id="c")
        sent = sending("what?", context_id="c", references=[task.id])
        sent.metadata.update({"skill": "recall"})
        assert data_of((await served.send(sent)).message) == ["one>ONE", "one>ONE"]


async def test_a_task_that_still_waits_is_remembered_as_it_is_now() -> None:
    async def remember(turn: Turn) -> Json:
        if turn.text == "ask":
            return await turn.ask("what?")
        return [f"{task.status.state} {text_of(task.status.message)}" for task in await turn.context()]

    async with serving(agent_of(remember)) as served:
        await served.send(sending("ask", context_id="c"))
        assert data_of(await said(served, "look", context_id="c")) == [f"{INPUT_REQUIRED} what?"]


async def test_more_references_than_may_be_are_refused_before_anything_is_read(served: Served) -> None:
    refused = await refusal(served.send(sending("referenced", references=[f"t-{n}" for n in range(101)])))
    assert refused.fields == ["message.reference_task_ids"]
