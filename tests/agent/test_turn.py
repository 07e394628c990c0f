"""What a handler knows of its turn, and the updates it makes."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from a2a_grpc import Artifact, InputRequired, Part, Turn
from a2a_grpc.lifecycle import COMPLETED, FAILED, INPUT_REQUIRED, WORKING
from a2a_grpc.parts import MAX_DEPTH, data_of, struct, text_of, value
from a2a_grpc.principal import Principal
from a2a_grpc.wire import ROLE_AGENT, Role
from tests.agent.agents import GENERIC, SKILL, agent_of, follow_up, played, result, said, told, with_metadata
from tests.covers import covers
from tests.harness import elements, eventually, message, request, serving, texts

# -- what it knows


async def test_a_turn_knows_its_message_and_who_sent_it() -> None:
    turns: list[Turn] = []

    async def handler(turn: Turn) -> None:
        turns.append(turn)

    sent = request(
        message("hello", context_id="c-1", message_id="m-7"), tenant="acme", accepted_output_modes=["a/b", "text/*"]
    )
    task = await result(handler, sent)
    [turn] = turns
    assert (turn.text, turn.message.message_id, turn.data) == ("hello", "m-7", None)
    assert (turn.message.task_id, turn.message.context_id, turn.context_id) == (task.id, "c-1", "c-1")
    assert (turn.skill, turn.tenant, turn.principal) == (SKILL, "acme", Principal(subject="", tenant="acme"))
    assert (turn.attempt, list(turn.accepted_output_modes)) == (1, ["a/b", "text/*"])
    assert (turn.canceled, turn.cancel_metadata, turn.metadata) == (False, {}, {})
    assert turn.task is not None
    assert (turn.task.id, turn.task.context_id) == (task.id, "c-1")
    assert said(turn.history) == ["hello"]


@covers("SEND-9")
async def test_a_caller_that_names_no_output_modes_takes_any() -> None:
    modes: list[list[str]] = []

    async def handler(turn: Turn) -> None:
        modes.append(list(turn.accepted_output_modes))

    await result(handler)
    assert modes == [[]]


async def test_the_text_is_that_of_all_text_parts_and_the_data_that_of_the_first_data_part() -> None:
    seen: list[tuple[str, object]] = []

    async def handler(turn: Turn) -> None:
        seen.append((turn.text, turn.data))

    sent = request()
    del sent.message.parts[:]
    sent.message.parts.extend(
        [
            Part(text="one "),
            Part(data=value({"steps": 3, "share": 0.5, "on": True, "none": None})),
            Part(text="two"),
            Part(data=value("second")),
        ]
    )
    await result(handler, sent)
    assert seen == [("one two", {"steps": 3, "share": 0.5, "on": True, "none": None})]
    [(_, data)] = seen
    assert isinstance(data, dict)
    assert type(data["steps"]) is int
    assert type(data["share"]) is float
    assert data["on"] is True


async def test_the_metadata_is_the_messages_overlaid_with_the_requests() -> None:
    seen: list[object] = []

    async def handler(turn: Turn) -> None:
        seen.append(turn.metadata)

    await result(handler, with_metadata(request(), {"a": 1, "b": "message"}, {"b": "request", "c": [None]}))
    assert seen == [{"a": 1, "b": "request", "c": [None]}]


async def test_a_follow_up_turn_sees_its_own_message_and_the_task_so_far() -> None:
    turns: list[Turn] = []

    async def handler(turn: Turn) -> None:
        turns.append(turn)
        await turn.artifact(turn.text, id=turn.text)
        if len(turns) == 1:
            raise InputRequired("Which?")

    async with serving(agent_of(handler)) as served:
        first = (await served.send(request("one"))).task
        await served.send(with_metadata(follow_up(first, "two"), {"n": 2}, {}))
    turn = turns[1]
    assert (turn.text, turn.message.task_id, turn.metadata, turn.skill) == ("two", first.id, {"n": 2}, SKILL)
    assert turn.task is not None
    assert texts(turn.task) == ["one"]
    assert turn.task.status.state == WORKING
    assert said(turn.history) == ["one", "Which?", "two"]


async def test_what_a_handler_does_to_its_copy_of_the_task_changes_nothing() -> None:
    async def handler(turn: Turn) -> None:
        assert turn.task is not None
        turn.task.artifacts.add(artifact_id="forged")
        turn.task.history.add(message_id="forged")
        turn.task.status.state = FAILED
        turn.message.parts[0].text = "forged"

    task = await result(handler)
    assert task.status.state == COMPLETED
    assert len(task.artifacts) == 0
    assert said(task.history) == ["hello"]


# -- status


async def test_a_status_is_a_working_update_with_the_agents_message() -> None:
    async def handler(turn: Turn) -> None:
        await turn.status("half way")

    stream = await played(handler)
    assert told(stream) == ["task SUBMITTED", "WORKING", "WORKING half way", "COMPLETED"]
    words = stream[2].status_update.status.message
    task = stream[0].task
    assert (words.role, words.task_id, words.context_id) == (ROLE_AGENT, task.id, task.context_id)
    assert words.message_id


STATUSES: dict[str, tuple[Any, list[Part]]] = {
    "text": ("half", [Part(text="half")]),
    "data": ({"progress": 0.5}, [Part(data=value({"progress": 0.5}))]),
    "number": (5, [Part(data=value(5))]),
    "part": (Part(url="https://a.example"), [Part(url="https://a.example")]),
    "parts": ([Part(text="half"), {"progress": 0.5}], [Part(text="half"), Part(data=value({"progress": 0.5}))]),
}


@pytest.mark.parametrize("kind", STATUSES)
async def test_a_status_can_say_any_content(kind: str) -> None:
    content, expected = STATUSES[kind]

    async def handler(turn: Turn) -> None:
        await turn.status(content)

    assert list((await played(handler))[2].status_update.status.message.parts) == expected


async def test_a_status_without_content_is_a_sign_of_life_without_a_message() -> None:
    async def handler(turn: Turn) -> None:
        await turn.status()

    stream = await played(handler)
    assert told(stream) == ["task SUBMITTED", "WORKING", "WORKING", "COMPLETED"]
    assert not stream[2].status_update.status.HasField("message")


async def test_a_status_that_is_superseded_stands_in_the_history() -> None:
    async def handler(turn: Turn) -> None:
        await turn.status("one")
        await turn.status("two")

    task = await result(handler)
    assert said(task.history) == ["hello", "one", "two"]
    assert [one.role for one in task.history] == [Role.ROLE_USER, ROLE_AGENT, ROLE_AGENT]


@covers("G1")
async def test_a_status_is_stored_once_the_call_returns() -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def handler(turn: Turn) -> None:
        await turn.status("half way")
        reached.set()
        await go_on.wait()

    async with serving(agent_of(handler)) as served, asyncio.timeout(30):
        started = (await served.send(request(immediately=True))).task
        await reached.wait()
        assert text_of((await served.get(started.id)).status.message) == "half way"
        go_on.set()


async def test_a_status_that_cannot_be_sent_is_an_error_of_the_handler_that_it_may_handle() -> None:
    async def handler(turn: Turn) -> str:
        with pytest.raises(ValueError, match="not a JSON number"):
            await turn.status({"progress": float("nan")})
        return "went on"

    assert told(await played(handler))[2:] == ["artifact 'went on' last", "COMPLETED"]


def nested(depth: int) -> Any:
    inner: Any = "the core"
    for _ in range(depth):
        inner = {"in": inner}
    return inner


@pytest.mark.parametrize("depth", [20, MAX_DEPTH])
@pytest.mark.parametrize("place", ["status", "artifact", "ask"])
async def test_a_value_of_any_depth_that_is_accepted_reaches_the_caller(place: str, depth: int) -> None:
    async def handler(turn: Turn) -> None:
        match place:
            case "status":
                await turn.status(nested(depth))
            case "artifact":
                await turn.artifact(nested(depth))
            case _:
                raise InputRequired(nested(depth))

    async with serving(agent_of(handler)) as served:
        task = (await served.send(request())).task
        assert task.status.state == (INPUT_REQUIRED if place == "ask" else COMPLETED)
        carried = {
            "status": lambda: data_of(task.history[-1]),
            "artifact": lambda: data_of(task.artifacts[0]),
            "ask": lambda: data_of(task.status.message),
        }
        assert carried[place]() == nested(depth)
        assert await served.get(task.id) == task


# -- artifacts


async def test_an_artifact_of_a_value_is_made_with_what_is_said_about_it_and_gives_its_id() -> None:
    ids: list[str] = []

    async def handler(turn: Turn) -> None:
        ids.append(await turn.artifact({"n": 1}, name="numbers", description="Some numbers."))
        ids.append(await turn.artifact("text", id="mine"))

    task = await result(handler)
    assert ids == [artifact.artifact_id for artifact in task.artifacts]
    assert ids[0]
    assert ids[1] == "mine"
    first = task.artifacts[0]
    assert (first.name, first.description, data_of(first)) == ("numbers", "Some numbers.", {"n": 1})


@covers("S0-7", "ART-1")
async def test_an_artifact_with_a_known_id_is_replaced() -> None:
    async def handler(turn: Turn) -> None:
        await turn.artifact("draft", id="a", name="Draft", description="Not yet.")
        await turn.artifact("other", id="b")
        await turn.artifact("final", id="a", name="Final")

    async with serving(agent_of(handler)) as served:
        stream = await elements(served.stream(request()))
        assert told(stream)[2:] == ["artifact 'draft'", "artifact 'other'", "artifact 'final'", "COMPLETED"]
        task = await served.get(stream[0].task.id)
    assert list(task.artifacts) == [
        Artifact(artifact_id="a", name="Final", parts=[Part(text="final")]),
        Artifact(artifact_id="b", parts=[Part(text="other")]),
    ]


@covers("ART-2")
async def test_an_artifact_is_extended_by_chunks_until_the_last() -> None:
    async def handler(turn: Turn) -> None:
        await turn.artifact("one ", id="a", name="Numbers")
        await turn.artifact("two ", id="a", append=True)
        await turn.artifact("three", id="a", append=True, last_chunk=True)

    async with serving(agent_of(handler)) as served:
        stream = await elements(served.stream(request()))
        assert told(stream)[2:] == [
            "artifact 'one '", "artifact 'two ' append", "artifact 'three' append last", "COMPLETED",
        ]  # fmt: skip
        [artifact] = (await served.get(stream[0].task.id)).artifacts
    assert (artifact.name, [part.text for part in artifact.parts]) == ("Numbers", ["one ", "two ", "three"])


@covers("ART-2", "OPEN-23")
async def test_appending_to_an_unknown_artifact_makes_it() -> None:
    async def handler(turn: Turn) -> None:
        await turn.artifact("tail", id="new", name="New", append=True)

    assert list((await result(handler)).artifacts) == [
        Artifact(artifact_id="new", name="New", parts=[Part(text="tail")])
    ]


@covers("ART-2")
async def test_appending_an_artifact_upserts_its_metadata_and_unites_its_extensions() -> None:
    async def handler(turn: Turn) -> None:
        await turn.artifact(
            Artifact(
                artifact_id="a",
                parts=[Part(text="1")],
                metadata=struct({"x": 1, "y": 1}),
                extensions=["urn:1", "urn:2"],
            )
        )
        await turn.artifact(
            Artifact(
                artifact_id="a",
                parts=[Part(text="2")],
                metadata=struct({"y": 2, "z": 2}),
                extensions=["urn:2", "urn:3"],
            ),
            append=True,
        )

    assert list((await result(handler)).artifacts) == [
        Artifact(
            artifact_id="a",
            parts=[Part(text="1"), Part(text="2")],
            metadata=struct({"x": 1, "y": 2, "z": 2}),
            extensions=["urn:1", "urn:2", "urn:3"],
        )
    ]


async def test_an_artifact_of_an_earlier_turn_can_be_extended() -> None:
    async def handler(turn: Turn) -> None:
        await turn.artifact(turn.text, id="a", append=len(turn.history) > 1)
        if turn.text == "one":
            raise InputRequired("more?")

    async with serving(agent_of(handler)) as served:
        task = (await served.send(request("one"))).task
        assert texts((await served.send(follow_up(task, "two"))).task) == ["onetwo"]


@covers("WIRE-6")
@pytest.mark.parametrize(
    ("unfit", "said_of_it"),
    [
        (Artifact(artifact_id="a"), "no parts"),
        (Artifact(artifact_id="a", parts=[Part(text="x"), Part(filename="y")]), r"1\b.* has no content"),
    ],
)
async def test_an_artifact_that_breaks_the_contract_is_refused_where_it_is_made(
    unfit: Artifact, said_of_it: str
) -> None:
    async def handler(turn: Turn) -> str:
        with pytest.raises(ValueError, match=said_of_it):
            await turn.artifact(unfit)
        return "went on"

    assert told(await played(handler))[2:] == ["artifact 'went on' last", "COMPLETED"]


@covers("EVT-1")
async def test_updates_arrive_in_the_order_in_which_they_were_made() -> None:
    async def handler(turn: Turn) -> None:
        for number in range(40):
            if number % 3:
                await turn.artifact(str(number), id=str(number))
            else:
                await turn.status(str(number))

    expected = [f"artifact '{number}'" if number % 3 else f"WORKING {number}" for number in range(40)]
    assert told(await played(handler)) == ["task SUBMITTED", "WORKING", *expected, "COMPLETED"]


@covers("EVT-1")
async def test_a_handler_that_makes_updates_at_the_same_time_has_each_of_them_stored_once() -> None:
    async def handler(turn: Turn) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(turn.artifact(str(number), id=str(number)))

    assert sorted(texts(await result(handler)), key=int) == [str(number) for number in range(20)]


# -- asking


async def test_ask_waits_in_input_required_and_goes_on_with_the_answer() -> None:
    async def handler(turn: Turn) -> str:
        return f"booked for {await turn.ask('Which date?')}"

    async with serving(agent_of(handler)) as served:
        first = await elements(served.stream(request("book")))
        assert told(first) == ["task SUBMITTED", "WORKING", "INPUT_REQUIRED Which date?"]
        task = first[0].task
        assert (await served.get(task.id)).status.state == INPUT_REQUIRED
        second = await elements(served.stream(follow_up(task, "tomorrow")))
        assert told(second) == ["task WORKING", "artifact 'booked for tomorrow' last", "COMPLETED"]
        ended = await served.get(task.id)
    assert said(ended.history) == ["book", "Which date?", "tomorrow"]
    assert [one.role for one in ended.history] == [Role.ROLE_USER, ROLE_AGENT, Role.ROLE_USER]


async def test_ask_blocking_sends_get_the_question_and_the_result() -> None:
    async def handler(turn: Turn) -> str:
        return await turn.ask("Which date?")

    async with serving(agent_of(handler)) as served:
        asked = (await served.send(request())).task
        assert (asked.status.state, text_of(asked.status.message)) == (INPUT_REQUIRED, "Which date?")
        ended = (await served.send(follow_up(asked, "tomorrow"))).task
    assert (ended.id, ended.status.state, texts(ended)) == (asked.id, COMPLETED, ["tomorrow"])


async def test_ask_the_message_and_the_data_stay_those_of_the_message_that_began_the_turn() -> None:
    seen: list[tuple[str, object, str]] = []

    async def handler(turn: Turn) -> None:
        seen.append((turn.text, turn.data, turn.message.message_id))
        answer = await turn.ask("Which?")
        seen.append((turn.text, turn.data, turn.message.message_id))
        seen.append((answer, answer.data, answer.message.message_id))

    async with serving(agent_of(handler)) as served:
        task = (await served.send(request(message("first", message_id="m-1")))).task
        answer = request(message("second", task_id=task.id, message_id="m-2"))
        answer.message.parts.append(Part(data=value({"choice": 2})))
        await served.send(answer)
    assert seen == [("first", None, "m-1"), ("first", None, "m-1"), ("second", {"choice": 2}, "m-2")]


async def test_ask_the_history_then_has_the_question_and_the_answer() -> None:
    seen: list[list[str]] = []

    async def handler(turn: Turn) -> None:
        await turn.ask("Which?")
        seen.append(said(turn.history))
        await turn.ask("Sure?")
        seen.append(said(turn.history))

    async with serving(agent_of(handler)) as served:
        task = (await served.send(request("book"))).task
        await served.send(follow_up(task, "this"))
        ended = (await served.send(follow_up(task, "yes"))).task
    assert seen == [["book", "Which?", "this"], ["book", "Which?", "this", "Sure?", "yes"]]
    assert said(ended.history) == seen[-1]


async def test_ask_the_metadata_stays_that_of_the_message_that_began_the_turn() -> None:
    seen: list[object] = []

    async def handler(turn: Turn) -> None:
        answer = await turn.ask("Which?")
        seen.extend([turn.metadata, answer.metadata])

    async with serving(agent_of(handler)) as served:
        task = (await served.send(with_metadata(request(), {"of": "first"}, {"by": "first", "old": 1}))).task
        await served.send(with_metadata(follow_up(task, "this"), {"of": "answer"}, {"by": "answer"}))
    assert seen == [{"of": "first", "by": "first", "old": 1}, {"of": "answer", "by": "answer"}]


async def test_ask_can_be_repeated_as_often_as_needed() -> None:
    async def handler(turn: Turn) -> list[str]:
        return [await turn.ask(f"{number}?") for number in range(4)]

    async with serving(agent_of(handler)) as served:
        task = (await served.send(request())).task
        for number in range(4):
            assert text_of(task.status.message) == f"{number}?"
            task = (await served.send(follow_up(task, f"answer {number}"))).task
    assert data_of(task.artifacts[0]) == [f"answer {number}" for number in range(4)]


async def test_ask_a_question_can_be_any_content() -> None:
    async def handler(turn: Turn) -> None:
        await turn.ask([Part(text="Which?"), {"choices": ["a", "b"]}])

    words = (await result(handler)).status.message
    assert (text_of(words), data_of(words)) == ("Which?", {"choices": ["a", "b"]})


async def test_ask_keeps_what_the_handler_has_in_its_hands() -> None:
    async def handler(turn: Turn) -> int:
        numbers = [int(turn.text)]
        while (text := await turn.ask("next?")) != "end":
            numbers.append(int(text))
        return sum(numbers)

    async with serving(agent_of(handler)) as served:
        task = (await served.send(request("1"))).task
        for text in ("2", "3", "end"):
            task = (await served.send(follow_up(task, text))).task
    assert data_of(task.artifacts[0]) == 6


async def test_ask_frees_the_place_among_the_runs_while_it_waits() -> None:
    async def handler(turn: Turn) -> str:
        return await turn.ask("?") if turn.text == "ask" else turn.text

    async with serving(agent_of(handler), max_runs=1, max_queued_runs=0) as served, asyncio.timeout(30):
        asking = (await served.send(request("ask"))).task
        other = (await served.send(request("meanwhile"))).task
        assert (other.status.state, texts(other)) == (COMPLETED, ["meanwhile"])
        assert texts((await served.send(follow_up(asking, "answer"))).task) == ["answer"]


async def test_ask_an_error_after_the_answer_fails_the_task() -> None:
    async def handler(turn: Turn) -> None:
        raise ValueError(await turn.ask("?"))

    async with serving(agent_of(handler)) as served:
        task = (await served.send(request())).task
        failed = (await served.send(follow_up(task, "the secret"))).task
    assert (failed.status.state, text_of(failed.status.message)) == (FAILED, GENERIC)


async def test_ask_of_many_tasks_gives_each_its_own_answer() -> None:
    async def handler(turn: Turn) -> str:
        first = turn.text
        return f"{first}:{await turn.ask('?')}"

    async with serving(agent_of(handler)) as served:

        async def talk(number: int) -> str:
            task = (await served.send(request(f"q{number}"))).task
            return texts((await served.send(follow_up(task, f"a{number}"))).task)[0]

        assert await asyncio.gather(*map(talk, range(20))) == [f"q{number}:a{number}" for number in range(20)]


async def test_ask_of_two_answers_at_once_the_first_is_the_answer_and_the_other_waits_for_the_next_question() -> None:
    answers: list[str] = []

    async def handler(turn: Turn) -> None:
        answers.append(await turn.ask("first?"))
        await asyncio.sleep(0)
        answers.append(await turn.ask("second?"))

    async with serving(agent_of(handler)) as served, asyncio.timeout(30):
        task = (await served.send(request())).task
        await asyncio.gather(*(served.send(follow_up(task, text, immediately=True)) for text in ("one", "two")))

        async def ended() -> None:
            assert (await served.get(task.id)).status.state == COMPLETED

        await eventually(ended)
        history = said((await served.get(task.id)).history)
    assert sorted(answers) == ["one", "two"]
    assert history == ["hello", "first?", answers[0], "second?", answers[1]]


WRITES: dict[str, Callable[[Turn], Any]] = {
    "status": lambda turn: turn.status("still here"),
    "artifact": lambda turn: turn.artifact("still here"),
    "ask": lambda turn: turn.ask("still here?"),
}


@covers("ST-4")
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("end", [None, InputRequired("and now?")], ids=["completed", "input required"])
async def test_a_turn_that_a_handler_kept_beyond_its_end_writes_nothing_any_more(
    write: str, end: InputRequired | None
) -> None:
    kept: list[Turn] = []

    async def handler(turn: Turn) -> InputRequired | None:
        kept.append(turn)
        return end

    async with serving(agent_of(handler)) as served:
        task = (await served.send(request())).task
        with pytest.raises((asyncio.CancelledError, ValueError)):
            async with asyncio.timeout(30):
                await WRITES[write](kept[0])
        assert await served.get(task.id) == task
