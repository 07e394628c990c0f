"""The first event of an artifact says `append=false`, whatever the handler said: it appends to nothing."""

from collections.abc import AsyncIterator

import pytest

from a2a_grpc import Artifact, Completed, Failed, InputRequired, Part, Task, Turn
from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED
from a2a_grpc.parts import text_of
from a2a_grpc.wire import StreamResponse
from tests.agent.agents import agent_of, follow_up, played, told
from tests.covers import covers
from tests.harness import elements, request, serving, texts

pytestmark = covers("ART-2")


def flags(stream: list[StreamResponse]) -> list[tuple[str, bool, str]]:
    """Artifact, `append` and text of each artifact event."""
    updates = [element.artifact_update for element in stream if element.HasField("artifact_update")]
    return [(update.artifact.artifact_id, update.append, text_of(update.artifact)) for update in updates]


async def test_the_first_chunk_of_each_artifact_of_a_turn_does_not_append() -> None:
    async def handler(turn: Turn) -> AsyncIterator[str]:
        for text in ("1", "2", "3"):
            await turn.artifact(text, id="a", append=True)
        await turn.artifact(Artifact(artifact_id="b", parts=[Part(text="4")]), append=True, last_chunk=True)
        await turn.artifact({"n": 5}, id="c", append=True)
        await turn.artifact("", id="a", append=True, last_chunk=True)
        unnamed = await turn.artifact("6", append=True)
        await turn.artifact("7", id=unnamed, append=True)
        yield "8"
        yield "9"

    async with serving(agent_of(handler)) as served:
        stream = list(await elements(served.stream(request())))
        task = await served.get(stream[0].task.id)
    assert [(append, text) for _, append, text in flags(stream)] == [
        (False, "1"), (True, "2"), (True, "3"), (False, "4"), (False, ""), (True, ""), (False, "6"), (True, "7"),
        (False, "8"), (True, "9"), (True, ""),
    ]  # fmt: skip
    assert texts(task) == ["123", "4", "", "67", "89"]


async def test_a_chunk_in_a_later_turn_of_the_task_appends_to_what_is_there() -> None:
    async def handler(turn: Turn) -> None:
        await turn.artifact(turn.text, id="a", append=True)
        await turn.artifact(turn.text, id=turn.text, append=True)
        if turn.text == "one":
            raise InputRequired("more?")

    async with serving(agent_of(handler)) as served:
        first = list(await elements(served.stream(request("one"))))
        task = Task(id=first[0].task.id)
        assert first[-1].status_update.status.state == INPUT_REQUIRED
        second = list(await elements(served.stream(follow_up(task, "two"))))
        assert second[-1].status_update.status.state == COMPLETED
        assert texts(await served.get(task.id)) == ["onetwo", "one", "two"]
    assert [(artifact, append) for artifact, append, _ in flags(first)] == [("a", False), ("one", False)]
    assert [(artifact, append) for artifact, append, _ in flags(second)] == [("a", True), ("two", False)]


async def test_a_chunk_after_one_that_was_refused_is_the_first() -> None:
    async def handler(turn: Turn) -> Completed:
        with pytest.raises(Failed):
            await turn.artifact("x" * 2000, id="a", append=True)
        await turn.artifact("y", id="a", append=True)
        return Completed()

    async with serving(agent_of(handler), max_event_bytes=1024) as served:
        stream = list(await elements(served.stream(request())))
    assert flags(stream) == [("a", False, "y")]


async def test_a_replaced_artifact_is_extended_by_what_follows() -> None:
    async def handler(turn: Turn) -> None:
        await turn.artifact("1", id="a", append=True)
        await turn.artifact("2", id="a")
        await turn.artifact("3", id="a", append=True)

    assert told(await played(handler))[2:] == ["artifact '1'", "artifact '2'", "artifact '3' append", "COMPLETED"]
