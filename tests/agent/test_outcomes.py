"""The ways to end a turn."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from a2a_grpc import AuthRequired, Completed, Failed, InputRequired, Part, Rejected, Turn
from a2a_grpc.agent import Outcome
from a2a_grpc.errors import TaskNotFoundError
from a2a_grpc.lifecycle import AUTH_REQUIRED, COMPLETED, FAILED, INPUT_REQUIRED, REJECTED
from a2a_grpc.parts import data_of, text_of, value
from a2a_grpc.wire import ROLE_AGENT
from tests.agent.agents import GENERIC, agent_of, follow_up, played, result, said, told
from tests.covers import covers
from tests.harness import event_state, request, serving, texts

ENDS: list[tuple[Callable[[str], Outcome], int]] = [
    (Completed, COMPLETED),
    (InputRequired, INPUT_REQUIRED),
    (AuthRequired, AUTH_REQUIRED),
    (Rejected, REJECTED),
    (Failed, FAILED),
]


@pytest.mark.parametrize(("outcome", "state"), ENDS)
@pytest.mark.parametrize("way", ["raised", "returned", "raised in a generator", "yielded"])
async def test_an_outcome_ends_the_turn_in_its_state_with_its_words(
    outcome: Callable[[str], Outcome], state: int, way: str
) -> None:
    async def coroutine(turn: Turn) -> Outcome:
        if way == "raised":
            raise outcome("the words")
        return outcome("the words")

    async def generator(turn: Turn) -> AsyncIterator[Outcome]:
        if way == "raised in a generator":
            raise outcome("the words")
        yield outcome("the words")

    task = await result(coroutine if way in ("raised", "returned") else generator)
    assert task.status.state == state
    words = task.status.message
    assert (text_of(words), words.role, words.task_id, words.context_id) == (
        "the words", ROLE_AGENT, task.id, task.context_id,
    )  # fmt: skip
    assert words.message_id
    assert len(task.artifacts) == 0


@pytest.mark.parametrize(("outcome", "state"), [(Completed, COMPLETED), (Rejected, REJECTED), (Failed, FAILED)])
async def test_an_outcome_that_needs_no_words_may_have_none(outcome: Callable[[], Outcome], state: int) -> None:
    async def handler(turn: Turn) -> None:
        raise outcome()

    task = await result(handler)
    assert task.status.state == state
    assert not task.status.HasField("message")


@pytest.mark.parametrize("outcome", [InputRequired, AuthRequired])
def test_an_outcome_that_asks_cannot_be_made_without_words(outcome: Callable[..., Outcome]) -> None:
    with pytest.raises(TypeError, match="content"):
        outcome()


async def test_an_outcome_can_say_data_and_several_parts() -> None:
    async def handler(turn: Turn) -> None:
        raise InputRequired(["Which?", Part(data=value({"choices": ["a", "b"]}))])

    words = (await result(handler)).status.message
    assert (text_of(words), data_of(words)) == ("Which?", {"choices": ["a", "b"]})


@pytest.mark.parametrize(
    "unfit",
    [{1, 2}, float("nan"), object(), 10**400, "\ud800"],
    ids=["a set", "not a number", "an object", "an integer beyond all doubles", "a lone surrogate"],
)
async def test_an_outcome_whose_words_cannot_be_sent_fails_the_task_and_is_logged(
    unfit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(turn: Turn) -> None:
        raise Completed(unfit)

    async with asyncio.timeout(60):
        task = await result(handler)
    assert task.status.state == FAILED
    assert task.id in caplog.text


async def test_a_task_that_was_asked_back_goes_on_with_a_new_turn_that_sees_what_was_said() -> None:
    seen: list[list[str]] = []

    async def handler(turn: Turn) -> str:
        seen.append(said(turn.history))
        if turn.text != "tomorrow":
            raise InputRequired("Which date?")
        return f"booked for {turn.text}"

    async with serving(agent_of(handler)) as served:
        asked = (await served.send(request("book"))).task
        assert asked.status.state == INPUT_REQUIRED
        booked = (await served.send(follow_up(asked, "tomorrow"))).task
    assert (booked.id, booked.status.state, texts(booked)) == (asked.id, COMPLETED, ["booked for tomorrow"])
    assert seen == [["book"], ["book", "Which date?", "tomorrow"]]
    assert said(booked.history) == ["book", "Which date?", "tomorrow"]


@covers("SEND-13")
async def test_a_message_to_a_task_that_waits_for_authorisation_starts_a_new_turn() -> None:
    async def handler(turn: Turn) -> str:
        if len(turn.history) == 1:
            raise AuthRequired("Sign in at https://a.example")
        return "signed in"

    async with serving(agent_of(handler)) as served:
        waiting = (await served.send(request())).task
        assert waiting.status.state == AUTH_REQUIRED
        task = (await served.send(follow_up(waiting, "done"))).task
    assert (task.status.state, texts(task)) == (COMPLETED, ["signed in"])


async def raise_value_error(turn: Turn) -> None:
    raise ValueError("the secret")


async def yield_then_raise(turn: Turn) -> AsyncIterator[str]:
    if turn.text:
        raise KeyError("the secret")
    yield ""


async def raise_an_error_of_the_protocol(turn: Turn) -> None:
    raise TaskNotFoundError("the secret")


async def raise_a_group(turn: Turn) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(raise_value_error(turn))


async def raise_a_timeout(turn: Turn) -> None:
    raise TimeoutError("the secret")


async def raise_an_assertion(turn: Turn) -> None:
    raise AssertionError("the secret")


@covers("ERR-7", "P10")
@pytest.mark.parametrize(
    "handler",
    [raise_value_error, yield_then_raise, raise_an_error_of_the_protocol, raise_a_group, raise_a_timeout,
     raise_an_assertion],
)  # fmt: skip
async def test_any_other_exception_fails_the_task_with_a_generic_text_and_its_traceback_only_in_the_log(
    handler: Callable[[Turn], Any], caplog: pytest.LogCaptureFixture
) -> None:
    task = await result(handler)
    assert (task.status.state, text_of(task.status.message)) == (FAILED, GENERIC)
    assert "secret" not in str(task)
    [record] = [record for record in caplog.records if record.exc_info]
    assert record.levelname == "ERROR"
    assert task.id in record.getMessage()
    assert "the secret" in caplog.text
    assert "Traceback" in caplog.text


async def test_a_stray_cancelled_error_that_nobody_asked_for_fails_the_task_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An agent that awaits something which was canceled: nobody canceled the task."""

    async def handler(turn: Turn) -> None:
        inner = asyncio.ensure_future(asyncio.Event().wait())
        inner.cancel()
        await inner

    task = await result(handler)
    assert (task.status.state, text_of(task.status.message)) == (FAILED, GENERIC)
    assert task.id in caplog.text


async def test_an_expected_end_leaves_no_traceback_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(turn: Turn) -> None:
        raise Rejected("not today")

    assert (await result(handler)).status.state == REJECTED
    assert [record for record in caplog.records if record.name.startswith("a2a_grpc")] == []


async def test_an_exception_of_one_task_does_not_touch_another() -> None:
    async def handler(turn: Turn) -> str:
        if turn.text == "bad":
            raise ValueError("bad")
        return turn.text

    async with serving(agent_of(handler)) as served:
        responses = await asyncio.gather(*(served.send(request(text)) for text in ("one", "bad", "two")))
    assert [response.task.status.state for response in responses] == [COMPLETED, FAILED, COMPLETED]


async def test_output_that_was_made_before_an_outcome_stays() -> None:
    async def handler(turn: Turn) -> None:
        await turn.artifact("half", id="draft")
        raise InputRequired("and now?")

    stream = await played(handler)
    assert told(stream)[2:] == ["artifact 'half'", "INPUT_REQUIRED and now?"]
    assert event_state(stream[-1]) == INPUT_REQUIRED
