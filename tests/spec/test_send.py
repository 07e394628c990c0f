"""SendMessage: what is sent, and what the caller gets (spec §3.1.1)."""

import asyncio
import uuid
from typing import Any

import grpc
import pytest

from a2a_grpc import Agent, InputRequired, Turn
from a2a_grpc.lifecycle import AUTH_REQUIRED, CANCELED, COMPLETED, FAILED, INPUT_REQUIRED, REJECTED, SUBMITTED, WORKING
from a2a_grpc.parts import struct, text_of, value
from a2a_grpc.wire import (
    ROLE_AGENT,
    ROLE_USER,
    CancelTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    SendMessageRequest,
    SendMessageResponse,
    Task,
    TaskState,
)
from tests.covers import covers
from tests.harness import (
    V1,
    Served,
    eventually,
    message,
    refusal,
    request,
    scripted,
    scripted_agent,
    serving,
    texts,
)
from tests.spec.raw_calls import SENDS, raw_refusal
from tests.spec.required import faults

NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
UNSUPPORTED = (grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED_OPERATION")


async def send(served: Served, asked: SendMessageRequest) -> Task:
    """The task that a send answers with."""
    response: SendMessageResponse = await served.send(asked)
    assert response.WhichOneof("payload") == "task"
    return response.task


async def total(served: Served, tenant: str = "") -> int:
    listed = await served.stub.ListTasks(ListTasksRequest(tenant=tenant), metadata=V1)
    return int(listed.total_size)


class Gated:
    """An agent that makes an artifact, then waits until the test opens its gate; it keeps the texts it got."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.texts: list[str] = []
        self.agent = Agent("Gated", "Waits for its gate.")

        @self.agent.skill()
        async def wait(turn: Turn) -> str:
            self.texts.append(turn.text)
            await turn.artifact("partial", id="partial")
            await self.gate.wait()
            return f"{turn.text} is done"

    async def task_at_work(self, served: Served) -> Task:
        """The only task, once its agent has made the artifact."""
        found: list[Task] = []

        async def there() -> None:
            listed = await served.stub.ListTasks(ListTasksRequest(include_artifacts=True), metadata=V1)
            found[:] = listed.tasks
            assert [texts(task) for task in found] == [["partial"]]

        await eventually(there)
        return found[0]


# -- a task or a message


@covers("SEND-1")
async def test_the_agent_chooses_between_a_task_and_a_message(served: Served) -> None:
    task = await served.send(scripted({"complete": "done"}))
    reply = await served.send(scripted({"message": "hello"}))
    assert task.WhichOneof("payload") == "task"
    assert reply.WhichOneof("payload") == "message"
    assert await total(served) == 1


# -- sends that wait

SETTLED: dict[str, tuple[list[Any], TaskState, str]] = {
    "completes": ([], COMPLETED, ""),
    "completes with a word": ([{"complete": "Done."}], COMPLETED, "Done."),
    "fails": ([{"fail": "No disk."}], FAILED, "No disk."),
    "raises": ([{"raise": "boom"}], FAILED, "The agent failed with an internal error."),
    "is rejected": ([{"reject": "Not mine."}], REJECTED, "Not mine."),
    "asks and ends its turn": ([{"input": "Which?"}], INPUT_REQUIRED, "Which?"),
    "asks and waits": ([{"input": "Which?"}, {"complete": "later"}], INPUT_REQUIRED, "Which?"),
    "asks for authorisation": ([{"auth": "Log in."}], AUTH_REQUIRED, "Log in."),
}


@covers("SEND-2")
@pytest.mark.parametrize(("end", "state", "said"), SETTLED.values(), ids=SETTLED)
async def test_a_blocking_send_returns_the_settled_task_with_all_artifacts(
    served: Served, end: list[Any], state: TaskState, said: str
) -> None:
    steps = [
        {"status": "on it"},
        {"artifact": {"id": "a", "text": "one"}},
        {"chunks": {"id": "b", "count": 3, "text": "{i}"}},
    ]
    task = await send(served, scripted(*steps, *end))
    assert (task.status.state, text_of(task.status.message)) == (state, said)
    assert {artifact.artifact_id: text_of(artifact) for artifact in task.artifacts} == {"a": "one", "b": "012"}
    assert task == await served.get(task.id)
    assert faults(task) == []


@covers("SEND-2")
async def test_a_blocking_send_waits_until_the_task_is_settled() -> None:
    gated = Gated()
    async with asyncio.timeout(30), serving(gated.agent) as served:
        sending = asyncio.create_task(send(served, request("it")))
        working = await gated.task_at_work(served)
        assert working.status.state == WORKING
        assert not sending.done()
        gated.gate.set()
        task = await sending
    assert (task.id, task.status.state) == (working.id, COMPLETED)
    assert texts(task) == ["partial", "it is done"]


@covers("SEND-2")
async def test_a_blocking_send_returns_the_canceled_task_when_somebody_cancels_it() -> None:
    gated = Gated()
    async with asyncio.timeout(30), serving(gated.agent) as served:
        sending = asyncio.create_task(send(served, request("it")))
        working = await gated.task_at_work(served)
        await served.stub.CancelTask(CancelTaskRequest(id=working.id), metadata=V1)
        task = await sending
    assert (task.id, task.status.state, texts(task)) == (working.id, CANCELED, ["partial"])


@covers("SEND-2", "SEND-18", "OPEN-3")
async def test_a_send_without_a_configuration_blocks(served: Served) -> None:
    task = await send(served, SendMessageRequest(message=message("hello")))
    assert (task.status.state, texts(task)) == (COMPLETED, ["hello"])


@covers("SEND-2")
async def test_a_blocking_follow_up_waits_for_its_own_turn(served: Served) -> None:
    asking = await send(served, scripted({"input": "first?"}))
    again = await send(served, scripted({"input": "second?"}, task_id=asking.id))
    assert (again.status.state, text_of(again.status.message)) == (INPUT_REQUIRED, "second?")
    done = await send(served, scripted({"complete": "thanks"}, task_id=asking.id))
    assert (done.status.state, text_of(done.status.message)) == (COMPLETED, "thanks")


# -- sends that return at once


@covers("SEND-3", "SEND-5")
async def test_return_immediately_answers_while_the_agent_works_and_the_work_goes_on() -> None:
    gated = Gated()
    async with asyncio.timeout(30), serving(gated.agent) as served:
        early = await send(served, request("it", immediately=True))
        assert early.status.state in (SUBMITTED, WORKING)
        assert (await served.get(early.id)).id == early.id
        assert [text_of(said) for said in early.history] == ["it"]
        assert faults(early) == []
        gated.gate.set()

        async def done() -> None:
            task = await served.get(early.id)
            assert (task.status.state, texts(task)) == (COMPLETED, ["partial", "it is done"])

        await eventually(done)


@covers("SEND-3")
async def test_return_immediately_on_a_follow_up_answers_with_the_task_that_has_the_message(
    served: Served,
) -> None:
    asking = await send(served, scripted({"input": "?"}))
    early = await send(served, scripted({"sleep": 60}, task_id=asking.id, immediately=True))
    assert (early.id, early.status.state) == (asking.id, WORKING)
    assert len(early.history) == 3


@covers("SEND-4")
async def test_return_immediately_is_ignored_when_the_answer_is_a_message() -> None:
    began, gate = asyncio.Event(), asyncio.Event()
    agent = Agent("Slow", "Answers late.")

    @agent.skill(answers="message")
    async def reply(turn: Turn) -> str:
        began.set()
        await gate.wait()
        return "late"

    async with asyncio.timeout(30), serving(agent) as served:
        sending = asyncio.create_task(served.send(request(immediately=True)))
        await began.wait()
        assert await total(served) == 0
        assert not sending.done()
        gate.set()
        response = await sending
    assert text_of(response.message) == "late"


# -- tasks that take no message


@covers("SEND-6", "IDS-6")
@pytest.mark.parametrize("method", SENDS)
async def test_an_unknown_task_id_is_not_found_and_makes_no_task(served: Served, method: str) -> None:
    mine = str(uuid.uuid4())
    refused = await raw_refusal(served, method, request(message(task_id=mine)).SerializeToString())
    assert (refused.code, refused.reason, refused.metadata) == (*NOT_FOUND, {"task_id": mine})
    assert mine in refused.text
    assert await total(served) == 0


@covers("SEND-7", "ST-1")
@pytest.mark.parametrize("method", SENDS)
@pytest.mark.parametrize("end", [{"complete": "!"}, {"fail": "!"}, {"reject": "!"}, {"raise": "!"}], ids=str)
async def test_a_task_that_has_ended_accepts_no_message(served: Served, method: str, end: Any) -> None:
    ended = await send(served, scripted(end))
    asked = scripted({"artifact": {"text": "more"}}, task_id=ended.id)
    refused = await raw_refusal(served, method, asked.SerializeToString())
    assert (refused.code, refused.reason, refused.metadata) == (*UNSUPPORTED, {"task_id": ended.id})
    assert ended.id in refused.text
    assert await served.get(ended.id) == ended


@covers("SEND-7")
@pytest.mark.parametrize("method", SENDS)
async def test_a_canceled_task_accepts_no_message_and_the_agent_is_not_called_again(method: str) -> None:
    gated = Gated()
    async with asyncio.timeout(30), serving(gated.agent) as served:
        task_id = (await send(served, request("first", immediately=True))).id
        await gated.task_at_work(served)
        await served.stub.CancelTask(CancelTaskRequest(id=task_id), metadata=V1)
        refused = await raw_refusal(served, method, request(message("second", task_id=task_id)).SerializeToString())
    assert (refused.code, refused.reason) == UNSUPPORTED
    assert "CANCELED" in refused.text
    assert gated.texts == ["first"]


# -- media types


def taking(*modes: str, skill_modes: tuple[str, ...] = ()) -> Agent:
    agent = Agent("Picky", "Takes some media types.", input_modes=modes)

    @agent.skill(input_modes=skill_modes)
    async def take(turn: Turn) -> str:
        return "taken"

    return agent


TEXT, DATA = Part(text="x"), Part(data=value({"k": 1}))
RAW, URL = Part(raw=b"x"), Part(url="https://example.org/x")


def typed(media_type: str) -> Part:
    return Part(raw=b"x", media_type=media_type)


TAKEN: dict[str, tuple[str, Part]] = {
    "the type itself": ("image/png", typed("image/png")),
    "another case of the part": ("image/png", typed("IMAGE/Png")),
    "another case of the card": ("Image/PNG", typed("image/png")),
    "parameters of the part": ("text/html", typed("text/html; charset=utf-8")),
    "parameters without a blank": ("text/html", typed("text/html;charset=utf-8")),
    "parameters of the card": ("text/html; charset=utf-8", typed("text/html")),
    "blanks around it": ("text/html", typed(" text/html ")),
    "a wildcard for the subtype": ("image/*", typed("image/png")),
    "a wildcard in another case": ("IMAGE/*", typed("image/png")),
    "a wildcard for all": ("*/*", typed("application/x-anything")),
    "a text without a type, as text/plain": ("text/plain", TEXT),
    "a text without a type, as text/*": ("text/*", TEXT),
    "data without a type, as application/json": ("application/json", DATA),
    "bytes without a type, as application/octet-stream": ("application/octet-stream", RAW),
    "a url without a type, as application/octet-stream": ("application/octet-stream", URL),
    "a text of a type of its own": ("text/markdown", Part(text="x", media_type="text/markdown")),
}


@covers("SEND-8", "OPEN-19")
@pytest.mark.parametrize(("mode", "part"), TAKEN.values(), ids=TAKEN)
async def test_a_part_of_a_media_type_that_the_card_names_is_taken(mode: str, part: Part) -> None:
    async with serving(taking(mode)) as served:
        task = await send(served, request(Message(message_id="m", role=ROLE_USER, parts=[part])))
    assert texts(task) == ["taken"]


REFUSED: dict[str, tuple[str, Part, str]] = {
    "another subtype": ("image/png", typed("image/jpeg"), "image/jpeg"),
    "another type": ("text/*", typed("image/png"), "image/png"),
    "a longer subtype": ("image/png", typed("image/png2"), "image/png2"),
    "a type that begins the same": ("text/*", typed("text2/plain"), "text2/plain"),
    "a wildcard given by the part": ("image/png", typed("image/*"), "image/*"),
    "all types given by the part": ("image/png", typed("*/*"), "*/*"),
    "a text without a type": ("image/*", TEXT, "text/plain"),
    "data without a type": ("text/*", DATA, "application/json"),
    "bytes without a type": ("text/*", RAW, "application/octet-stream"),
    "a url without a type": ("text/*", URL, "application/octet-stream"),
    "a text of another type": ("text/plain", Part(text="x", media_type="text/html"), "text/html"),
    "a type in another case": ("text/plain", typed("IMAGE/PNG; q=1"), "image/png"),
}


@covers("SEND-8", "OPEN-19")
@pytest.mark.parametrize("method", SENDS)
@pytest.mark.parametrize(("mode", "part", "told"), REFUSED.values(), ids=REFUSED)
async def test_a_part_of_another_media_type_is_refused_by_its_place_and_nothing_happens(
    mode: str, part: Part, told: str, method: str
) -> None:
    good = typed(mode.replace("*", "x"))
    async with serving(taking(mode)) as served:
        asked = request(Message(message_id="m", role=ROLE_USER, parts=[good, part]))
        refused = await raw_refusal(served, method, asked.SerializeToString())
        assert await total(served) == 0
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CONTENT_TYPE_NOT_SUPPORTED")
    assert refused.fields == ["message.parts[1].media_type"]
    assert refused.metadata == {"media_type": told}
    assert told in refused.text
    assert mode in refused.text


@covers("SEND-8", "OPEN-19")
@pytest.mark.parametrize("media_type", ["image/png", "text/plain"])
async def test_the_modes_of_agent_and_skills_count_together(media_type: str) -> None:
    async with serving(taking("text/plain", skill_modes=("image/png",))) as served:
        task = await send(served, request(Message(message_id="m", role=ROLE_USER, parts=[typed(media_type)])))
        other = request(Message(message_id="m", role=ROLE_USER, parts=[typed("audio/wav")]))
        refused = await refusal(served.send(other))
    assert texts(task) == ["taken"]
    assert refused.reason == "CONTENT_TYPE_NOT_SUPPORTED"


@covers("SEND-8")
async def test_a_follow_up_of_another_media_type_is_refused_and_its_task_stays_as_it_is() -> None:
    agent = Agent("Asking", "Asks.", input_modes=["text/plain"])

    @agent.skill()
    async def ask(turn: Turn) -> InputRequired:
        return InputRequired("?")

    async with serving(agent) as served:
        before = await send(served, request())
        sent = Message(message_id="m", role=ROLE_USER, task_id=before.id, parts=[typed("image/png")])
        refused = await refusal(served.send(request(sent)))
        assert await served.get(before.id) == before
    assert refused.reason == "CONTENT_TYPE_NOT_SUPPORTED"


@covers("SEND-8")
async def test_an_over_long_media_type_is_told_in_a_short_error() -> None:
    async with serving(taking("text/plain")) as served:
        asked = request(Message(message_id="m", role=ROLE_USER, parts=[typed("x" * 1_000_000)]))
        refused = await refusal(served.send(asked))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CONTENT_TYPE_NOT_SUPPORTED")
    assert len(refused.text) + len(refused.metadata["media_type"]) < 1000


# -- what the agent may know


@covers("SEND-9", "SEND-14", "SEND-17", "OPEN-20", "EXT-6")
async def test_the_agent_sees_output_modes_references_extensions_and_metadata() -> None:
    seen: list[Any] = []
    agent = Agent("Watching", "Looks.")

    @agent.skill()
    async def look(turn: Turn) -> None:
        seen.extend([list(turn.accepted_output_modes), list(turn.message.reference_task_ids)])
        seen.extend([list(turn.message.extensions), turn.metadata])

    async with serving(agent) as served:
        sent = message()
        sent.reference_task_ids.extend(["t-1", "t-2"])
        sent.extensions.append("urn:example:1")
        sent.metadata.CopyFrom(struct({"urn:example:1": {"deep": [1, None]}, "both": "message"}))
        asked = request(sent, accepted_output_modes=["text/markdown", "text/plain"])
        asked.metadata.CopyFrom(struct({"more": True, "both": "request"}))
        task = await send(served, asked)
    assert seen == [
        ["text/markdown", "text/plain"],
        ["t-1", "t-2"],
        ["urn:example:1"],
        {"urn:example:1": {"deep": [1, None]}, "both": "request", "more": True},
    ]
    stored = task.history[0]
    assert (stored.metadata, stored.extensions) == (sent.metadata, sent.extensions)
    assert stored.reference_task_ids == sent.reference_task_ids


# -- follow-ups


@covers("SEND-13")
async def test_the_answer_to_a_question_continues_the_task_with_its_history(served: Served) -> None:
    asked = scripted({"input": "Which date?"})
    asking = await send(served, asked)
    answer = message("Monday", task_id=asking.id, message_id="m-2")
    done = await send(served, request(answer))
    assert (done.id, done.context_id, done.status.state) == (asking.id, asking.context_id, COMPLETED)
    assert [said.role for said in done.history] == [ROLE_USER, ROLE_AGENT, ROLE_USER]
    assert [said.message_id for said in done.history] == ["m-1", asking.status.message.message_id, "m-2"]
    assert text_of(done.history[1]) == "Which date?"
    assert {(said.task_id, said.context_id) for said in done.history} == {(asking.id, asking.context_id)}
    assert texts(done) == ["Monday"]


@covers("SEND-13")
async def test_a_handler_that_waits_goes_on_with_the_answer(served: Served) -> None:
    asking = await send(served, scripted({"input": "Which?"}, {"artifact": {"id": "a", "text": "went on"}}))
    done = await send(served, request(message("this", task_id=asking.id)))
    assert (done.status.state, texts(done)) == (COMPLETED, ["went on"])
    assert [text_of(said) for said in done.history][1:] == ["Which?", "this"]


@covers("SEND-13")
async def test_a_task_that_waits_for_authorisation_accepts_messages(served: Served) -> None:
    asking = await send(served, scripted({"auth": "Log in."}))
    done = await send(served, scripted({"complete": "thanks"}, task_id=asking.id))
    assert (done.id, done.status.state) == (asking.id, COMPLETED)


@covers("SEND-13", "OPEN-15")
async def test_messages_to_a_working_task_become_its_next_turns_in_order() -> None:
    gates = {text: asyncio.Event() for text in ("first", "second", "third")}
    began: list[str] = []
    agent = Agent("Turns", "Takes its turns.")

    @agent.skill()
    async def work(turn: Turn) -> Any:
        began.append(turn.text)
        await gates[turn.text].wait()
        return "all done" if turn.text == "third" else InputRequired("more?")

    async with asyncio.timeout(30), serving(agent) as served:
        task_id = (await send(served, request("first", immediately=True))).id
        await eventually(lambda: _equal(began, ["first"]))
        for text in ("second", "third"):
            queued = await send(served, request(message(text, task_id=task_id), immediately=True))
            assert (queued.id, queued.status.state, len(queued.history)) == (task_id, WORKING, 1)
        assert began == ["first"]
        gates["first"].set()
        await eventually(lambda: _equal(began, ["first", "second"]))
        assert (await served.get(task_id)).status.state == WORKING
        gates["second"].set()
        gates["third"].set()
        await eventually(lambda: _ended(served, task_id))
        task = await served.get(task_id)
    assert began == ["first", "second", "third"]
    assert [text_of(said) for said in task.history] == ["first", "more?", "second", "more?", "third"]
    assert texts(task) == ["all done"]


@covers("SEND-13", "OPEN-15")
async def test_a_blocking_send_to_a_working_task_waits_for_its_own_turn() -> None:
    gate = asyncio.Event()
    accepted: list[str] = []
    agent = Agent("Turns", "Takes its turns.")

    @agent.skill(validate=lambda sent: accepted.append(text_of(sent)))
    async def work(turn: Turn) -> InputRequired:
        if turn.text == "first":
            await gate.wait()
        return InputRequired(f"{turn.text}?")

    async with asyncio.timeout(30), serving(agent) as served:
        task_id = (await send(served, request("first", immediately=True))).id
        second = asyncio.create_task(send(served, request(message("second", task_id=task_id))))
        await eventually(lambda: _equal(accepted, ["first", "second"]))
        assert (await served.get(task_id)).status.state in (SUBMITTED, WORKING)
        assert not second.done()
        gate.set()
        task = await second
    assert (task.status.state, text_of(task.status.message)) == (INPUT_REQUIRED, "second?")
    assert [text_of(said) for said in task.history] == ["first", "first?", "second"]


def _equal(left: object, right: object) -> None:
    assert left == right


async def _ended(served: Served, task_id: str) -> None:
    assert (await served.get(task_id)).status.state == COMPLETED


@covers("SEND-13", "OPEN-15")
async def test_a_blocking_send_that_is_still_queued_when_its_task_ends_is_refused() -> None:
    gate = asyncio.Event()
    accepted: list[str] = []
    began: list[str] = []
    agent = Agent("Ending", "Ends its task at its first turn.")

    @agent.skill(validate=lambda sent: accepted.append(text_of(sent)))
    async def work(turn: Turn) -> None:
        began.append(turn.text)
        await gate.wait()

    async with asyncio.timeout(30), serving(agent) as served:
        task_id = (await send(served, request("first", immediately=True))).id
        queued = asyncio.create_task(refusal(served.send(request(message("second", task_id=task_id)))))
        await eventually(lambda: _equal(accepted, ["first", "second"]))
        await eventually(lambda: _equal(began, ["first"]))
        gate.set()
        refused = await queued
        task = await served.get(task_id)
    assert (refused.code, refused.reason, refused.metadata) == (*UNSUPPORTED, {"task_id": task_id})
    assert (task.status.state, len(task.history), began) == (COMPLETED, 1, ["first"])


@covers("SEND-13", "OPEN-15", "G11")
async def test_more_messages_than_may_wait_are_refused_with_a_time_to_retry() -> None:
    gated = Gated()
    async with asyncio.timeout(30), serving(gated.agent, max_queued_turns=2) as served:
        task_id = (await send(served, request("first", immediately=True))).id
        await gated.task_at_work(served)
        for _ in range(2):
            await send(served, request(message("queued", task_id=task_id), immediately=True))
        refused = await refusal(served.send(request(message("one too many", task_id=task_id))))
        gated.gate.set()
    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED")
    assert refused.retry_after_s is not None


# -- messages of the agent


@covers("SEND-15", "OPEN-22")
async def test_a_reply_has_the_agent_s_role_and_a_context_and_no_task(served: Served) -> None:
    said = (await served.send(scripted({"message": "hi"}))).message
    assert (said.role, said.task_id, text_of(said)) == (ROLE_AGENT, "", "hi")
    assert said.message_id
    assert said.context_id
    other = (await served.send(scripted({"message": "hi"}))).message
    assert other.message_id != said.message_id
    assert other.context_id != said.context_id


@covers("SEND-15", "OPEN-22")
@pytest.mark.parametrize("end", ["complete", "fail", "reject", "input", "auth"])
async def test_the_agent_s_word_in_a_status_names_its_task_and_context(served: Served, end: str) -> None:
    task = await send(served, scripted({end: "a word"}))
    said = task.status.message
    assert (said.role, said.task_id, said.context_id) == (ROLE_AGENT, task.id, task.context_id)
    assert (text_of(said), bool(said.message_id)) == ("a word", True)


@covers("SEND-15")
async def test_once_a_task_exists_messages_on_it_are_answered_with_the_task(served: Served) -> None:
    asking = await send(served, scripted({"input": "?"}))
    refused = await refusal(served.send(scripted({"message": "bare"}, task_id=asking.id)))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    answered = await served.send(request(message("ok", task_id=asking.id)))
    assert answered.WhichOneof("payload") == "task"


@covers("SEND-15")
async def test_a_skill_that_answers_with_a_message_continues_no_task() -> None:
    agent = Agent("Both", "Has both kinds of skills.")

    @agent.skill()
    async def ask(turn: Turn) -> InputRequired:
        return InputRequired("?")

    @agent.skill(answers="message")
    async def reply(turn: Turn) -> str:
        return "bare"

    async with serving(agent) as served:
        before = await send(served, SendMessageRequest(message=message(), metadata=struct({"skill": "ask"})))
        asked = SendMessageRequest(message=message(task_id=before.id), metadata=struct({"skill": "reply"}))
        refused = await refusal(served.send(asked))
        assert await served.get(before.id) == before
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["message.metadata.skill"])


@covers("SEND-16")
async def test_what_a_handler_returns_is_an_artifact_and_no_message(served: Served) -> None:
    task = await send(served, request("the result"))
    assert texts(task) == ["the result"]
    assert not task.status.HasField("message")
    assert [said.role for said in task.history] == [ROLE_USER]


# -- many at a time


@covers("SEND-2")
async def test_many_blocking_sends_at_a_time_each_get_their_own_task() -> None:
    async with serving(scripted_agent()) as served:
        tasks = await asyncio.gather(*(send(served, request(f"text {i}")) for i in range(50)))
    assert [texts(task) for task in tasks] == [[f"text {i}"] for i in range(50)]
