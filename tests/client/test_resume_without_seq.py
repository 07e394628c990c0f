"""Streams of servers that know nothing of seq: they go on from a snapshot, and end with the task as it is stored."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest

from a2a_grpc import Message, Part, Task, TaskArtifactUpdateEvent, TaskState, TaskStatusUpdateEvent, connect
from a2a_grpc.client import ConnectionLostError, Event, TaskLostError, TaskStream
from a2a_grpc.errors import A2AError, TaskNotFoundError
from a2a_grpc.lifecycle import (
    AUTH_REQUIRED,
    CANCELED,
    COMPLETED,
    FAILED,
    INPUT_REQUIRED,
    SUBMITTED,
    WORKING,
)
from a2a_grpc.wire import ROLE_AGENT, ROLE_USER
from tests.client.foreign import (
    Context,
    Foreign,
    Play,
    breaks_off,
    chunk,
    foreign,
    plays,
    refuses,
    status,
    stays_open,
    task,
)
from tests.client.test_resume import SOON
from tests.covers import covers
from tests.harness import eventually
from tests.proxy import Proxy

NOT_FOUND = grpc.StatusCode.NOT_FOUND
FAILED_PRECONDITION, UNIMPLEMENTED = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNIMPLEMENTED
UNSUPPORTED = [FAILED_PRECONDITION, UNIMPLEMENTED]
"""The status codes of UNSUPPORTED_OPERATION: that of 1.0.1, that of 1.0.0."""


async def read(stream: TaskStream) -> list[Event]:
    async with asyncio.timeout(30), stream as events:
        return [event async for event in events]


async def streamed(agent: Foreign) -> tuple[list[Event], TaskStream]:
    """All events of a streaming send, with the stream after its end."""
    async with connect(agent.address, **SOON) as client:
        stream = client.stream("hello")
        return await read(stream), stream


# -- cuts


@covers("STRM-11", "SUB-7", "EVT-5", "OPEN-4")
@pytest.mark.parametrize(
    "cut",
    [
        plays(task(WORKING), chunk("one", append=False)),
        breaks_off(grpc.StatusCode.UNAVAILABLE, task(WORKING), chunk("one", append=False)),
        breaks_off(grpc.StatusCode.CANCELLED, task(WORKING), chunk("one", append=False)),
    ],
    ids=["OK in WORKING", "UNAVAILABLE", "CANCELLED by the peer"],
)
async def test_a_stream_that_ends_before_its_task_goes_on_from_a_snapshot(cut: Play) -> None:
    end = task(COMPLETED, "one", "two", "three")
    async with foreign(
        sends=[cut],
        subscriptions=[plays(task(WORKING, "one", "two"), chunk("three"), status(COMPLETED))],
        gets=[end],
    ) as agent:
        events, stream = await streamed(agent)
    assert events == [
        task(WORKING), chunk("one", append=False), chunk("two"), chunk("three"), status(COMPLETED),
    ]  # fmt: skip
    assert stream.task == end
    assert stream.seq is None
    assert agent.calls == ["SendStreamingMessage", "SubscribeToTask", "GetTask"]


@covers("SUB-7", "EVT-5")
async def test_a_stream_broken_off_with_rst_stream_goes_on_from_a_snapshot() -> None:
    async with foreign(
        sends=[stays_open(task(WORKING))],
        subscriptions=[plays(task(WORKING, "one"), status(COMPLETED))],
        gets=[task(COMPLETED, "one")],
    ) as agent:
        async with Proxy(agent.address) as proxy, connect(proxy.address, **SOON) as client:
            async with client.stream("hello") as stream:
                events = [await anext(stream)]
                reading = asyncio.ensure_future(read(stream))
                await asyncio.sleep(0)
                proxy.reset_streams()
                events += await reading
            assert proxy.connections == 1
    assert events == [task(WORKING), chunk("one", append=False), status(COMPLETED)]


@covers("SUB-7", "EVT-5")
async def test_a_stream_cut_with_its_connection_goes_on_from_a_snapshot() -> None:
    async with foreign(
        sends=[stays_open(task(SUBMITTED), status(WORKING))],
        subscriptions=[
            stays_open(task(WORKING, "one")),
            stays_open(task(WORKING, "one", "two")),
            plays(task(WORKING, "one", "two"), status(FAILED, "no more")),
        ],
        gets=[task(FAILED, "one", "two", said="no more")],
    ) as agent:
        async with Proxy(agent.address) as proxy, connect(proxy.address, **SOON) as client:
            async with client.stream("hello") as stream:
                events = [await anext(stream), await anext(stream)]
                for _ in range(2):
                    proxy.cut()
                    events.append(await anext(stream))
                proxy.cut()
                events += [event async for event in stream]
    assert events == [
        task(SUBMITTED), status(WORKING), chunk("one", append=False), chunk("two"), status(FAILED, "no more"),
    ]  # fmt: skip


async def test_a_snapshot_without_news_gives_no_event() -> None:
    async with foreign(
        sends=[plays(task(WORKING, "one"))],
        subscriptions=[*[plays(task(WORKING, "one"))] * 5, plays(task(WORKING, "one"), status(COMPLETED))],
        gets=[task(COMPLETED, "one")],
    ) as agent:
        events, _ = await streamed(agent)
    assert events == [task(WORKING, "one"), status(COMPLETED)]
    assert agent.calls.count("SubscribeToTask") == 6


@covers("P2")
@pytest.mark.parametrize(
    "doubled_or_lost",
    [
        [chunk("two"), chunk("three")],
        [chunk("three"), chunk("three")],
        [],
        [chunk("one", "two", "three", append=False)],
        [chunk("three")],
    ],
    ids=["doubled", "doubled later", "lost", "whole again", "exact"],
)
async def test_the_task_is_right_in_the_end_whatever_came_between_snapshot_and_subscription(
    doubled_or_lost: list[TaskArtifactUpdateEvent],
) -> None:
    end = task(COMPLETED, "one", "two", "three")
    async with foreign(
        sends=[plays(task(WORKING), chunk("one", append=False))],
        subscriptions=[plays(task(WORKING, "one", "two"), *doubled_or_lost, status(COMPLETED))],
        gets=[end],
    ) as agent:
        events, stream = await streamed(agent)
    assert stream.task == end
    assert events[-1] == status(COMPLETED)
    told: list[str] = []
    for event in events:
        if isinstance(event, TaskArtifactUpdateEvent):
            told = (told if event.append else []) + [part.text for part in event.artifact.parts]
    assert told == ["one", "two", "three"], "what a reader of the events has made of them"


@covers("SUB-3", "SUB-9")
@pytest.mark.parametrize("code", UNSUPPORTED)
async def test_a_task_that_ended_meanwhile_is_read_by_get(code: grpc.StatusCode) -> None:
    end = task(COMPLETED, "one", "two", said="done")
    async with foreign(
        sends=[plays(task(WORKING), chunk("one", append=False))],
        subscriptions=[breaks_off(code, reason="UNSUPPORTED_OPERATION")],
        gets=[end],
    ) as agent:
        events, stream = await streamed(agent)
    assert events == [task(WORKING), chunk("one", append=False), chunk("two"), status(COMPLETED, "done")]
    assert stream.task == end


async def test_a_snapshot_of_an_ended_task_ends_the_stream() -> None:
    end = task(CANCELED, "one")
    async with foreign(sends=[plays(task(WORKING))], subscriptions=[plays(end)], gets=[end]) as agent:
        events, stream = await streamed(agent)
    assert events == [task(WORKING), chunk("one", append=False), status(CANCELED)]
    assert stream.task == end


async def test_a_server_that_keeps_a_stream_open_after_the_end_of_its_task_does_not_hold_its_reader() -> None:
    async with foreign(sends=[stays_open(task(WORKING), status(COMPLETED))]) as agent:
        events, _ = await streamed(agent)
    assert events == [task(WORKING), status(COMPLETED)]


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED])
async def test_whatever_comes_after_a_terminal_event_nothing_is_missing(code: grpc.StatusCode) -> None:
    async with foreign(sends=[breaks_off(code, task(WORKING), status(COMPLETED))]) as agent:
        events, _ = await streamed(agent)
    assert events == [task(WORKING), status(COMPLETED)]
    assert agent.calls == ["SendStreamingMessage"]


async def test_a_task_that_the_server_forgot_is_told_with_the_last_known_task() -> None:
    async with foreign(
        sends=[plays(task(WORKING), chunk("one", append=False))],
        subscriptions=[breaks_off(NOT_FOUND, reason="TASK_NOT_FOUND")],
        gets=[refuses(NOT_FOUND, "TASK_NOT_FOUND")],
    ) as agent:
        with pytest.raises(TaskLostError, match="task 't-1' is gone") as lost:
            await streamed(agent)
    assert lost.value.task == task(WORKING, "one")


async def test_a_send_whose_task_the_server_forgot_is_told_so_and_not_sent_again() -> None:
    """The task may have had its effect."""
    async with foreign(
        sends=[plays(task(WORKING, "one"))],
        subscriptions=[breaks_off(NOT_FOUND, reason="TASK_NOT_FOUND")],
        gets=[refuses(NOT_FOUND, "TASK_NOT_FOUND")],
    ) as agent, connect(agent.address, **SOON) as client:  # fmt: skip
        with pytest.raises(TaskLostError) as lost:
            await client.send("hello")
    assert lost.value.task == task(WORKING, "one")
    assert agent.calls == ["SendStreamingMessage", "SubscribeToTask", "GetTask"]


async def test_a_task_that_has_ended_and_cannot_be_found_by_who_follows_is_read() -> None:
    """As on servers that find only tasks at work where somebody subscribes."""
    end = task(COMPLETED, "one", "two")
    async with foreign(
        sends=[plays(task(WORKING, "one"))],
        subscriptions=[breaks_off(NOT_FOUND, reason="TASK_NOT_FOUND")] * 2,
        gets=[end],
    ) as agent:
        events, stream = await streamed(agent)
        assert events == [task(WORKING, "one"), chunk("two"), status(COMPLETED)]
        assert stream.task == end
        async with connect(agent.address, **SOON) as client:
            assert await client.wait("t-1") == end


async def test_a_sends_stream_ends_where_its_task_has_come_to_ask_and_cannot_be_followed() -> None:
    asking = task(INPUT_REQUIRED, "one", said="Which date?")
    async with foreign(
        sends=[plays(task(WORKING, "one"))],
        subscriptions=[breaks_off(NOT_FOUND, reason="TASK_NOT_FOUND")],
        gets=[asking],
    ) as agent:
        events, stream = await streamed(agent)
    assert events == [task(WORKING, "one"), status(INPUT_REQUIRED, "Which date?")]
    assert stream.task == asking


async def test_a_task_that_waits_for_its_user_and_cannot_be_followed_is_looked_at_until_it_can() -> None:
    waiting = task(INPUT_REQUIRED, said="Which date?")
    unknown = breaks_off(NOT_FOUND, reason="TASK_NOT_FOUND")
    async with foreign(
        subscriptions=[unknown, unknown, unknown, plays(task(WORKING), chunk("one", append=False), status(COMPLETED))],
        gets=[waiting, waiting, waiting, task(COMPLETED, "one")],
    ) as agent, connect(agent.address, **SOON) as client:  # fmt: skip
        events = await read(client.subscribe("t-1"))
    assert events == [waiting, status(WORKING), chunk("one", append=False), status(COMPLETED)]
    assert agent.calls == [*["SubscribeToTask", "GetTask"] * 4]


@pytest.mark.parametrize("operation", ["send", "wait"])
async def test_whatever_waits_gives_up_with_the_last_known_task(operation: str) -> None:
    seen = plays(task(WORKING, "one"))
    unavailable = [breaks_off(grpc.StatusCode.UNAVAILABLE)] * 1000
    async with foreign(
        sends=[seen], subscriptions=[seen, *unavailable] if operation == "wait" else unavailable
    ) as agent, connect(agent.address, **SOON, give_up_after_s=0.3) as client:  # fmt: skip
        with pytest.raises(ConnectionLostError, match="gave up following task 't-1'") as lost:
            await (client.send("hello") if operation == "send" else client.wait("t-1"))
    assert lost.value.task == task(WORKING, "one")


async def test_an_agent_that_answers_unavailable_all_the_time_is_not_called_without_contact() -> None:
    seen = plays(task(WORKING, "one"))
    unavailable = [breaks_off(grpc.StatusCode.UNAVAILABLE, reason="DRAINING")] * 1000
    async with foreign(sends=[seen], subscriptions=unavailable) as agent:
        async with connect(agent.address, **SOON, give_up_after_s=0.3) as client:
            said = r"gave up following task 't-1' after 0\.3 s; the agent answered last: no"
            with pytest.raises(ConnectionLostError, match=said):
                await client.send("hello")


async def test_a_server_that_always_ends_its_streams_in_working_is_asked_at_a_pace_until_the_task_ends() -> None:
    async with foreign(
        sends=[plays(task(SUBMITTED))],
        subscriptions=[*[plays(task(WORKING))] * 8, breaks_off(FAILED_PRECONDITION, reason="UNSUPPORTED_OPERATION")],
        gets=[task(COMPLETED)],
    ) as agent:
        events, _ = await streamed(agent)
    assert events == [task(SUBMITTED), status(WORKING), status(COMPLETED)]


@pytest.mark.parametrize("code", [grpc.StatusCode.DATA_LOSS, grpc.StatusCode.PERMISSION_DENIED])
async def test_a_failure_that_no_connection_explains_is_raised_as_it_is(code: grpc.StatusCode) -> None:
    async with foreign(sends=[breaks_off(code, task(WORKING))]) as agent:
        with pytest.raises(A2AError) as failed:
            await streamed(agent)
    assert failed.value.code is code
    assert agent.calls == ["SendStreamingMessage"]


async def test_a_peers_canceled_status_is_a_lost_connection_and_no_cancellation() -> None:
    """grpc.aio raises asyncio.CancelledError for it. A read is tried again; a send may have had its effect."""
    canceled = refuses(grpc.StatusCode.CANCELLED)
    async with foreign(
        sends=[breaks_off(grpc.StatusCode.CANCELLED)], gets=[canceled, task(COMPLETED)], answers=[canceled]
    ) as agent, connect(agent.address, **SOON) as client:  # fmt: skip
        assert await client.get("t-1") == task(COMPLETED)
        operations: list[Callable[[], Awaitable[Task | Message]]] = [
            lambda: client.start("hello"), lambda: client.send("hello"),
        ]  # fmt: skip
        for operation in operations:
            with pytest.raises(ConnectionLostError) as failed:
                await operation()
            assert failed.value.code is grpc.StatusCode.CANCELLED


async def test_a_read_canceled_while_the_end_is_being_read_is_made_up_for() -> None:
    """The terminal event was received, the task behind it not yet: the next read still ends with it."""
    asked = asyncio.Event()

    async def slowly(context: object) -> Task:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async with foreign(
        sends=[plays(task(WORKING))],
        subscriptions=[
            stays_open(task(WORKING, "one"), status(COMPLETED)),
            breaks_off(FAILED_PRECONDITION, reason="UNSUPPORTED_OPERATION"),
        ],
        gets=[slowly, task(COMPLETED, "one")],
    ) as agent, connect(agent.address, **SOON) as client, client.stream("hello") as stream:  # fmt: skip
        events = [await anext(stream), await anext(stream)]
        reading = asyncio.ensure_future(anext(stream))
        await asked.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        events += [event async for event in stream]
    assert events == [task(WORKING), chunk("one", append=False), status(COMPLETED)]


async def test_a_message_is_not_sent_again_after_a_canceled_read_if_the_agent_would_take_it_for_another_one() -> None:
    async with foreign(sends=[stays_open()]) as agent:
        async with connect(agent.address, **SOON) as client, client.stream("hello") as stream:
            reading = asyncio.ensure_future(anext(stream))
            await eventually(lambda: assert_called(agent, "SendStreamingMessage"))
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            with pytest.raises(ConnectionLostError, match="whether the agent has got the message is not known"):
                await anext(stream)
    assert agent.calls.count("SendStreamingMessage") == 1


def assert_called(agent: Foreign, method: str) -> None:
    assert agent.calls == [method]


async def test_following_a_server_that_is_gone_gives_up_with_the_last_known_task() -> None:
    async with foreign(sends=[stays_open(task(WORKING, "one"))]) as agent, Proxy(agent.address) as proxy:
        async with connect(proxy.address, **SOON, give_up_after_s=0.3) as client, client.stream("hello") as stream:
            await anext(stream)
            proxy.close()
            with pytest.raises(ConnectionLostError) as lost:
                await anext(stream)
    assert lost.value.task == task(WORKING, "one")


async def test_a_subscription_that_was_asked_for_records_after_a_seq_takes_the_snapshot_instead() -> None:
    played = plays(task(WORKING, "one"), status(COMPLETED))
    async with foreign(subscriptions=[played], gets=[task(COMPLETED, "one")]) as agent:
        async with connect(agent.address, **SOON) as client:
            stream = client.subscribe("t-1", after=7)
            assert await read(stream) == [task(WORKING, "one"), status(COMPLETED)]
            assert stream.seq is None


# -- waiting for an answer


@pytest.mark.parametrize("state", [INPUT_REQUIRED, AUTH_REQUIRED, COMPLETED, FAILED])
async def test_a_server_that_keeps_a_sends_stream_open_when_it_is_settled_does_not_hold_send(state: TaskState) -> None:
    async with foreign(sends=[stays_open(task(WORKING), status(state, "well?"))]) as agent:
        async with connect(agent.address, **SOON) as client, asyncio.timeout(30):
            answered = await client.send("hello")
    assert answered == task(state, said="well?")


async def test_a_first_element_that_asks_is_the_answer_to_a_first_message() -> None:
    async with foreign(sends=[stays_open(task(INPUT_REQUIRED, said="well?"))]) as agent:
        async with connect(agent.address, **SOON) as client, asyncio.timeout(30):
            assert await client.send("hello") == task(INPUT_REQUIRED, said="well?")


async def test_a_follow_up_does_not_take_the_question_it_answers_for_its_answer() -> None:
    """The first element is the task as it was before the message."""
    asked = task(INPUT_REQUIRED, said="well?")
    async with foreign(
        sends=[stays_open(asked, status(WORKING), chunk("one", append=False), status(COMPLETED))]
    ) as agent:
        async with connect(agent.address, **SOON) as client, asyncio.timeout(30):
            answered = await client.send("because", task_id="t-1")
    assert isinstance(answered, Task)
    assert answered.status.state == COMPLETED
    assert list(answered.artifacts) == list(task(COMPLETED, "one").artifacts)
    assert agent.requests[0].message.task_id == "t-1"


async def test_a_follow_up_waits_for_the_next_question() -> None:
    asked = task(INPUT_REQUIRED, said="well?")
    async with foreign(sends=[stays_open(asked, status(WORKING), status(INPUT_REQUIRED, "and?"))]) as agent:
        async with connect(agent.address, **SOON) as client, asyncio.timeout(30):
            answered = await client.send("because", task_id="t-1")
    assert isinstance(answered, Task)
    assert answered.status == task(INPUT_REQUIRED, said="and?").status


async def test_a_send_that_is_resumed_in_a_question_ends_there() -> None:
    asked = task(INPUT_REQUIRED, "one", said="well?")
    async with foreign(sends=[plays(task(WORKING))], subscriptions=[stays_open(asked)]) as agent:
        async with connect(agent.address, **SOON) as client, asyncio.timeout(30):
            assert await client.send("hello") == asked


async def test_a_cut_stream_of_a_send_ends_where_its_agent_asks() -> None:
    asked = task(INPUT_REQUIRED, "one", said="well?")
    async with foreign(sends=[plays(task(WORKING))], subscriptions=[stays_open(asked)]) as agent:
        events, stream = await streamed(agent)
    assert events == [task(WORKING), chunk("one", append=False), status(INPUT_REQUIRED, "well?")]
    assert stream.is_settled


async def test_a_send_that_is_cut_between_its_question_and_the_end_of_the_stream_ends_with_the_question() -> None:
    """A subscription after the question would stay open, and say nothing."""

    async def cut(context: Context) -> AsyncIterator[Event]:
        await context.send_initial_metadata((("a2a-grpc-seq", "1"),))
        async for event in breaks_off(grpc.StatusCode.UNAVAILABLE, task(WORKING), status(INPUT_REQUIRED, "well?"))(
            context
        ):
            yield event

    async with foreign(sends=[cut], subscriptions=[stays_open()]) as agent:
        async with connect(agent.address, **SOON) as client, asyncio.timeout(30):
            assert await client.send("hello") == task(INPUT_REQUIRED, said="well?")


async def test_a_first_element_whose_history_lacks_the_message_shows_the_authorization_that_it_answers() -> None:
    said = Message(message_id="m-0", role=ROLE_USER, parts=[Part(text="hello")])
    asked = task(AUTH_REQUIRED, said="sign in")
    asked.history.append(said)
    async with foreign(sends=[stays_open(asked, status(WORKING), status(COMPLETED))]) as agent:
        async with connect(agent.address, **SOON) as client, asyncio.timeout(30):
            answered = await client.send("done", task_id="t-1")
    assert isinstance(answered, Task)
    assert answered.status.state == COMPLETED


@pytest.mark.parametrize("operation", ["send", "stream", "start"])
async def test_an_agent_may_answer_with_a_message(operation: str) -> None:
    reply = Message(message_id="m-9", role=ROLE_AGENT, parts=[Part(text="hi")])
    async with foreign(sends=[plays(reply)], answers=[reply]) as agent:
        async with connect(agent.address, **SOON) as client:
            if operation == "stream":
                assert await read(client.stream("hello")) == [reply]
            else:
                assert await getattr(client, operation)("hello") == reply


# -- agents that do not stream


@covers("CARD-10")
@pytest.mark.parametrize("code", UNSUPPORTED)
async def test_a_send_to_an_agent_that_does_not_stream_asks_until_the_task_is_settled(
    code: grpc.StatusCode,
) -> None:
    end = task(COMPLETED, "one")
    async with foreign(
        sends=[breaks_off(code, reason="UNSUPPORTED_OPERATION")],
        answers=[task(SUBMITTED), task(COMPLETED, "at once")],
        gets=[task(WORKING), task(WORKING), end],
    ) as agent, connect(agent.address, **SOON) as client:  # fmt: skip
        assert await client.send("hello") == end
        assert agent.calls == ["SendStreamingMessage", "SendMessage", "GetTask", "GetTask", "GetTask"]
        assert await client.send("hello") == task(COMPLETED, "at once")
        assert agent.calls[5:] == ["SendMessage"], "known by now"
        assert all(request.configuration.return_immediately for request in agent.requests if is_send(request))


def is_send(request: object) -> bool:
    return hasattr(request, "configuration") and request.configuration.return_immediately


async def test_a_send_to_an_agent_that_does_not_stream_ends_where_it_asks() -> None:
    asked = task(INPUT_REQUIRED, said="well?")
    async with foreign(
        sends=[breaks_off(FAILED_PRECONDITION, reason="UNSUPPORTED_OPERATION")],
        answers=[task(WORKING)],
        gets=[task(WORKING), asked],
    ) as agent, connect(agent.address, **SOON) as client:  # fmt: skip
        assert await client.send("hello") == asked


@pytest.mark.parametrize("code", UNSUPPORTED)
async def test_waiting_for_a_task_of_an_agent_that_does_not_stream_asks_until_it_is_settled(
    code: grpc.StatusCode,
) -> None:
    end = task(COMPLETED, "one")
    async with foreign(
        subscriptions=[breaks_off(code, reason="UNSUPPORTED_OPERATION")], gets=[task(WORKING), task(WORKING), end]
    ) as agent, connect(agent.address, **SOON) as client:  # fmt: skip
        assert await client.wait("t-1") == end


async def test_waiting_for_an_ended_task_reads_it() -> None:
    end = task(FAILED, "one")
    async with foreign(
        subscriptions=[breaks_off(FAILED_PRECONDITION, reason="UNSUPPORTED_OPERATION")], gets=[end]
    ) as agent, connect(agent.address, **SOON) as client:  # fmt: skip
        assert await client.wait("t-1") == end
        assert agent.calls == ["SubscribeToTask", "GetTask"]


@covers("S2-5")
async def test_waiting_with_an_interval_makes_exactly_one_call_an_interval_until_it_is_settled() -> None:
    end = task(COMPLETED)
    async with foreign(gets=[task(WORKING), task(WORKING), task(WORKING), end]) as agent:
        async with connect(agent.address) as client:
            assert await client.wait("t-1", poll_s=0.01) == end
    assert agent.calls == ["GetTask"] * 4


async def test_waiting_for_a_task_that_is_not_there_is_not_found() -> None:
    async with foreign(
        subscriptions=[breaks_off(NOT_FOUND, reason="TASK_NOT_FOUND")],
        gets=[refuses(NOT_FOUND, "TASK_NOT_FOUND"), refuses(NOT_FOUND, "TASK_NOT_FOUND")],
    ) as agent, connect(agent.address, **SOON) as client:  # fmt: skip
        for poll_s in (None, 0.01):
            with pytest.raises(TaskNotFoundError) as unknown:
                await client.wait("t-1", poll_s=poll_s)
            assert not isinstance(unknown.value, TaskLostError)


async def test_leaving_a_stream_cancels_the_call_at_the_server() -> None:
    ended = asyncio.Event()

    async def watched(context: object) -> AsyncIterator[Task]:
        try:
            yield task(WORKING)
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with foreign(sends=[watched]) as agent, connect(agent.address) as client:
        async with client.stream("hello") as stream:
            assert isinstance(await anext(stream), Task)
        async with asyncio.timeout(30):
            await ended.wait()


async def test_a_status_with_metadata_in_a_snapshot_comes_as_an_event() -> None:
    later = task(WORKING)
    later.metadata["step"] = 2
    end = task(COMPLETED)
    end.metadata["step"] = 2
    async with foreign(
        sends=[plays(task(WORKING))], subscriptions=[plays(later, status(COMPLETED))], gets=[end]
    ) as agent:
        events, stream = await streamed(agent)
    assert isinstance(events[1], TaskStatusUpdateEvent)
    assert events[1].metadata["step"] == 2
    assert stream.task == end


# -- histories


@covers("HIST-5")
async def test_a_question_that_a_server_put_into_the_history_at_once_stands_there_once() -> None:
    question = Message(message_id="q", role=ROLE_AGENT, parts=[Part(text="Which date?")])
    answer = Message(message_id="a", role=ROLE_USER, parts=[Part(text="tomorrow")])
    asked = task(INPUT_REQUIRED)
    asked.status.message.CopyFrom(question)
    asked.history.extend([question, answer])
    async with foreign(sends=[plays(asked, status(WORKING), status(COMPLETED))]) as agent:
        _, stream = await streamed(agent)
    assert stream.task is not None
    assert list(stream.task.history) == [question, answer]
