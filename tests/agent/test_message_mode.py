"""Skills that answer with a bare message."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from a2a_grpc import Artifact, AuthRequired, Completed, Failed, InputRequired, Message, Part, Rejected, Turn
from a2a_grpc.agent import Outcome
from a2a_grpc.parts import data_of, text_of, value
from a2a_grpc.wire import ROLE_AGENT, ROLE_USER
from tests.agent.agents import Gate, agent_of, stored_tasks, told
from tests.covers import covers
from tests.harness import Refusal, elements, eventually, message, refusal, request, serving


async def answer(handler: Callable[[Turn], Any]) -> Message:
    """The message with which a handler in message mode answers; the same by both ways to send."""
    async with serving(agent_of(handler, answers="message")) as served:
        response = await served.send(request())
        assert response.WhichOneof("payload") == "message"
        [element] = await elements(served.stream(request()))
        assert list(element.message.parts) == list(response.message.parts)
        assert await stored_tasks(served) == 0
        made: Message = response.message
        return made


async def refused(handler: Callable[[Turn], Any]) -> Refusal:
    """How a send to a handler in message mode fails; the same by both ways to send."""
    async with serving(agent_of(handler, answers="message")) as served:
        unary = await refusal(served.send(request()))
        assert await refusal(served.stream(request())) == unary
        assert await stored_tasks(served) == 0
        return unary


@covers("SEND-15")
async def test_the_answer_is_a_message_of_the_agent_in_the_context_and_of_no_task() -> None:
    async def handler(turn: Turn) -> str:
        return f"you said {turn.text}"

    async with serving(agent_of(handler, answers="message")) as served:
        made = (await served.send(request(message("hi", context_id="c-1")))).message
        assert (text_of(made), made.role, made.context_id, made.task_id) == ("you said hi", ROLE_AGENT, "c-1", "")
        assert made.message_id
        other = (await served.send(request(message("hi", context_id="c-1")))).message
        assert other.message_id != made.message_id


@covers("IDS-1")
async def test_a_message_without_a_context_gets_one_and_the_turn_knows_it() -> None:
    contexts: list[str] = []

    async def handler(turn: Turn) -> str:
        contexts.append(turn.context_id)
        return "hi"

    made = await answer(handler)
    assert made.context_id
    assert made.context_id == contexts[0]


ANSWERS: dict[str, tuple[Any, list[Part]]] = {
    "text": ("hi", [Part(text="hi")]),
    "dict": ({"n": 1}, [Part(data=value({"n": 1}))]),
    "list": ([1, 2], [Part(data=value([1, 2]))]),
    "number": (0, [Part(data=value(0))]),
    "false": (False, [Part(data=value(False))]),
    "bytes": (b"\x01", [Part(raw=b"\x01", media_type="application/octet-stream")]),
    "part": (Part(url="https://a.example"), [Part(url="https://a.example")]),
    "parts": ([Part(text="a"), "b"], [Part(text="a"), Part(text="b")]),
}


@pytest.mark.parametrize("kind", ANSWERS)
async def test_any_content_can_be_the_answer(kind: str) -> None:
    content, expected = ANSWERS[kind]

    async def handler(turn: Turn) -> Any:
        return content

    assert list((await answer(handler)).parts) == expected


async def test_the_pieces_of_a_generator_are_the_parts_of_the_one_answer() -> None:
    async def handler(turn: Turn) -> AsyncIterator[Any]:
        yield "one "
        yield "two"
        yield {"n": 3}

    made = await answer(handler)
    assert (text_of(made), data_of(made), len(made.parts)) == ("one two", {"n": 3}, 3)


@pytest.mark.parametrize("way", ["returned", "raised", "raised in a generator"])
async def test_completed_is_an_answer_with_its_words(way: str) -> None:
    async def coroutine(turn: Turn) -> Completed:
        if way == "raised":
            raise Completed("bye")
        return Completed("bye")

    async def generator(turn: Turn) -> AsyncIterator[str]:
        if way != "":
            raise Completed("bye")
        yield ""

    made = await answer(generator if way == "raised in a generator" else coroutine)
    assert [part.text for part in made.parts] == ["bye"]


@covers("STRM-3")
async def test_a_stream_is_exactly_one_message_and_then_ends_ok() -> None:
    async def handler(turn: Turn) -> str:
        await asyncio.sleep(0)
        return "hi"

    async with serving(agent_of(handler, answers="message")) as served:
        call = served.stream(request())
        assert told(await elements(call)) == ["message 'hi'"]
        assert await call.code() is grpc.StatusCode.OK


@covers("SEND-4")
async def test_return_immediately_is_ignored() -> None:
    gate = Gate()

    async def handler(turn: Turn) -> str:
        await gate.passed()
        return "the answer"

    async with serving(agent_of(handler, answers="message")) as served, asyncio.timeout(30):
        sending = asyncio.create_task(served.send(request(immediately=True)))
        await gate.reached.wait()
        assert not sending.done()
        gate.opened.set()
        assert text_of((await sending).message) == "the answer"


@covers("VAL-9")
@pytest.mark.parametrize("outcome", [InputRequired, AuthRequired, Rejected, Failed])
@pytest.mark.parametrize("way", ["returned", "raised"])
async def test_an_outcome_that_only_a_task_can_have_is_an_invalid_agent_response(
    outcome: Callable[[str], Outcome], way: str
) -> None:
    async def handler(turn: Turn) -> Outcome:
        if way == "raised":
            raise outcome("words")
        return outcome("words")

    found = await refused(handler)
    assert (found.code, found.reason) == (grpc.StatusCode.INTERNAL, "INVALID_AGENT_RESPONSE")
    assert "'work'" in found.text


@covers("SEND-15")
async def test_a_message_that_the_handler_made_itself_is_completed() -> None:
    async def handler(turn: Turn) -> Message:
        return Message(parts=[Part(text="hi")], extensions=["urn:x"])

    async with serving(agent_of(handler, answers="message")) as served:
        made = (await served.send(request(message(context_id="c-1")))).message
    assert (text_of(made), made.role, made.context_id, made.task_id) == ("hi", ROLE_AGENT, "c-1", "")
    assert made.message_id
    assert list(made.extensions) == ["urn:x"]


async def none(turn: Turn) -> None:
    return None


async def an_artifact(turn: Turn) -> Artifact:
    return Artifact(artifact_id="a", parts=[Part(text="x")])


async def artifacts(turn: Turn) -> list[Artifact]:
    return [Artifact(artifact_id="a", parts=[Part(text="x")])]


async def no_piece(turn: Turn) -> AsyncIterator[str]:
    for piece in list[str]():
        yield piece


async def an_artifact_as_a_piece(turn: Turn) -> AsyncIterator[Artifact]:
    yield Artifact(artifact_id="a", parts=[Part(text="x")])


async def a_message_of_the_user(turn: Turn) -> Message:
    return Message(message_id="m", role=ROLE_USER, context_id=turn.context_id, parts=[Part(text="x")])


async def a_message_of_another_context(turn: Turn) -> Message:
    return Message(message_id="m", role=ROLE_AGENT, context_id="elsewhere", parts=[Part(text="x")])


async def a_message_of_a_task(turn: Turn) -> Message:
    return Message(message_id="m", role=ROLE_AGENT, task_id="t", parts=[Part(text="x")])


async def a_message_without_parts(turn: Turn) -> Message:
    return Message(message_id="m", role=ROLE_AGENT, context_id=turn.context_id)


async def a_part_without_content(turn: Turn) -> Part:
    return Part(filename="x")


@covers("VAL-9")
@pytest.mark.parametrize(
    "handler",
    [none, an_artifact, artifacts, no_piece, an_artifact_as_a_piece, a_message_of_the_user,
     a_message_of_another_context, a_message_of_a_task, a_message_without_parts, a_part_without_content],
)  # fmt: skip
async def test_what_is_no_valid_message_is_an_invalid_agent_response(handler: Callable[[Turn], Any]) -> None:
    found = await refused(handler)
    assert (found.code, found.reason) == (grpc.StatusCode.INTERNAL, "INVALID_AGENT_RESPONSE")


@covers("ERR-7")
async def test_an_exception_is_internal_with_a_generic_text_and_its_traceback_only_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(turn: Turn) -> str:
        raise ValueError("the secret")

    found = await refused(handler)
    assert (found.code, found.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL_ERROR")
    assert "secret" not in found.text
    assert "ValueError: the secret" in caplog.text
    assert "skill=work" in caplog.text


@pytest.mark.parametrize("update", ["status", "artifact", "ask"])
async def test_there_is_no_task_to_update(update: str, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(turn: Turn) -> str:
        assert turn.task is None
        assert [text_of(one) for one in turn.history] == ["hello"]
        with pytest.raises(RuntimeError, match="answers with a message"):
            await getattr(turn, update)("x")
        return "hi"

    assert text_of(await answer(handler)) == "hi"


@pytest.mark.parametrize("way", ["unary", "stream"])
async def test_a_caller_that_goes_away_cancels_the_handler(way: str) -> None:
    reached, left = asyncio.Event(), asyncio.Event()

    async def handler(turn: Turn) -> str:
        try:
            reached.set()
            await asyncio.Event().wait()
        finally:
            left.set()
        return "never"

    async with serving(agent_of(handler, answers="message")) as served, asyncio.timeout(30):
        call = served.stream(request()) if way == "stream" else asyncio.create_task(served.send(request()))
        await reached.wait()
        call.cancel()
        await left.wait()


async def test_a_function_in_a_thread_sees_that_the_caller_went_away() -> None:
    busy, stopped, release = threading.Event(), threading.Event(), threading.Event()

    async def handler(turn: Turn) -> str:
        def work() -> None:
            while not turn.canceled and not release.is_set():
                busy.set()
                release.wait(0.001)
            if turn.canceled:
                stopped.set()

        await turn.in_thread(work)
        return "never"

    def assert_set(event: threading.Event) -> None:
        assert event.is_set()

    async with serving(agent_of(handler, answers="message")) as served:
        try:
            sending = asyncio.create_task(served.send(request()))
            await eventually(lambda: assert_set(busy))
            sending.cancel()
            await eventually(lambda: assert_set(stopped))
        finally:
            release.set()


async def test_a_message_mode_skill_holds_a_place_among_the_runs_and_gives_it_back() -> None:
    gate = Gate()

    async def handler(turn: Turn) -> str:
        if turn.text == "hold":
            await gate.passed()
        if turn.text == "fail":
            raise ValueError("no")
        return "hi"

    agent = agent_of(handler, answers="message")
    async with serving(agent, max_runs=1, max_queued_runs=0) as served, asyncio.timeout(30):
        holding = asyncio.create_task(served.send(request("hold")))
        await gate.reached.wait()
        full = await refusal(served.send(request()))
        assert (full.code, full.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED")
        gate.opened.set()
        assert text_of((await holding).message) == "hi"
        assert (await refusal(served.send(request("fail")))).code is grpc.StatusCode.INTERNAL
        assert text_of((await served.send(request())).message) == "hi"
