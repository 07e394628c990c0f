"""A task belongs to the caller that made it: for every other caller it does not exist, on any store and any replica."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_grpc import Agent, Turn
from a2a_grpc.engine import EngineSettings
from a2a_grpc.principal import MAX_CHARS, Principal
from a2a_grpc.store.sql.migrations import upgrade
from a2a_grpc.text import flaw
from a2a_grpc.wire import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    SubscribeToTaskRequest,
    Task,
    TaskState,
)
from tests.auth.callers import ISSUERS, Site, as_caller, site
from tests.covers import covers
from tests.harness import elements, event_state, eventually, message, refusal, request, scripted, scripted_agent, texts

NOT_FOUND, DENIED = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED
UNKNOWN = "no-such-task"


@pytest.fixture(params=["memory", "sqlite", "postgres", "mariadb"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store without tasks."""
    match request.param:
        case "memory":
            return "memory:"
        case "sqlite":
            return f"sqlite:///{tmp_path}/tasks.db"
        case "postgres":
            return str(request.getfixturevalue("postgres_store"))
    return str(request.getfixturevalue("mariadb_url"))


@pytest.fixture
async def replicas(store_url: str) -> AsyncIterator[tuple[Site, Site]]:
    """Two replicas on one store, or one server twice if its store is for one server."""
    if store_url.startswith("mysql"):
        await upgrade(store_url)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(site(scripted_agent(), store=store_url))
        if not store_url.startswith(("sqlite", "postgres")):
            yield first, first
            return
        yield first, await stack.enter_async_context(site(scripted_agent(), store=store_url))


async def start(running: Site, caller: Any, *steps: Any) -> Task:
    """A task of a caller, started and not waited for."""
    response = await running.stub.SendMessage(scripted(*steps, immediately=True), metadata=caller)
    task: Task = response.task
    return task


def operations(running: Site, task_id: str, caller: Any) -> dict[str, Any]:
    """A call of each operation that names a task."""
    follow_up = request(message(task_id=task_id))
    stub = running.stub
    return {
        "GetTask": stub.GetTask(GetTaskRequest(id=task_id), metadata=caller),
        "CancelTask": stub.CancelTask(CancelTaskRequest(id=task_id), metadata=caller),
        "SubscribeToTask": stub.SubscribeToTask(SubscribeToTaskRequest(id=task_id), metadata=caller),
        "SubscribeToTask after": stub.SubscribeToTask(
            SubscribeToTaskRequest(id=task_id), metadata=(*caller, ("a2a-grpc-after", "1"))
        ),
        "SendMessage": stub.SendMessage(follow_up, metadata=caller),
        "SendStreamingMessage": stub.SendStreamingMessage(follow_up, metadata=caller),
        "idempotent SendMessage": stub.SendMessage(follow_up, metadata=(*caller, ("idempotency-key", "k"))),
    }


@covers("SEC-4", "IDS-10", "LIST-1", "GET-3", "ERR-16")
async def test_a_task_of_one_kind_of_caller_does_not_exist_for_the_others(replicas: tuple[Site, Site]) -> None:
    here, there = replicas
    tasks = {kind: await start(here, as_caller(kind), {"status": "at work"}, {"sleep": 600}) for kind in ISSUERS}
    for owner, task in tasks.items():
        for other in ISSUERS.keys() - {owner}:
            unknown = {name: await refusal(call) for name, call in operations(there, UNKNOWN, as_caller(other)).items()}
            for name, call in operations(there, task.id, as_caller(other)).items():
                found = await refusal(call)
                assert (found.code, found.reason) == (NOT_FOUND, "TASK_NOT_FOUND"), (owner, other, name)
                assert found.text.replace(task.id, UNKNOWN) == unknown[name].text
                assert found.metadata == {"task_id": task.id}
    for owner, task in tasks.items():
        caller = as_caller(owner)
        listed = await there.stub.ListTasks(ListTasksRequest(), metadata=caller)
        assert ([found.id for found in listed.tasks], listed.total_size) == ([task.id], 1)
        assert (await there.stub.GetTask(GetTaskRequest(id=task.id), metadata=caller)).id == task.id
        canceled = await there.stub.CancelTask(CancelTaskRequest(id=task.id), metadata=caller)
        assert canceled.status.state == TaskState.TASK_STATE_CANCELED


@covers("SEC-4")
async def test_contexts_references_page_tokens_and_idempotency_keys_are_of_one_caller(
    replicas: tuple[Site, Site],
) -> None:
    here, there = replicas
    ann, bob = as_caller("jwt", "ann"), as_caller("jwt", "bob")
    key = ("idempotency-key", "one")
    first = (await here.stub.SendMessage(request("1"), metadata=(*ann, key))).task
    again = (await there.stub.SendMessage(request("1"), metadata=(*ann, key))).task
    other = (await there.stub.SendMessage(request("1"), metadata=(*bob, key))).task
    assert again.id == first.id
    assert other.id != first.id
    await here.stub.SendMessage(request("2"), metadata=ann)

    page = await here.stub.ListTasks(ListTasksRequest(page_size=1), metadata=ann)
    assert page.next_page_token
    asked = ListTasksRequest(page_size=1, page_token=page.next_page_token)
    assert (await there.stub.ListTasks(asked, metadata=ann)).total_size == 2
    assert (await refusal(there.stub.ListTasks(asked, metadata=bob))).code is grpc.StatusCode.INVALID_ARGUMENT

    in_context = ListTasksRequest(context_id=first.context_id)
    assert (await there.stub.ListTasks(in_context, metadata=bob)).total_size == 0
    joined = (await there.stub.SendMessage(request(message(context_id=first.context_id)), metadata=bob)).task
    listed = await here.stub.ListTasks(in_context, metadata=ann)
    assert joined.id not in [task.id for task in listed.tasks]


async def test_a_task_of_another_caller_is_no_reference() -> None:
    agent = Agent("Refers", "Reads the tasks that a message refers to.")

    @agent.skill()
    async def refer(turn: Turn) -> str:
        return "found: " + ",".join([task.id for task in await turn.referenced()])

    async with site(agent) as running:
        ann, bob = as_caller("jwt", "ann"), as_caller("jwt", "bob")
        mine = (await running.stub.SendMessage(request("mine"), metadata=ann)).task
        referring = message("look")
        referring.reference_task_ids.append(mine.id)
        assert texts((await running.stub.SendMessage(request(referring), metadata=ann)).task) == [f"found: {mine.id}"]
        assert await said(running, referring, bob) == "found: "
        del referring.reference_task_ids[:]
        referring.reference_task_ids.append(UNKNOWN)
        assert await said(running, referring, bob) == "found: "


async def said(running: Site, sent: Message, caller: Any) -> str:
    """What the agent says to a message."""
    task = (await running.stub.SendMessage(request(sent), metadata=caller)).task
    return texts(task)[0]


async def test_members_of_a_group_share_their_tasks() -> None:
    async with site(scripted_agent()) as running:
        task = await start(running, as_caller("jwt", "ann", group="team"))
        for caller in (as_caller("jwt", "bob", group="team"), as_caller("jwt", "ann", group="team")):
            assert (await running.stub.GetTask(GetTaskRequest(id=task.id), metadata=caller)).id == task.id
        for caller in (
            as_caller("jwt", "ann"),
            as_caller("jwt", "team"),
            as_caller("other", "bob", group="team"),
            as_caller("key", "bob", group="team"),
        ):
            found = await refusal(running.stub.GetTask(GetTaskRequest(id=task.id), metadata=caller))
            assert found.code is NOT_FOUND


# -- tenants


@covers("TEN-5")
@pytest.mark.parametrize("only_tenant", [False, True])
async def test_a_tenant_that_the_credentials_do_not_cover_is_denied_like_an_unknown_one(only_tenant: bool) -> None:
    async with site(scripted_agent(), tenant="acme", only_tenant=only_tenant) as running:
        covered = as_caller("jwt", tenants="acme")
        task = (await running.stub.SendMessage(request(tenant="acme"), metadata=covered)).task
        for tenant in ("other", "no-such-tenant"):
            for caller in (covered, as_caller("key", tenants="acme")):
                for call in (
                    running.stub.SendMessage(request(tenant=tenant), metadata=caller),
                    running.stub.SendStreamingMessage(request(tenant=tenant), metadata=caller),
                    running.stub.ListTasks(ListTasksRequest(tenant=tenant), metadata=caller),
                ):
                    found = await refusal(call)
                    assert (found.code, found.reason) == (DENIED, "PERMISSION_DENIED")
                    assert found.text == f"the credentials do not cover the tenant '{tenant}'"
                for task_id in (task.id, UNKNOWN):
                    for call in (
                        running.stub.GetTask(GetTaskRequest(id=task_id, tenant=tenant), metadata=caller),
                        running.stub.CancelTask(CancelTaskRequest(id=task_id, tenant=tenant), metadata=caller),
                        running.stub.SubscribeToTask(
                            SubscribeToTaskRequest(id=task_id, tenant=tenant), metadata=caller
                        ),
                    ):
                        found = await refusal(call)
                        assert (found.code, found.text) == (NOT_FOUND, f"task '{task_id}' was not found")


async def test_credentials_for_one_tenant_are_for_this_tenant_if_the_request_names_none() -> None:
    async with site(scripted_agent()) as running:
        one, two = as_caller("jwt", tenants="acme"), as_caller("jwt", tenants="acme,umbrella")
        task = (await running.stub.SendMessage(request(), metadata=one)).task
        found = await running.stub.GetTask(GetTaskRequest(id=task.id, tenant="acme"), metadata=two)
        assert found.id == task.id
        assert (await refusal(running.stub.SendMessage(request(), metadata=two))).code is DENIED


async def test_a_tenant_that_the_credentials_no_longer_cover_shows_none_of_its_tasks() -> None:
    async with site(scripted_agent()) as running:
        before = as_caller("jwt", tenants="acme,umbrella")
        task = (await running.stub.SendMessage(request(tenant="umbrella"), metadata=before)).task
        now = as_caller("jwt", tenants="acme")
        asked = GetTaskRequest(id=task.id, tenant="umbrella")
        assert (await refusal(running.stub.GetTask(asked, metadata=now))).code is NOT_FOUND
        assert (await running.stub.GetTask(asked, metadata=before)).id == task.id


# -- another replica


async def test_a_turn_that_another_replica_runs_knows_its_caller(tmp_path: Path) -> None:
    started = asyncio.Event()

    def agent() -> Agent:
        made = Agent("Who", "Says who calls, at the second attempt.", resumable=True)

        @made.skill()
        async def who(turn: Turn) -> Any:
            if turn.attempt == 1:
                started.set()
                await asyncio.sleep(600)
            principal = turn.principal
            return [principal.subject, principal.method, principal.issuer, sorted(principal.scopes), principal.key]

        return made

    url, engine = f"sqlite:///{tmp_path}/tasks.db", EngineSettings(lease_s=1.0)
    caller = as_caller("other", "ann", scopes="a,b", tenants="acme")
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(site(agent(), store=url, engine=engine))
        sent = request("who am I?", immediately=True)
        task = (await first.stub.SendMessage(sent, metadata=caller)).task
        await started.wait()
        second = await stack.enter_async_context(site(agent(), store=url, engine=engine))
        await first.server.stop(0.0)

        async def is_done() -> None:
            found = await second.stub.GetTask(GetTaskRequest(id=task.id), metadata=caller)
            assert found.status.state == TaskState.TASK_STATE_COMPLETED
            said = list(found.artifacts[0].parts[0].data.list_value.values)
            assert [each.string_value for each in said[:3]] == ["ann", "jwt", "https://b.example"]
            assert [each.string_value for each in said[3].list_value.values] == ["a", "b"]
            known = Principal("ann", "jwt", "https://b.example", tenant="acme")
            assert said[4].string_value == known.key

        await eventually(is_done, within_s=30)


async def test_a_follow_up_of_the_caller_reaches_its_task_and_that_of_another_does_not(
    replicas: tuple[Site, Site],
) -> None:
    here, there = replicas
    ann, bob = as_caller("certificate", "ann"), as_caller("certificate", "bob")
    task = await start(here, ann, {"input": "Which?"}, {"artifact": "x"})

    async def asks() -> None:
        found = await there.stub.GetTask(GetTaskRequest(id=task.id), metadata=ann)
        assert found.status.state == TaskState.TASK_STATE_INPUT_REQUIRED

    await eventually(asks)
    answer = request(message("this one", task_id=task.id))
    assert (await refusal(there.stub.SendMessage(answer, metadata=bob))).code is NOT_FOUND
    last = (await elements(there.stub.SendStreamingMessage(answer, metadata=ann)))[-1]
    assert event_state(last) == TaskState.TASK_STATE_COMPLETED  # `here` may end the task before `there` reads it


# -- owners

TEXTS = st.text(max_size=300)
PRINCIPALS = st.builds(
    Principal, subject=TEXTS, method=st.sampled_from(["key", "jwt"]), issuer=TEXTS, group=TEXTS, tenant=TEXTS
)


@given(PRINCIPALS, PRINCIPALS)
def test_two_callers_have_one_owner_only_if_they_are_one(one: Principal, other: Principal) -> None:
    def identity(principal: Principal) -> tuple[str, ...]:
        return principal.method, principal.issuer, principal.group, "" if principal.group else principal.subject

    assert (one.owner == other.owner) == (identity(one) == identity(other))
    assert (one.key == other.key) == (identity(one) == identity(other) and one.tenant == other.tenant)
    assert flaw(one.owner, MAX_CHARS) is None


@given(
    PRINCIPALS, st.none() | st.frozensets(TEXTS), st.frozensets(TEXTS), st.dictionaries(TEXTS, st.integers() | TEXTS)
)
def test_a_stored_caller_is_read_as_it_was(
    principal: Principal, tenants: frozenset[str] | None, scopes: frozenset[str], claims: dict[str, Any]
) -> None:
    known = Principal(
        principal.subject,
        principal.method,
        principal.issuer,
        tenant=principal.tenant,
        tenants=tenants,
        scopes=scopes,
        claims=claims,
        group=principal.group,
    )
    assert Principal.from_json(known.to_json(), tenant=principal.tenant) == known


def test_names_that_look_alike_are_different_owners() -> None:
    owners = {
        Principal("ann", "key").owner,
        Principal("ann", "jwt", "https://a.example").owner,
        Principal("ann", "jwt", "https://b.example").owner,
        Principal("https://a.example", "jwt", "ann").owner,
        Principal('ann"', "jwt", "https://a.example").owner,
        Principal("", "jwt", "https://a.example", group="ann").owner,
        Principal("ann").owner,
        Principal().owner,
    }
    assert len(owners) == 8


def test_a_principal_of_wrong_types_is_refused_and_any_set_of_texts_is_taken() -> None:
    wrong: list[dict[str, Any]] = [{"subject": None}, {"subject": 7}, {"tenants": "acme"}, {"scopes": "write"}]
    for values in wrong:
        with pytest.raises(TypeError, match="of a principal is"):
            Principal(**{"subject": "alice", "method": "pass"} | values)
    given: Any = ["acme"]
    assert Principal("alice", "pass", tenants=given).tenants == frozenset(["acme"])
