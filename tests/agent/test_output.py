"""What a handler returns or yields, as the caller gets it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.struct_pb2 import NULL_VALUE, Value

from a2a_grpc import Artifact, Completed, Part, Task, Turn, connect
from a2a_grpc.lifecycle import COMPLETED, FAILED, is_seal
from a2a_grpc.parts import struct, text_of, value
from tests.agent.agents import GENERIC, SKILL, agent_of, played, result, told
from tests.covers import covers
from tests.harness import elements, request, serving, texts

ONE_PART = {
    "text": ("Bonjour", Part(text="Bonjour")),
    "empty text": ("", Part(text="")),
    "bytes": (b"\x00\xff", Part(raw=b"\x00\xff", media_type="application/octet-stream")),
    "dict": ({"progress": 0.5}, Part(data=value({"progress": 0.5}))),
    "empty dict": ({}, Part(data=value({}))),
    "list": ([1, "two", None], Part(data=value([1, "two", None]))),
    "empty list": ([], Part(data=value([]))),
    "tuple": ((1, 2), Part(data=value([1, 2]))),
    "integer": (7, Part(data=Value(number_value=7))),
    "float": (0.25, Part(data=Value(number_value=0.25))),
    "true": (True, Part(data=Value(bool_value=True))),
    "false": (False, Part(data=Value(bool_value=False))),
    "part": (Part(url="https://a.example/x.png", media_type="image/png"), None),
}


@pytest.mark.parametrize("kind", ONE_PART)
async def test_a_returned_value_is_one_complete_artifact_named_after_the_skill(kind: str) -> None:
    returned, expected = ONE_PART[kind]

    async def handler(turn: Turn) -> Any:
        return returned

    task, working, update, completed = await played(handler)
    assert told([task, working, completed]) == ["task SUBMITTED", "WORKING", "COMPLETED"]
    assert (update.artifact_update.append, update.artifact_update.last_chunk) == (False, True)
    artifact = update.artifact_update.artifact
    assert list(artifact.parts) == [expected or returned]
    assert (artifact.name, artifact.description) == (SKILL, "")
    assert artifact.artifact_id
    assert not completed.status_update.status.HasField("message")


@covers("SEND-16")
async def test_a_blocking_send_gives_the_returned_value_as_an_artifact_and_not_as_a_message() -> None:
    async def handler(turn: Turn) -> str:
        return "Bonjour"

    task = await result(handler)
    assert (task.status.state, texts(task)) == (COMPLETED, ["Bonjour"])
    assert not task.status.HasField("message")


async def test_returning_none_completes_without_an_artifact() -> None:
    async def handler(turn: Turn) -> None:
        return None

    assert told(await played(handler)) == ["task SUBMITTED", "WORKING", "COMPLETED"]


async def test_a_list_that_holds_a_part_is_one_artifact_with_a_part_for_each() -> None:
    async def handler(turn: Turn) -> Any:
        return ["see", Part(url="https://a.example/1"), {"n": 1}, b"\x01"]

    [artifact] = (await result(handler)).artifacts
    assert list(artifact.parts) == [
        Part(text="see"),
        Part(url="https://a.example/1"),
        Part(data=value({"n": 1})),
        Part(raw=b"\x01", media_type="application/octet-stream"),
    ]


async def test_a_returned_artifact_arrives_as_it_is() -> None:
    made = Artifact(
        artifact_id="a-1",
        name="report",
        description="What was found.",
        parts=[Part(text="found"), Part(text=" it")],
        metadata=struct({"pages": 2}),
        extensions=["urn:x:1"],
    )

    async def handler(turn: Turn) -> Artifact:
        return made

    assert list((await result(handler)).artifacts) == [made]


@covers("WIRE-6")
async def test_a_returned_artifact_without_an_id_gets_one() -> None:
    async def handler(turn: Turn) -> Artifact:
        return Artifact(name="report", parts=[Part(text="found")])

    [artifact] = (await result(handler)).artifacts
    assert artifact.artifact_id
    assert (artifact.name, text_of(artifact)) == ("report", "found")


async def test_a_returned_list_of_artifacts_is_each_of_them_in_order_and_complete() -> None:
    async def handler(turn: Turn) -> list[Artifact]:
        return [Artifact(artifact_id=name, parts=[Part(text=name)]) for name in ("one", "two", "three")]

    assert told(await played(handler))[2:] == [
        "artifact 'one' last", "artifact 'two' last", "artifact 'three' last", "COMPLETED",
    ]  # fmt: skip


async def test_a_returned_outcome_ends_the_turn_without_an_artifact() -> None:
    async def handler(turn: Turn) -> Completed:
        return Completed("nothing to do")

    assert told(await played(handler)) == ["task SUBMITTED", "WORKING", "COMPLETED nothing to do"]


UNFIT: dict[str, Any] = {
    "set": {1, 2},
    "not a number": float("nan"),
    "infinity in a list": [1, float("inf")],
    "object": object(),
    "an integer beyond all doubles": 10**400,
    "artifact without parts": Artifact(artifact_id="a"),
    "artifact with an empty part": Artifact(artifact_id="a", parts=[Part(text="x"), Part()]),
}


@covers("VAL-9")
@pytest.mark.parametrize("kind", UNFIT)
async def test_output_that_the_contract_cannot_carry_fails_the_task_and_is_logged(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(turn: Turn) -> Any:
        return UNFIT[kind]

    task = await result(handler)
    assert (task.status.state, text_of(task.status.message)) == (FAILED, GENERIC)
    assert len(task.artifacts) == 0
    [record] = [record for record in caplog.records if record.exc_info]
    assert task.id in record.getMessage()


# -- generators


async def test_pieces_of_a_generator_are_appended_chunks_of_one_artifact_and_the_last_one_seals_it() -> None:
    async def handler(turn: Turn) -> AsyncIterator[str]:
        yield "one "
        yield "two "
        yield "three"

    stream = await played(handler)
    assert told(stream) == [
        "task SUBMITTED", "WORKING", "artifact 'one '", "artifact 'two ' append", "artifact 'three' append",
        "artifact '' append last", "COMPLETED",
    ]  # fmt: skip
    chunks = [element.artifact_update.artifact for element in stream if element.HasField("artifact_update")]
    assert len({chunk.artifact_id for chunk in chunks}) == 1
    assert [chunk.name for chunk in chunks] == [SKILL, "", "", ""]
    assert all(len(chunk.parts) == 1 for chunk in chunks)


async def test_the_stored_task_has_the_pieces_as_one_artifact() -> None:
    async def handler(turn: Turn) -> AsyncIterator[str]:
        for word in ("one ", "two ", "three"):
            yield word

    task = await result(handler)
    assert (texts(task), task.artifacts[0].name) == (["one two three"], SKILL)


@covers("STRM-2")
async def test_a_piece_arrives_the_moment_it_is_yielded() -> None:
    go_on = [asyncio.Event(), asyncio.Event()]

    async def handler(turn: Turn) -> AsyncIterator[str]:
        yield "first"
        await go_on[0].wait()
        yield "second"
        await go_on[1].wait()
        yield "third"

    async with serving(agent_of(handler)) as served, asyncio.timeout(30):
        call = served.stream(request())
        assert told(await elements(call, 3))[2:] == ["artifact 'first'"]
        go_on[0].set()
        assert told(await elements(call, 1)) == ["artifact 'second' append"]
        go_on[1].set()
        assert told(await elements(call)) == ["artifact 'third' append", "artifact '' append last", "COMPLETED"]


@covers("G1")
async def test_a_piece_is_stored_before_the_generator_goes_on() -> None:
    go_on = asyncio.Event()

    async def handler(turn: Turn) -> AsyncIterator[str]:
        yield "first"
        await go_on.wait()

    async with serving(agent_of(handler)) as served, asyncio.timeout(30):
        call = served.stream(request())
        first, *_ = await elements(call, 3)
        assert texts(await served.get(first.task.id)) == ["first"]
        go_on.set()
        await elements(call)


async def test_a_generator_that_yields_nothing_completes_without_an_artifact() -> None:
    async def handler(turn: Turn) -> AsyncIterator[str]:
        for word in list[str]():
            yield word

    assert told(await played(handler)) == ["task SUBMITTED", "WORKING", "COMPLETED"]


async def test_pieces_of_every_kind_become_parts_of_the_one_artifact() -> None:
    async def handler(turn: Turn) -> AsyncIterator[Any]:
        yield "text"
        yield b"\x01"
        yield {"n": 1}
        yield 2
        yield Part(url="https://a.example/1")
        yield [Part(text="a"), "b"]

    [artifact] = (await result(handler)).artifacts
    assert list(artifact.parts)[:7] == [
        Part(text="text"),
        Part(raw=b"\x01", media_type="application/octet-stream"),
        Part(data=value({"n": 1})),
        Part(data=value(2)),
        Part(url="https://a.example/1"),
        Part(text="a"),
        Part(text="b"),
    ]


async def test_an_artifact_that_is_yielded_stands_for_itself() -> None:
    async def handler(turn: Turn) -> AsyncIterator[Artifact]:
        yield Artifact(artifact_id="one", name="first", parts=[Part(text="1")])
        yield Artifact(artifact_id="two", parts=[Part(text="2")])
        yield Artifact(artifact_id="one", name="first", parts=[Part(text="1 again")])

    stream = await played(handler)
    assert told(stream)[2:] == ["artifact '1' last", "artifact '2' last", "artifact '1 again' last", "COMPLETED"]


async def test_artifacts_between_pieces_leave_the_artifact_of_the_pieces_whole() -> None:
    async def handler(turn: Turn) -> AsyncIterator[str | Artifact]:
        yield "one "
        yield Artifact(artifact_id="aside", parts=[Part(text="aside")])
        yield "two"

    async with serving(agent_of(handler)) as served:
        call = served.stream(request())
        stream = await elements(call)
        assert told(stream)[2:] == [
            "artifact 'one '", "artifact 'aside' last", "artifact 'two' append", "artifact '' append last", "COMPLETED",
        ]  # fmt: skip
        assert texts(await served.get(stream[0].task.id)) == ["one two", "aside"]


async def test_a_list_of_artifacts_that_is_yielded_is_each_of_them() -> None:
    async def handler(turn: Turn) -> AsyncIterator[list[Artifact]]:
        yield [Artifact(artifact_id=name, parts=[Part(text=name)]) for name in ("one", "two")]

    assert told(await played(handler))[2:] == ["artifact 'one' last", "artifact 'two' last", "COMPLETED"]


async def test_what_a_generator_gave_before_it_failed_stays_and_is_not_sealed() -> None:
    async def handler(turn: Turn) -> AsyncIterator[str]:
        yield "half"
        raise RuntimeError("broken")

    async with serving(agent_of(handler)) as served:
        stream = await elements(served.stream(request()))
        assert told(stream)[2:] == ["artifact 'half'", f"FAILED {GENERIC}"]
        assert texts(await served.get(stream[0].task.id)) == ["half"]


@covers("ART-1")
async def test_a_generator_that_ends_with_completed_seals_its_artifact_too() -> None:
    async def handler(turn: Turn) -> AsyncIterator[str]:
        yield "all"
        raise Completed("done")

    assert told(await played(handler))[2:] == ["artifact 'all'", "artifact '' append last", "COMPLETED done"]


async def test_a_generator_may_make_updates_of_its_own_between_its_pieces() -> None:
    async def handler(turn: Turn) -> AsyncIterator[str]:
        yield "one"
        await turn.status("half way")
        await turn.artifact("aside", id="aside")
        yield "two"

    assert told(await played(handler))[2:] == [
        "artifact 'one'", "WORKING half way", "artifact 'aside'", "artifact 'two' append", "artifact '' append last",
        "COMPLETED",
    ]  # fmt: skip


async def test_each_turn_of_a_generator_makes_an_artifact_of_its_own() -> None:
    async def handler(turn: Turn) -> AsyncIterator[str]:
        yield turn.text
        yield await turn.ask("more?")

    async with serving(agent_of(handler)) as served:
        first = (await served.send(request("one"))).task
        assert texts(first) == ["one"]
        follow = request("two")
        follow.message.task_id = first.id
        assert texts((await served.send(follow)).task) == ["onetwo"], "one turn of the handler: one artifact"
        other = (await served.send(request("three"))).task
        assert other.artifacts[0].artifact_id != first.artifacts[0].artifact_id


@covers("ART-2")
async def test_the_stored_artifacts_are_the_fold_of_the_streamed_ones() -> None:
    async def handler(turn: Turn) -> AsyncIterator[Any]:
        yield "a"
        yield Artifact(artifact_id="x", parts=[Part(text="x")])
        yield {"b": [1, 2]}
        await turn.artifact("y", id="x", append=True)

    async with serving(agent_of(handler)) as served:
        stream = await elements(served.stream(request()))
        folded: dict[str, list[Part]] = {}
        for element in stream:
            if element.HasField("artifact_update"):
                update = element.artifact_update
                if is_seal(update):
                    continue
                kept = folded.get(update.artifact.artifact_id, []) if update.append else []
                folded[update.artifact.artifact_id] = [*kept, *update.artifact.parts]
        task = await served.get(stream[0].task.id)
    assert {artifact.artifact_id: list(artifact.parts) for artifact in task.artifacts} == folded
    assert [len(parts) for parts in folded.values()] == [2, 2]


async def test_the_artifact_of_a_generator_has_the_parts_that_were_yielded_and_no_empty_one() -> None:
    async def handler(turn: Turn) -> AsyncIterator[Any]:
        for piece in json.loads(turn.text):
            yield piece

    given: list[tuple[list[Any], list[Part]]] = [
        (["a", "b"], [Part(text="a"), Part(text="b")]),
        ([""], [Part(text="")]),
        (["a", ""], [Part(text="a"), Part(text="")]),
        (["x" * 100_000] * 12, [Part(text="x" * 100_000)] * 12),
    ]
    async with serving(agent_of(handler)) as served, connect(served.server.grpc_address) as client:
        for pieces, parts in given:
            sent = await client.send(json.dumps(pieces))
            assert isinstance(sent, Task)
            blocking = (await served.send(request(json.dumps(pieces)))).task
            update = list(await elements(served.stream(request(json.dumps(pieces)))))[-2].artifact_update
            assert (update.append, update.last_chunk, list(update.artifact.parts)) == (True, True, [Part(text="")])
            for task in (sent, blocking, await served.get(sent.id), await served.get(blocking.id)):
                assert [list(artifact.parts) for artifact in task.artifacts] == [parts]


async def test_null_is_a_json_value_inside_a_part_that_is_given_as_one() -> None:
    async def handler(turn: Turn) -> Part:
        return Part(data=Value(null_value=NULL_VALUE))

    [artifact] = (await result(handler)).artifacts
    assert artifact.parts[0].data.WhichOneof("kind") == "null_value"
