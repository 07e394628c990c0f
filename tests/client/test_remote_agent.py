"""A remote agent that is called like a function."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from a2a_grpc import Agent, Message, Part, RemoteAgent, Task, Turn, connect, text_of
from a2a_grpc.client import AgentCardError, ConnectionLostError, TaskNotCompletedError, UnreachableError, progress_of
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import TaskNotFoundError, UnsupportedOperationError
from a2a_grpc.lifecycle import AUTH_REQUIRED, CANCELED, COMPLETED, FAILED, INPUT_REQUIRED, REJECTED, WORKING
from a2a_grpc.parts import Contents, value
from a2a_grpc.wire import Artifact, TaskArtifactUpdateEvent, TaskState, TaskStatusUpdateEvent
from tests.client.local_agents import GUARD_S, Passage, Sleeper, Writer, client_of, observer, script
from tests.covers import covers
from tests.harness import Served, eventually, serving
from tests.ports import free_address, free_port
from tests.regressions.faults import open_streams, reaches

pytestmark = pytest.mark.usefixtures("any_way")


@pytest.fixture
async def remote(served: Served) -> AsyncIterator[RemoteAgent]:
    """The scripted agent."""
    async with RemoteAgent(served.server.grpc_address) as agent:
        yield agent


async def pieces(agent: RemoteAgent, content: Contents | Message, **options: Any) -> list[str]:
    return [piece async for piece in agent.stream(content, **options)]


def no_stream(served: Served) -> None:
    assert open_streams(served) == 0


# -- run


@covers("S1-41")
async def test_an_agent_is_run_and_gives_its_answer_as_text(served: Served) -> None:
    agent = RemoteAgent(served.server.grpc_address)
    assert await agent.run("hello") == "hello"
    assert await agent.run(script({"chunks": {"count": 3, "text": "{i};"}})) == "0;1;2;"
    assert await agent.run(script({"complete": "all done"})) == "all done"
    assert await agent.run(script({"message": "no task needed"})) == "no task needed"
    assert await agent.run(script({"status": "busy"})) == ""


@covers("S1-41")
async def test_in_a_block_an_agent_keeps_one_connection_and_outside_none(served: Served) -> None:
    async with asyncio.timeout(GUARD_S), Passage(served.server.grpc_address) as passage:

        def closed() -> None:
            assert passage.open == 0

        agent = RemoteAgent(passage.address)
        async with agent:
            assert [await agent.run(text) for text in ("a", "b", "c")] == ["a", "b", "c"]
            assert (passage.taken, passage.open) == (1, 1)
        await eventually(closed)
        assert [await agent.run(text) for text in ("a", "b")] == ["a", "b"]
        assert passage.taken == 3
        await eventually(closed)


@covers("S1-41")
async def test_an_agent_uses_the_client_that_it_is_given_and_does_not_close_it(served: Served) -> None:
    async with asyncio.timeout(GUARD_S), Passage(served.server.grpc_address) as passage:
        async with connect(passage.address) as client:
            agent = RemoteAgent(client=client)
            assert agent.target == passage.address
            assert await agent.run("outside") == "outside"
            async with agent:
                assert await agent.run("inside") == "inside"
            assert await agent.run("after") == "after"
            assert text_of(_task(await client.send("itself"))) == "itself"
            assert (passage.taken, passage.open) == (1, 1)


def _task(reply: Task | Message) -> Task:
    assert isinstance(reply, Task)
    return reply


@pytest.mark.direct
async def test_the_settings_of_connect_are_those_of_an_agent(served: Served) -> None:
    async with RemoteAgent(served.server.grpc_address, tenant="acme") as agent:
        assert await agent.run("hello") == "hello"
        async with client_of(served) as client, client_of(served, tenant="acme") as acme:
            assert [task async for task in client.list()] == []
            assert len([task async for task in acme.list()]) == 1


def test_an_agent_that_cannot_be_is_refused_when_it_is_made() -> None:
    with pytest.raises(TypeError, match="target or a client"):
        RemoteAgent()
    with pytest.raises(ConfigurationError, match="gprc"):
        RemoteAgent("gprc://agents.example")
    with pytest.raises(TypeError, match="timeout_seconds: no such setting"):
        RemoteAgent("127.0.0.1:1", timeout_seconds=3)


async def test_an_agent_that_is_not_there_cannot_be_reached() -> None:
    async with asyncio.timeout(GUARD_S), RemoteAgent(free_address(), connect_timeout_s=0.3) as agent:
        with pytest.raises(UnreachableError, match="nothing listens"):
            await agent.run("hello")


async def test_options_of_a_send_go_with_a_run() -> None:
    async with serving(observer()) as served, RemoteAgent(served.server.grpc_address) as agent:
        assert await agent.run("hello", metadata={"skill": "shout"}) == "HELLO"
        assert await pieces(agent, "hello", metadata={"skill": "shout"}) == ["HELLO"]


# -- stream


@covers("S1-40")
async def test_the_first_piece_is_there_before_the_last_is_made() -> None:
    writer = Writer()
    async with asyncio.timeout(GUARD_S), serving(writer.agent) as served:
        async with RemoteAgent(served.server.grpc_address) as agent:
            story = agent.stream("a story")
            assert await anext(story) == "Once "
            assert not writer.gate.opened.is_set()
            writer.gate.opened.set()
            assert [piece async for piece in story] == ["upon a time"]


@covers("S1-46")
async def test_only_what_is_text_is_a_piece(remote: RemoteAgent) -> None:
    steps: list[dict[str, Any]] = [
        {"status": "not a piece"},
        {"artifact": {"id": "a", "data": {"progress": 0.5}}},
        {"artifact": {"id": "b", "raw_base64": "AAE="}},
        {"chunks": {"count": 2, "text": "{i}"}},
        {"complete": "no piece either"},
    ]
    assert await pieces(remote, script(*steps)) == ["0", "1"]
    assert await pieces(remote, script({"message": "a message"})) == ["a message"]


async def test_a_stream_outside_of_a_block_closes_its_connection(served: Served) -> None:
    async with asyncio.timeout(GUARD_S), Passage(served.server.grpc_address) as passage:
        agent = RemoteAgent(passage.address)
        assert "".join(await pieces(agent, script({"chunks": {"count": 3, "text": "{i}"}}))) == "012"

        def closed() -> None:
            assert (passage.taken, passage.open) == (1, 0)

        await eventually(closed)


# -- describe


@covers("S1-42")
async def test_an_agent_describes_itself_from_memory_after_its_block_was_entered() -> None:
    async with serving(observer(), http_listen="127.0.0.1:0") as served:
        agent = RemoteAgent(_url(served))
        with pytest.raises(RuntimeError, match=r"await agent\.card\(\)"):
            agent.describe()
        assert agent.name == _url(served)
        async with agent:
            assert agent.describe()["name"] == agent.name == "Observer"
    described = agent.describe()
    assert described["description"] == "Tells what it was sent."
    skills = described["skills"]
    assert isinstance(skills, list)
    assert [skill["id"] for skill in skills if isinstance(skill, dict)] == ["observe", "shout"]
    assert "defaultInputModes" in described


@covers("S1-42")
async def test_an_agent_describes_itself_after_its_card_was_asked_for() -> None:
    async with serving(observer(), http_listen="127.0.0.1:0") as served:
        agent = RemoteAgent(_url(served))
        assert (await agent.card()).name == "Observer"
        assert agent.describe()["name"] == agent.name == "Observer"


def _url(served: Served) -> str:
    assert served.server.http_url
    return served.server.http_url


@covers("S1-41")
async def test_a_name_that_is_given_wins_over_the_cards() -> None:
    async with serving(observer(), http_listen="127.0.0.1:0") as served:
        async with RemoteAgent(_url(served), name="eyes") as agent:
            assert (agent.name, agent.describe()["name"]) == ("eyes", "Observer")


async def test_an_agent_known_by_its_address_has_no_card_and_works(served: Served) -> None:
    async with RemoteAgent(served.server.grpc_address) as agent:
        assert agent.name == served.server.grpc_address
        with pytest.raises(RuntimeError, match="was not fetched"):
            agent.describe()
        with pytest.raises(UnsupportedOperationError, match="is an address"):
            await agent.card()
        assert await agent.run("hello") == "hello"


async def test_an_agent_whose_block_cannot_be_entered_leaves_nothing_open() -> None:
    async with asyncio.timeout(GUARD_S):
        agent = RemoteAgent(f"http://127.0.0.1:{free_port()}", connect_timeout_s=0.3)
        with pytest.raises(UnreachableError):
            async with agent:
                raise AssertionError("there is nobody")
        with pytest.raises(UnreachableError):
            await agent.run("hello")


async def test_a_card_that_cannot_be_used_is_told_by_the_block() -> None:
    with pytest.raises(AgentCardError, match=r"none\.json"):
        async with RemoteAgent("/none.json"):
            raise AssertionError("there is no card")


@covers("S1-42")
async def test_the_card_of_a_given_client_is_in_memory_once_the_block_is_entered() -> None:
    async with serving(observer(), http_listen="127.0.0.1:0") as served, connect(_url(served)) as client:
        async with RemoteAgent(client=client) as agent:
            assert agent.describe()["name"] == agent.name == "Observer"


# -- what is no completion


@pytest.mark.parametrize("way", ["run", "stream"])
@pytest.mark.parametrize(
    ("step", "state"),
    [
        ({"fail": "no luck"}, FAILED),
        ({"reject": "not this"}, REJECTED),
        ({"input": "which?"}, INPUT_REQUIRED),
        ({"auth": "sign in"}, AUTH_REQUIRED),
    ],
    ids=lambda shown: next(iter(shown)) if type(shown) is dict else "",
)
async def test_any_end_but_completed_is_an_error_that_holds_the_task_and_says_what_the_agent_said(
    remote: RemoteAgent, way: str, step: dict[str, str], state: TaskState
) -> None:
    content, heard = script({"chunks": {"count": 2, "text": "{i}"}}, step), []

    async def listen() -> None:
        async for piece in remote.stream(content):
            heard.append(piece)

    with pytest.raises(TaskNotCompletedError, match=next(iter(step.values()))) as error:
        await (remote.run(content) if way == "run" else listen())
    task = error.value.task
    assert task.status.state == state
    assert text_of(task) == "01"
    assert f"task '{task.id}'" in str(error.value)
    assert heard == (["0", "1"] if way == "stream" else [])


async def test_a_task_that_somebody_else_cancels_is_an_error_of_the_run() -> None:
    sleeper = Sleeper()
    async with asyncio.timeout(GUARD_S), serving(sleeper.agent) as served, client_of(served) as client:
        running = asyncio.create_task(RemoteAgent(client=client).run("sleep"))
        await eventually(lambda: has_one(sleeper.started))
        await client.cancel(sleeper.started[0])
        with pytest.raises(TaskNotCompletedError, match="CANCELED") as error:
            await running
        assert error.value.task.id == sleeper.started[0]


def has_one(items: list[Any]) -> None:
    assert len(items) == 1


@pytest.mark.parametrize("way", ["run", "stream"])
async def test_a_task_that_asks_goes_on_with_the_answer(remote: RemoteAgent, way: str) -> None:
    with pytest.raises(TaskNotCompletedError) as asked:
        await remote.run(script({"input": "which?"}))
    answer = {"task_id": asked.value.task.id}
    if way == "run":
        assert await remote.run("this one", task_id=answer["task_id"]) == "this one"
    else:
        assert await pieces(remote, "this one", **answer) == ["this one"]


async def test_a_refusal_is_raised_as_it_is(remote: RemoteAgent) -> None:
    with pytest.raises(TaskNotFoundError, match="t-none"):
        await remote.run("hello", task_id="t-none")


# -- to cancel is to stop the work


async def canceled_once_started(sleeper: Sleeper, running: asyncio.Task[Any]) -> None:
    """Cancels who runs the sleeper once it is asleep."""
    await eventually(lambda: has_one(sleeper.started))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@covers("S1-48")
@pytest.mark.parametrize("way", ["run", "stream"])
@pytest.mark.parametrize("in_a_block", [True, False])
async def test_canceling_who_awaits_an_agent_cancels_the_remote_task(way: str, in_a_block: bool) -> None:
    sleeper = Sleeper()
    async with asyncio.timeout(GUARD_S), serving(sleeper.agent) as served, client_of(served) as client:
        agent = RemoteAgent(client=client) if in_a_block else RemoteAgent(served.server.grpc_address)
        running: asyncio.Task[Any] = asyncio.create_task(agent.run("sleep") if way == "run" else pieces(agent, "sleep"))
        await canceled_once_started(sleeper, running)
        assert sleeper.canceled == sleeper.started
        assert (await client.get(sleeper.started[0])).status.state == CANCELED
        await eventually(lambda: no_stream(served))


@covers("S1-48")
async def test_canceling_cancels_a_remote_task_of_which_nothing_was_heard_yet() -> None:
    sleeper = Sleeper()
    async with asyncio.timeout(GUARD_S), serving(sleeper.agent) as served:
        async with Passage(served.server.grpc_address) as passage, RemoteAgent(passage.address) as agent:
            with pytest.raises(TaskNotFoundError):
                await agent.run("warm", task_id="t-none")  # the connection stands
            passage.hold_answers()
            running = asyncio.create_task(agent.run("sleep"))
            await eventually(lambda: has_one(sleeper.started))
            running.cancel()
            await asyncio.wait([running], timeout=0.05)  # the answer comes while it is being canceled, or has been
            passage.let_answers()
            with pytest.raises(asyncio.CancelledError):
                await running

            def canceled() -> None:
                assert sleeper.canceled == sleeper.started

            await eventually(canceled)
            has_one(sleeper.started)


async def test_an_exception_in_the_block_of_its_events_cancels_the_remote_task() -> None:
    sleeper = Sleeper()
    async with asyncio.timeout(GUARD_S), serving(sleeper.agent) as served:
        agent = RemoteAgent(served.server.grpc_address)

        async def fail() -> None:
            async with agent.events("sleep") as events:
                async for event in events:
                    if isinstance(event, TaskStatusUpdateEvent):
                        raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        has_one(sleeper.started)
        assert sleeper.canceled == sleeper.started


async def test_so_does_an_error_of_this_protocol_that_another_agent_gave_the_block() -> None:
    sleeper = Sleeper()
    async with asyncio.timeout(GUARD_S), serving(sleeper.agent) as served, client_of(served) as other:
        agent = RemoteAgent(served.server.grpc_address)

        async def fail() -> None:
            async with agent.events("sleep") as events:
                async for event in events:
                    if isinstance(event, TaskStatusUpdateEvent):
                        await other.get("t-other")

        with pytest.raises(TaskNotFoundError, match="t-other"):
            await fail()
        has_one(sleeper.started)
        assert sleeper.canceled == sleeper.started


@pytest.mark.parametrize("is_closed", [True, False])
async def test_a_stream_that_is_left_cancels_the_remote_task(is_closed: bool) -> None:
    writer = Writer()
    async with asyncio.timeout(GUARD_S), serving(writer.agent) as served, client_of(served) as client:
        agent = RemoteAgent(client=client)
        if is_closed:
            async with aclosing(agent.stream("a story")) as story:
                assert await anext(story) == "Once "
        else:
            async for piece in agent.stream("a story"):
                assert piece == "Once "
                break
        [task] = [task async for task in client.list()]
        await reaches(served, task.id, CANCELED)
        await eventually(lambda: no_stream(served))


async def test_a_block_of_events_that_is_left_in_peace_leaves_the_task_alone() -> None:
    writer = Writer()
    async with asyncio.timeout(GUARD_S), serving(writer.agent) as served, client_of(served) as client:
        async with RemoteAgent(client=client).events("a story") as events:
            async for event in events:
                if isinstance(event, TaskArtifactUpdateEvent):
                    break
        await eventually(lambda: no_stream(served))
        assert (await client.get(events.task_id)).status.state == WORKING
        writer.gate.opened.set()
        assert text_of(await client.wait(events.task_id)) == "Once upon a time"


async def test_a_remote_connection_that_is_lost_does_not_cancel_the_remote_task() -> None:
    writer = Writer()
    async with asyncio.timeout(GUARD_S), serving(writer.agent) as served, client_of(served) as client:
        async with Passage(served.server.grpc_address) as passage:
            async with RemoteAgent(passage.address, give_up_after_s=0.2, retry_maximum_s=0.1) as agent:
                pieces = aiter(agent.stream("write"))
                assert await anext(pieces) == "Once "
                passage.cut()
                with pytest.raises(ConnectionLostError) as error:
                    await anext(pieces)
        await eventually(lambda: no_stream(served))
        assert error.value.task is not None
        writer.gate.opened.set()
        assert text_of(await client.wait(error.value.task.id)) == "Once upon a time"


async def test_canceling_an_agent_that_does_not_listen_cancels_its_task_all_the_same() -> None:
    agent = Agent("Deaf", "Does not listen.")

    @agent.skill()
    async def ignore(turn: Turn) -> None:
        await turn.artifact("going")
        while not turn.canceled:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0.3)

    heard = asyncio.Event()
    async with asyncio.timeout(GUARD_S), serving(agent, cancel_grace_s=0.1) as served:
        async with RemoteAgent(served.server.grpc_address) as remote, client_of(served) as client:

            async def listen() -> None:
                async for _ in remote.stream("go"):
                    heard.set()

            running = asyncio.create_task(listen())
            await heard.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert [task.status.state async for task in client.list()] == [CANCELED]


async def test_a_block_of_events_that_fails_before_anything_was_read_cancels_what_it_sent() -> None:
    sleeper = Sleeper()
    async with serving(sleeper.agent) as served, client_of(served) as client:
        with pytest.raises(ZeroDivisionError):
            async with RemoteAgent(served.server.grpc_address).events("sleep"):
                raise ZeroDivisionError
        assert [task.status.state async for task in client.list()] == [CANCELED]


# -- progress


@pytest.mark.parametrize(
    ("data", "progress"),
    [
        ({"progress": 0.25}, 0.25),
        ({"progress": 0}, 0.0),
        ({"progress": 1, "of": "it"}, 1.0),
        ({"progress": 1.5}, None),
        ({"progress": -0.1}, None),
        ({"progress": "half"}, None),
        ({"progress": True}, None),
        ({"done": 0.5}, None),
        ([0.5], None),
        (0.5, None),
    ],
)
def test_progress_is_a_number_from_0_to_1_in_the_data_of_an_artifact(data: Any, progress: float | None) -> None:
    event = TaskArtifactUpdateEvent(artifact=Artifact(artifact_id="p", parts=[Part(data=value(data))]))
    assert progress_of(event) == progress


def test_nothing_else_is_progress() -> None:
    assert progress_of(Task()) is None
    assert progress_of(TaskStatusUpdateEvent()) is None
    assert progress_of(TaskArtifactUpdateEvent(artifact=Artifact(parts=[Part(text='{"progress": 1}')]))) is None


async def test_many_runs_at_a_time_share_one_connection(served: Served) -> None:
    async with asyncio.timeout(GUARD_S), Passage(served.server.grpc_address) as passage:
        async with RemoteAgent(passage.address) as agent:
            texts = [f"text {number}" for number in range(30)]
            assert await asyncio.gather(*(agent.run(text) for text in texts)) == texts
            assert passage.taken == 1


async def test_an_agent_whose_block_is_left_may_be_entered_again(served: Served) -> None:
    agent = RemoteAgent(served.server.grpc_address)
    for _ in range(2):
        async with agent:
            assert await agent.run("hello") == "hello"


async def test_a_completed_task_is_not_canceled_by_what_comes_after(served: Served) -> None:
    async with client_of(served) as client:

        async def fail() -> None:
            async with RemoteAgent(client=client).events("hello") as events:
                async for _ in events:
                    pass
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert [task.status.state async for task in client.list()] == [COMPLETED]
