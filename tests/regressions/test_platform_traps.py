"""The traps of grpc.aio that concern a server, each sprung by a real client."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from a2a_grpc import Agent, TaskState, Turn
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.parts import text_of
from a2a_grpc.wire import (
    SERVICE,
    SERVICE_NAME,
    CancelTaskRequest,
    ListTasksRequest,
    StreamResponse,
    SubscribeToTaskRequest,
)
from tests.covers import covers
from tests.harness import (
    V1,
    Served,
    elements,
    event_state,
    eventually,
    message,
    refusal,
    request,
    scripted,
    scripted_agent,
    serving,
)
from tests.proxy import Proxy
from tests.regressions.counting import asyncio_tasks
from tests.regressions.faults import (
    ACK,
    PING,
    UNBUFFERED,
    Frame,
    Http2,
    blocked,
    connection,
    every_rpc,
    followers,
    open_streams,
    reaches,
)

MAX_CONCURRENT_STREAMS = 3
"""The identifier of that setting in HTTP/2's SETTINGS."""

LARGE = [{"chunks": {"count": 40, "text": "x" * 65_536}}]
"""A script that says 2.6 MB: more than a connection holds."""


def nothing_left(served: Served) -> Callable[[], None]:
    def check() -> None:
        assert (open_streams(served), followers(served)) == (0, 0)

    return check


# -- ports


async def test_a_port_is_shared_by_the_servers_that_ask_for_it_with_reuse_port() -> None:
    async with serving(scripted_agent(), reuse_port=True) as first:
        async with serving(scripted_agent(), listen=first.server.grpc_address, reuse_port=True) as second:
            assert second.server.grpc_address == first.server.grpc_address
        assert (await first.stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size == 0


# -- max_concurrent_streams


async def test_a_server_with_defaults_announces_a_limit_of_concurrent_streams(served: Served) -> None:
    async with asyncio.timeout(30), Http2.open(served.server.grpc_address) as bare:
        assert (await bare.settings())[MAX_CONCURRENT_STREAMS] == 100


async def test_calls_over_the_limit_of_a_connection_wait_while_other_connections_are_served() -> None:
    async with serving(scripted_agent(), max_streams_per_connection=2) as served:
        tasks = [await served.start({"sleep": 600}) for _ in range(3)]
        async with connection(served.server.grpc_address) as greedy:
            calls: list[Any] = []
            for task in tasks[:2]:
                calls.append(greedy.SubscribeToTask(SubscribeToTaskRequest(id=task.id), metadata=V1))
                await elements(calls[-1], 1)
            third: Any = greedy.SubscribeToTask(SubscribeToTaskRequest(id=tasks[2].id), metadata=V1)
            waiting = asyncio.create_task(elements(third, 1))
            for task in tasks * 10:
                await served.get(task.id)
            assert not waiting.done()
            assert open_streams(served) == 2

            calls[0].cancel()

            [first] = await waiting
            assert first.task.id == tasks[2].id


async def test_a_connection_that_opens_and_resets_streams_in_a_hurry_disturbs_no_other(served: Served) -> None:
    task = await served.start({"sleep": 600})

    async with connection(served.server.grpc_address) as hasty:

        async def reset() -> None:
            for _ in range(30):
                calls = [hasty.SubscribeToTask(SubscribeToTaskRequest(id=task.id), metadata=V1) for _ in range(50)]
                await asyncio.sleep(0)
                for call in calls:
                    call.cancel()

        resetting = asyncio.create_task(reset())
        good = [await served.send(request(str(i))) for i in range(60)]
        await resetting
    assert [response.task.artifacts[0].parts[0].text for response in good] == [str(i) for i in range(60)]
    await eventually(nothing_left(served))


# -- keepalive


@covers("Q2")
async def test_pings_at_the_permitted_interval_are_answered_without_end() -> None:
    async with (
        serving(scripted_agent(), min_ping_interval_s=0.02) as served,
        asyncio.timeout(60),
        Http2.open(served.server.grpc_address) as bare,
    ):
        for number in range(12):
            bare.write(PING, 0, number.to_bytes(8))
            assert (await bare.until(PING, ACK)).payload == number.to_bytes(8)
            await asyncio.sleep(0.06)


@covers("Q2")
async def test_pings_in_a_hurry_end_their_connection_with_too_many_pings_if_an_interval_is_set() -> None:
    async with (
        serving(scripted_agent(), min_ping_interval_s=10.0) as served,
        asyncio.timeout(60),
        Http2.open(served.server.grpc_address) as bare,
    ):
        answers = list[Frame]()
        while not answers or answers[-1].kind == PING:
            bare.write(PING, 0, len(answers).to_bytes(8))
            answers.append(await bare.answer())
        assert 1 < len(answers) < 12
        assert answers[-1].payload[8:] == b"too_many_pings"


@covers("OPEN-27")
@pytest.mark.parametrize("steps", [[{"sleep": 600}], LARGE], ids=["silent", "blocked in a write"])
async def test_keepalive_ends_the_calls_of_a_peer_that_stalls(steps: list[Any]) -> None:
    async with (
        serving(scripted_agent(), keepalive_time_s=1, keepalive_timeout_s=1) as served,
        Proxy(served.server.grpc_address) as proxy,
        connection(proxy.address, UNBUFFERED) as stalled,
    ):
        call: Any = stalled.SendStreamingMessage(scripted(*steps), metadata=V1)
        await elements(call, 1)
        proxy.stall()
        assert open_streams(served) == 1
        await eventually(nothing_left(served), within_s=60)


# -- errors


async def _raw(served: Served, rpc: str, body: bytes) -> bytes:
    """Sends bytes as the request of an RPC: the response's bytes, or the first element's."""
    path, channel = f"/{SERVICE_NAME}/{rpc}", cast(Any, served.channel)
    if SERVICE.methods_by_name[rpc].server_streaming:
        return b"".join([element async for element in channel.unary_stream(path)(body, metadata=V1)][:1])
    response: bytes = await channel.unary_unary(path)(body, metadata=V1)
    return response


@covers("VAL-1")
@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x0a\x7fshort", b"\x0a\x02\xc3\x28"], ids=["tag", "cut", "utf-8"])
@pytest.mark.parametrize("rpc", every_rpc())
async def test_a_malformed_protobuf_is_an_invalid_argument_that_names_the_request(
    served: Served, rpc: str, body: bytes
) -> None:
    name = SERVICE.methods_by_name[rpc].input_type.name
    refused = await refusal(_raw(served, rpc, body))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMS")
    assert refused.fields == [name]
    assert refused.text == f"{name}: the request is not a valid {name}: malformed, not UTF-8, or nested too deeply"


# -- streams that end before their time


@covers("P3")
@pytest.mark.parametrize("how", ["canceled", "disconnected", "timed out"])
async def test_a_client_that_leaves_during_a_blocked_write_leaves_nothing_behind(
    served: Served, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    await served.stub.ListTasks(ListTasksRequest(), metadata=V1)
    before = asyncio_tasks()
    with caplog.at_level(logging.WARNING):
        async with connection(served.server.grpc_address, UNBUFFERED) as leaving:
            timeout = 1.0 if how == "timed out" else None
            call: Any = leaving.SendStreamingMessage(scripted(*LARGE), metadata=V1, timeout=timeout)
            [first] = await elements(call, 1)
            await reaches(served, first.task.id, COMPLETED)
            if how != "timed out":
                await blocked(served, first.task.id)
            if how == "canceled":
                call.cancel()
            if how != "disconnected":
                await eventually(nothing_left(served))
        await eventually(nothing_left(served))

        def no_tasks() -> None:
            assert not asyncio_tasks() - before

        await eventually(no_tasks)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@covers("G9")
async def test_a_stream_that_is_blocked_in_a_write_when_the_server_drains_does_not_end_ok(served: Served) -> None:
    async with connection(served.server.grpc_address, UNBUFFERED) as slow:
        call: Any = slow.SendStreamingMessage(scripted(*LARGE, {"sleep": 600}), metadata=V1)
        [first] = await elements(call, 1)

        async def said() -> None:
            assert len((await served.get(first.task.id)).artifacts[0].parts) == 40

        await eventually(said)
        async with asyncio.timeout(60):
            await served.server.stop()
            assert open_streams(served) == 0

            with pytest.raises(grpc.aio.AioRpcError) as cut:
                await elements(call)
        assert cut.value.code() is not grpc.StatusCode.OK
        assert cut.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


async def test_stop_returns_after_the_handlers_of_the_streams_that_it_ended(served: Served) -> None:
    task = await served.start({"input": "Which?"})
    await reaches(served, task.id, TaskState.TASK_STATE_INPUT_REQUIRED)
    calls = [served.subscribe(task.id) for _ in range(50)]
    for call in calls:
        await elements(call, 1)
    assert open_streams(served) == asyncio_tasks()["_schedule_rpc_coro"] == 50

    await served.server.stop()

    assert open_streams(served) == 0
    assert asyncio_tasks()["_schedule_rpc_coro"] == 0
    for call in calls:
        ended = await refusal(call)
        assert (ended.code, ended.reason) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")
        assert ended.retry_after_s == 1.0


@covers("OPEN-27")
async def test_connection_age_cuts_with_unavailable_and_resuming_loses_and_repeats_nothing() -> None:
    cuts, wanted = list[grpc.StatusCode](), 3
    agent = Agent("Endless", "Goes on until its reader was cut off often enough.")

    @agent.skill()
    async def go_on(turn: Turn) -> AsyncIterator[str]:
        number = 0
        while len(cuts) < wanted:
            yield f"{number} "
            number += 1
            await asyncio.sleep(0.01)

    async with serving(agent, max_connection_age_s=0.3, max_connection_age_grace_s=0.1) as served:
        call: Any = served.stream(request())
        events = list(await elements(call, 1))
        task_id = events[0].task.id
        async with asyncio.timeout(60):
            while event_state(events[-1]) != COMPLETED:
                try:
                    async for event in call:
                        events.append(event)
                except grpc.aio.AioRpcError as cut:
                    cuts.append(cut.code())
                    call = served.subscribe(task_id, ("a2a-grpc-after", str(len(events))))
        assert len(cuts) >= wanted
        assert set(cuts) == {grpc.StatusCode.UNAVAILABLE}

        async with connection(served.server.grpc_address) as fresh:
            whole: Any = fresh.SubscribeToTask(
                SubscribeToTaskRequest(id=task_id), metadata=(*V1, ("a2a-grpc-after", "1"))
            )
            assert serialized(events[1:]) == serialized(list(await elements(whole)))
        said = "".join(text_of(event.artifact_update.artifact) for event in events)
        assert said == "".join(f"{i} " for i in range(len(said.split())))


def serialized(events: list[StreamResponse]) -> list[bytes]:
    return [event.SerializeToString() for event in events]


# -- admission


@covers("OPEN-27")
async def test_over_max_calls_a_call_is_refused_at_once_while_streams_are_still_let_in() -> None:
    async with serving(scripted_agent(), max_calls=1) as served:
        stream = served.stream(scripted({"input": "Which?"}))
        task_id = (await elements(stream))[0].task.id
        waiting = asyncio.ensure_future(served.send(scripted({"sleep": 600})))
        subscription = served.subscribe(task_id)
        await elements(subscription, 1)

        async def full() -> None:
            refused = await refusal(served.get(task_id))
            assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED")
            assert (refused.text, refused.retry_after_s) == ("1 calls are open, the limit", 1.0)

        await eventually(full)
        events = await elements(served.stream(request()))
        assert event_state(events[-1]) == COMPLETED

        waiting.cancel()
        await eventually(lambda: served.get(task_id) if _has_room(served) else _fail("full"))
        assert (await served.get(task_id)).id == task_id
        subscription.cancel()


def _has_room(served: Served) -> bool:
    return not served.server._running.calls._running[False]


def _fail(text: str) -> None:
    raise AssertionError(text)


@covers("OPEN-27")
async def test_over_max_streams_a_stream_is_refused_at_once_while_calls_are_still_let_in() -> None:
    async with serving(scripted_agent(), max_streams=2) as served:
        task = await served.start({"input": "Which?"})
        calls = [served.subscribe(task.id) for _ in range(2)]
        for call in calls:
            await elements(call, 1)
        for refusable in (served.subscribe(task.id), served.stream(request())):
            refused = await refusal(refusable)
            assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED")
            assert (refused.text, refused.retry_after_s) == ("2 streams are open, the limit", 1.0)
        assert (await served.send(request())).task.status.state == COMPLETED
        listed = await served.stub.ListTasks(ListTasksRequest(), metadata=V1)
        assert listed.total_size == 2  # what was refused has made no task

        calls[0].cancel()

        def room() -> None:
            assert open_streams(served) == 1

        await eventually(room)
        assert event_state((await elements(served.stream(request())))[-1]) == COMPLETED


@covers("G11")
async def test_over_the_bytes_in_flight_a_request_is_refused_at_once_and_taken_when_there_is_room() -> None:
    agent, go = Agent("Waits", "Waits for a word."), asyncio.Event()

    @agent.skill()
    async def wait(turn: Turn) -> str:
        await go.wait()
        return "done"

    async with serving(agent, max_bytes_in_flight=2048, max_receive_bytes=2048) as served:
        body = request(message("x" * 1500))
        waiting = asyncio.ensure_future(served.send(body))

        async def one_task() -> None:
            assert (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size == 1

        await eventually(one_task)
        refused = await refusal(served.send(body))
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED")
        assert refused.retry_after_s == 1.0
        await one_task()

        go.set()
        assert (await waiting).task.status.state == COMPLETED
        assert (await served.send(body)).task.status.state == COMPLETED


@covers("G11")
async def test_call_metadata_that_is_too_large_is_refused_and_the_connection_goes_on(served: Served) -> None:
    call: Any = served.stub.ListTasks(ListTasksRequest(), metadata=(*V1, ("x-large", "x" * 20_000)))
    assert (await refusal(call)).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    call = served.stub.ListTasks(ListTasksRequest(), metadata=(*V1, ("x-large", "x" * 12_000)))
    assert (await call).total_size == 0


@covers("OPEN-27")
async def test_a_request_that_is_too_large_is_refused_and_the_connection_goes_on(served: Served) -> None:
    refused = await refusal(served.send(request("x" * (4 << 20))))
    assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size == 0


# -- health, reflection


@pytest.mark.parametrize("service", ["", SERVICE_NAME])
async def test_health_is_serving_for_the_server_and_for_the_service(served: Served, service: str) -> None:
    health = health_pb2_grpc.HealthStub(served.channel)
    found = await health.Check(health_pb2.HealthCheckRequest(service=service))
    assert found.status == health_pb2.HealthCheckResponse.SERVING


async def test_health_of_an_unknown_service_is_not_found(served: Served) -> None:
    health = health_pb2_grpc.HealthStub(served.channel)
    call = health.Check(health_pb2.HealthCheckRequest(service="no.such.Service"))
    assert (await refusal(call)).code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("service", ["", SERVICE_NAME])
async def test_a_watcher_of_health_hears_not_serving_while_runs_are_still_finishing(service: str) -> None:
    agent, go = Agent("Waits", "Waits for a word."), asyncio.Event()

    @agent.skill()
    async def wait(turn: Turn) -> str:
        await go.wait()
        return "done"

    async with serving(agent) as served:
        health = health_pb2_grpc.HealthStub(served.channel)
        watcher: Any = health.Watch(health_pb2.HealthCheckRequest(service=service))
        assert [status.status for status in await elements(watcher, 1)] == [health_pb2.HealthCheckResponse.SERVING]  # type: ignore[attr-defined]
        await elements(served.stream(request()), 2)

        stopping = asyncio.create_task(served.server.stop(60))
        [heard] = await elements(watcher, 1)

        assert heard.status == health_pb2.HealthCheckResponse.NOT_SERVING  # type: ignore[attr-defined]
        checked = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert checked.status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert (await refusal(served.send(request()))).code is grpc.StatusCode.UNAVAILABLE
        assert not stopping.done()
        go.set()
        await stopping


@covers("S2-53")
async def test_a_run_that_finishes_in_the_grace_is_seen_to_its_end_by_every_stream() -> None:
    agent, go = Agent("Waits", "Waits for a word."), asyncio.Event()

    @agent.skill()
    async def wait(turn: Turn) -> str:
        await go.wait()
        for i in range(5):
            await turn.artifact(f"{i} ", id="words", append=True)
        return "done"

    async with serving(agent) as served:
        sending = served.stream(request())
        task_id = (await elements(sending, 2))[0].task.id
        calls = [sending, *[served.subscribe(task_id) for _ in range(20)]]
        for call in calls[1:]:
            await elements(call, 1)
        readers = [asyncio.create_task(_ending(call)) for call in calls]
        stopping = asyncio.create_task(served.server.stop(60))

        async def draining() -> None:
            assert (await refusal(served.send(request()))).code is grpc.StatusCode.UNAVAILABLE

        await eventually(draining)
        go.set()
        await stopping
        assert [await reader for reader in readers] == [(grpc.StatusCode.OK, COMPLETED)] * 21


async def _ending(call: Any) -> tuple[grpc.StatusCode, int]:
    """The status of a stream, with the last state it told."""
    state = 0
    try:
        async for event in call:
            state = event_state(event) or state
    except grpc.aio.AioRpcError as error:
        return error.code(), state
    return await call.code(), state


async def _reflected(served: Served, asked: reflection_pb2.ServerReflectionRequest) -> Any:
    stub = reflection_pb2_grpc.ServerReflectionStub(served.channel)
    [answer] = await elements(stub.ServerReflectionInfo(iter([asked])))
    return answer


async def test_reflection_lists_the_services(served: Served) -> None:
    answer = await _reflected(served, reflection_pb2.ServerReflectionRequest(list_services=""))
    assert sorted(service.name for service in answer.list_services_response.service) == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "lf.a2a.v1.A2AService",
    ]


async def test_reflection_v1_answers_as_v1alpha_does_and_describes_itself(served: Served) -> None:
    """Newer tools ask for v1 alone; its messages have the same bytes."""
    ask = served.channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    for asked in (
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE_NAME),
    ):
        assert await elements(ask(iter([asked]))) == [await _reflected(served, asked)]
    for symbol in ("ServerReflection", "ServerReflection.ServerReflectionInfo", "ServerReflectionRequest"):
        asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol=f"grpc.reflection.v1.{symbol}")
        answer: Any
        [answer] = await elements(ask(iter([asked])))
        [file] = map(FileDescriptorProto.FromString, answer.file_descriptor_response.file_descriptor_proto)
        assert (file.package, file.service[0].name) == ("grpc.reflection.v1", "ServerReflection")
        assert file.service[0].method[0].input_type == ".grpc.reflection.v1.ServerReflectionRequest"


async def test_reflection_gives_the_whole_contract(served: Served) -> None:
    asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE_NAME)
    answer = await _reflected(served, asked)
    files = map(FileDescriptorProto.FromString, answer.file_descriptor_response.file_descriptor_proto)
    contract = FileDescriptorProto()
    SERVICE.file.CopyToProto(contract)
    assert [file for file in files if file.name == "a2a.proto"] == [contract]


@pytest.mark.parametrize("symbol", [f"{SERVICE_NAME}.GetTask", "lf.a2a.v1.Task", "grpc.health.v1.Health.Check"])
async def test_reflection_finds_methods_as_well_as_messages(served: Served, symbol: str) -> None:
    answer = await _reflected(served, reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
    assert answer.file_descriptor_response.file_descriptor_proto


@pytest.mark.parametrize("symbol", [f"{SERVICE_NAME}.GetTusk", "lf.a2a.v1.Tusk", "GetTask", ""])
async def test_reflection_says_which_symbol_it_does_not_know(served: Served, symbol: str) -> None:
    answer = await _reflected(served, reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


async def test_health_and_reflection_are_off_where_they_are_turned_off() -> None:
    async with serving(scripted_agent(), health=False, reflection=False) as served:
        check = health_pb2_grpc.HealthStub(served.channel).Check(health_pb2.HealthCheckRequest())
        assert (await refusal(check)).code is grpc.StatusCode.UNIMPLEMENTED
        with pytest.raises(grpc.aio.AioRpcError) as absent:
            await _reflected(served, reflection_pb2.ServerReflectionRequest(list_services=""))
        assert absent.value.code() is grpc.StatusCode.UNIMPLEMENTED


@covers("G8")
async def test_a_task_is_canceled_for_every_reader_even_one_that_is_blocked_in_a_write(served: Served) -> None:
    async with connection(served.server.grpc_address, UNBUFFERED) as slow:
        call: Any = slow.SendStreamingMessage(scripted(*LARGE, {"sleep": 600}), metadata=V1)
        [first] = await elements(call, 1)
        await served.stub.CancelTask(CancelTaskRequest(id=first.task.id), metadata=V1)
        assert event_state((await elements(call))[-1]) == TaskState.TASK_STATE_CANCELED
        assert await call.code() is grpc.StatusCode.OK
