"""Events: their order, who gets them, and what artifacts they add up to (spec §3.5.2, §4.2)."""

import asyncio
from typing import Any

import pytest

from a2a_grpc import Agent, Artifact, Part, Turn
from a2a_grpc.lifecycle import COMPLETED, FAILED, INPUT_REQUIRED, WORKING
from a2a_grpc.parts import struct, text_of, to_dict
from a2a_grpc.wire import Task, TaskState
from tests.covers import covers
from tests.harness import (
    Served,
    elements,
    event_state,
    eventually,
    message,
    request,
    scripted,
    serving,
    texts,
)
from tests.spec.required import faults

pytestmark = pytest.mark.usefixtures("any_way")


async def state_is(served: Served, task_id: str, state: TaskState) -> None:
    async def check() -> None:
        assert (await served.get(task_id)).status.state == state

    await eventually(check)


def made_by(*chunks: tuple[Artifact, dict[str, Any]]) -> Agent:
    """An agent that emits these artifact updates."""
    agent = Agent("Maker", "Makes artifacts.")

    @agent.skill()
    async def make(turn: Turn) -> None:
        for artifact, how in chunks:
            await turn.artifact(artifact, **how)

    return agent


async def folded(agent: Agent) -> tuple[Task, list[Any]]:
    """The stored task of one run, with the artifact updates of its stream."""
    async with serving(agent) as served:
        first, *rest = await elements(served.stream(request()))
        updates = [event.artifact_update for event in rest if event.WhichOneof("payload") == "artifact_update"]
        return await served.get(first.task.id), updates


@covers("EVT-1")
async def test_events_come_in_the_order_in_which_the_agent_made_them(served: Served) -> None:
    steps: list[dict[str, Any]] = []
    for i in range(50):
        steps += [{"status": f"s{i}"}, {"artifact": {"id": f"a{i}", "text": f"a{i}"}}]
    read = await elements(served.stream(scripted(*steps)))
    heard = [
        text_of(event.status_update.status.message)
        if event.WhichOneof("payload") == "status_update"
        else text_of(event.artifact_update.artifact)
        for event in read[2:-1]
    ]
    assert heard == [f"{kind}{i}" for i in range(50) for kind in "sa"]
    assert event_state(read[-1]) == COMPLETED


@covers("EVT-2", "G2", "Q4")
async def test_every_stream_of_a_task_gets_every_event_in_the_same_order(served: Served) -> None:
    waiting = (await served.send(scripted({"input": "Go?"}))).task
    calls = [served.subscribe(waiting.id) for _ in range(5)]
    for call in calls:
        assert (await elements(call, 1))[0].task == waiting
    sending = served.stream(scripted({"status": "a"}, {"chunks": {"count": 20}}, {"status": "b"}, task_id=waiting.id))
    rests = await asyncio.gather(*(elements(call) for call in calls))
    sent = await elements(sending)
    streams = [[event.SerializeToString() for event in rest] for rest in rests]
    assert streams == [streams[0]] * 5
    assert len(streams[0]) == 1 + 1 + 20 + 1 + 1
    assert [event.SerializeToString() for event in sent[1:]] == streams[0][-len(sent) + 1 :]


@covers("EVT-5", "SUB-7")
async def test_a_client_that_reconnects_gets_the_task_as_it_is_then(served: Served) -> None:
    call = served.stream(scripted({"artifact": {"text": "early"}}, {"input": "Go?"}, {"artifact": {"text": "late"}}))
    task_id = (await elements(call, 1))[0].task.id
    call.cancel()
    await state_is(served, task_id, INPUT_REQUIRED)
    again = served.subscribe(task_id)
    assert texts((await elements(again, 1))[0].task) == ["early"]
    await served.send(request(message("go", task_id=task_id)))
    rest = await elements(again)
    assert [event_state(event) for event in rest] == [WORKING, 0, COMPLETED]
    assert text_of(rest[1].artifact_update.artifact) == "late"


@covers("EVT-8")
@pytest.mark.parametrize(
    "bad",
    [
        Artifact(artifact_id="a"),
        Artifact(artifact_id="a", parts=[Part(media_type="text/plain")]),
    ],
    ids=["artifact without parts", "part without content"],
)
async def test_an_artifact_that_breaks_the_contract_fails_the_task_and_is_not_sent(bad: Artifact) -> None:
    task, updates = await folded(made_by((bad, {})))
    assert task.status.state == FAILED
    assert (updates, len(task.artifacts)) == ([], 0)
    assert faults(task) == []


@covers("EVT-8")
async def test_nothing_follows_a_terminal_event() -> None:
    agent, ended = Agent("Late", "Goes on after its end."), asyncio.Event()

    @agent.skill()
    async def late(turn: Turn) -> str:
        async def linger() -> None:
            await ended.wait()
            await turn.artifact("too late")

        lingering.append(asyncio.ensure_future(linger()))
        return "in time"

    lingering: list[asyncio.Future[None]] = []
    async with serving(agent) as served:
        task = (await served.send(request())).task
        ended.set()
        await asyncio.wait(lingering)
        assert lingering[0].cancelled()
        assert await served.get(task.id) == task
        assert texts(task) == ["in time"]


@covers("EVT-9")
async def test_the_initial_metadata_of_a_stream_comes_before_the_task_moves(served: Served) -> None:
    waiting = (await served.send(scripted({"input": "Go?"}))).task
    call = served.subscribe(waiting.id)
    async with asyncio.timeout(30):
        metadata = dict(await call.initial_metadata())
    assert metadata["a2a-grpc-seq"] == "3"
    assert (await served.get(waiting.id)).status.state == INPUT_REQUIRED
    call.cancel()


@covers("ART-1")
async def test_append_extends_the_artifact_and_its_absence_defines_it_anew() -> None:
    task, updates = await folded(
        made_by(
            (Artifact(artifact_id="a", name="one", parts=[Part(text="1")]), {}),
            (Artifact(artifact_id="a", parts=[Part(text="2")]), {"append": True}),
            (Artifact(artifact_id="b", name="other", parts=[Part(text="x")]), {"last_chunk": True}),
            (Artifact(artifact_id="b", parts=[Part(text="y")]), {}),
        )
    )
    assert [(made.artifact_id, made.name, [part.text for part in made.parts]) for made in task.artifacts] == [
        ("a", "one", ["1", "2"]),
        ("b", "", ["y"]),
    ]
    assert [(update.artifact.artifact_id, update.append, update.last_chunk) for update in updates] == [
        ("a", False, False),
        ("a", True, False),
        ("b", False, True),
        ("b", False, False),
    ]


@covers("ART-2", "OPEN-23")
async def test_an_append_to_an_unknown_artifact_creates_it() -> None:
    task, updates = await folded(made_by((Artifact(artifact_id="a", parts=[Part(text="1")]), {"append": True})))
    assert [(made.artifact_id, text_of(made)) for made in task.artifacts] == [("a", "1")]
    assert [update.append for update in updates] == [False], "the first chunk of an artifact appends to nothing"


@covers("ART-2")
async def test_an_append_upserts_metadata_and_unites_extensions() -> None:
    first = Artifact(
        artifact_id="a",
        name="report",
        description="draft",
        parts=[Part(text="1")],
        metadata=struct({"kept": 1, "changed": {"deep": 1}}),
        extensions=["urn:x", "urn:y"],
    )
    more = Artifact(
        artifact_id="a",
        description="final",
        parts=[Part(data=first.metadata.fields["kept"]), Part(raw=b"3")],
        metadata=struct({"changed": {"other": 2}, "new": True}),
        extensions=["urn:y", "urn:z"],
    )
    task, updates = await folded(made_by((first, {}), (more, {"append": True, "last_chunk": True})))
    made = task.artifacts[0]
    assert (made.name, made.description) == ("report", "final")
    assert [part.WhichOneof("content") for part in made.parts] == ["text", "data", "raw"]
    assert to_dict(made.metadata) == {"kept": 1, "changed": {"other": 2}, "new": True}
    assert list(made.extensions) == ["urn:x", "urn:y", "urn:z"]
    assert updates[1].artifact == more


@covers("ART-2")
async def test_a_generators_pieces_are_chunks_of_one_artifact() -> None:
    agent = Agent("Poet", "Recites.")

    @agent.skill()
    async def recite(turn: Turn) -> Any:
        for line in ("Roses ", "are ", "red"):
            yield line

    task, updates = await folded(agent)
    assert texts(task) == ["Roses are red"]
    assert len({update.artifact.artifact_id for update in updates}) == 1
    assert [update.append for update in updates] == [False, *[True] * (len(updates) - 1)]
    assert [update.last_chunk for update in updates] == [*[False] * (len(updates) - 1), True]
    assert "".join(text_of(update.artifact) for update in updates) == "Roses are red"
    assert task.status.state == COMPLETED
