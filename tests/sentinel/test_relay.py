"""Calls through a sentinel: byte for byte those of a direct call, and none disturbs another."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from a2a_grpc import connect
from a2a_grpc.errors import A2AError
from a2a_grpc.parts import text_of
from a2a_grpc.rpc import arrivals
from a2a_grpc.wire import (
    SERVICE,
    CancelTaskRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskState,
)
from tests.covers import covers
from tests.harness import V1, Served, decoded, eventually, refusal, request, scripted, scripted_agent, texts
from tests.sentinel.tunnels import ADDRESS, attached, attached_raw, channel_to, ended, sentinel, stream, unary

REQUEST = GetTaskRequest(tenant=ADDRESS, id="t").SerializeToString()


@pytest.fixture
async def through() -> AsyncIterator[Served]:
    async with sentinel() as running, attached(scripted_agent(), running.address) as served:
        yield served


async def test_a_client_that_names_the_logical_address_sends_streams_and_cancels_as_directly(through: Served) -> None:
    public = through.server.card.supported_interfaces[0]
    assert public.tenant == ADDRESS
    async with connect(ADDRESS, sentinel=public.url) as client:
        task = await client.send("hello")
        assert isinstance(task, Task)
        assert texts(task) == ["hello"]
        events = [event async for event in client.stream("again")]
        assert isinstance(events[0], Task)
        async with client.stream({"script": [{"sleep": {"seconds": 60}}]}) as running:
            first = await anext(aiter(running))
            assert isinstance(first, Task)
            canceled = await client.cancel(first.id)
            assert canceled.status.state == TaskState.TASK_STATE_CANCELED
        with pytest.raises(A2AError) as refused:
            await client.get("unknown")
        assert refused.value.reason == "TASK_NOT_FOUND"


async def test_each_refusal_of_the_agent_is_the_same_through_the_sentinel_byte_for_byte(through: Served) -> None:
    requests: dict[str, Any] = {
        "GetTask": GetTaskRequest(id="nope", tenant=ADDRESS),
        "CancelTask": CancelTaskRequest(id="nope", tenant=ADDRESS),
        "SubscribeToTask": SubscribeToTaskRequest(id="nope", tenant=ADDRESS),
        "SendMessage": SendMessageRequest(tenant=ADDRESS),
        "SendStreamingMessage": SendMessageRequest(tenant=ADDRESS),
        "ListTasks": ListTasksRequest(tenant=ADDRESS, page_size=5000),
        "ListTaskPushNotificationConfigs": ListTaskPushNotificationConfigsRequest(tenant=ADDRESS, task_id="nope"),
    }
    async with channel_to(through.server.grpc_address) as direct:
        for method in SERVICE.methods:
            sent = requests.get(method.name, GetTaskRequest(tenant=ADDRESS, id="nope")).SerializeToString()
            for metadata in (V1, (), (("a2a-version", "9.9"),)):
                make = stream if method.server_streaming else unary
                ours, theirs = [
                    await ended(make(channel, method.name)(sent, metadata=metadata))
                    for channel in (through.channel, direct)
                ]
                assert ours == theirs, method.name
                assert ours[1] is not grpc.StatusCode.OK


@covers("META-6")
async def test_metadata_of_every_kind_pass_in_both_directions() -> None:
    seen: list[Any] = []

    async def serve(request: bytes, context: Any) -> bytes:
        seen.append([entry for entry in context.invocation_metadata() if entry[0].startswith("x-")])
        await context.send_initial_metadata((("x-initial", "1"), ("x-initial", "2"), ("x-first-bin", b"\x00\xff")))
        context.set_trailing_metadata((("x-last", "ü".encode().hex()), ("x-last-bin", b"\xfe")))
        if b"fail" in request:
            await context.abort(grpc.StatusCode.DATA_LOSS, "größer 100 %", (("x-why-bin", b"\x01\x02"),))
        return request + b"\x00"

    sent = (("x-a", "1"), ("x-a", "2"), ("x-b-bin", b"\x00\x01\xff"))
    async with sentinel() as running, attached_raw(serve, running.address) as channels:
        for raw in (REQUEST, GetTaskRequest(tenant=ADDRESS, id="fail").SerializeToString()):
            ours, theirs = [await ended(unary(channel)(raw, metadata=sent)) for channel in channels]
            assert ours == theirs
            assert ours[3]
            assert seen == [list(sent), list(sent)]
            seen.clear()


async def test_credentials_of_callers_stay_at_the_sentinel_unless_it_passes_them_on() -> None:
    seen: list[str] = []

    async def serve(request: bytes, context: Any) -> bytes:
        seen.extend(str(value) for key, value in context.invocation_metadata() if key == "authorization")
        return b""

    for passes in (False, True):
        async with sentinel(pass_credentials=passes) as running, attached_raw(serve, running.address) as (ours, _):
            await unary(ours)(REQUEST, metadata=(("authorization", "Bearer t"),))
        assert seen == (["Bearer t"] if passes else [])


async def test_the_agent_sees_the_deadline_and_the_end_of_a_call() -> None:
    left: list[float] = []
    canceled = asyncio.Event()

    async def serve(request: bytes, context: Any) -> bytes:
        left.append(context.time_remaining())
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            canceled.set()
            raise
        return b""

    async with sentinel() as running, attached_raw(serve, running.address) as (ours, _):
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await unary(ours)(REQUEST, timeout=2.0)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert 0 < left[0] <= 2.1
        await asyncio.wait_for(canceled.wait(), 30)
        canceled.clear()
        call = unary(ours)(REQUEST)
        await eventually(lambda: _equal(len(left), 2))
        call.cancel()
        await asyncio.wait_for(canceled.wait(), 30)


def _equal(left: object, right: object) -> None:
    assert left == right


async def test_a_reader_that_stops_reading_holds_its_stream_and_no_other() -> None:
    written = 0

    async def serve(request: bytes, context: Any) -> bytes | None:
        nonlocal written
        if b"large" not in request:
            return b"small"
        for _ in range(100):
            await context.write(bytes(1 << 20))
            written += 1
        return None

    async with sentinel() as running, attached_raw(serve, running.address) as (ours, _):
        async with channel_to(running.address) as other:
            large = SubscribeToTaskRequest(tenant=ADDRESS, id="large").SerializeToString()
            stuck = stream(ours)(large)
            rest = aiter(stuck)
            assert len(await anext(rest)) == 1 << 20
            for _ in range(200):
                assert await unary(other)(REQUEST) == b"small"
            assert await unary(ours)(REQUEST) == b"small"
            assert written < 12, "the agent waits for the reader"
            assert [len(element) async for element in rest] == [1 << 20] * 99


@pytest.mark.long
async def test_a_thousand_calls_are_open_at_the_same_time_on_one_tunnel() -> None:
    waiting = 0
    go = asyncio.Event()

    async def serve(request: bytes, context: Any) -> bytes | None:
        nonlocal waiting
        waiting += 1
        await go.wait()
        await context.write(request)
        return None

    async with sentinel() as running, attached_raw(serve, running.address) as (ours, _):
        channels = [ours]
        async with asyncio.TaskGroup() as group:
            async with _channels(running.address, 11) as more:
                channels += more
                calls = [
                    group.create_task(_elements(stream(channels[number % len(channels)]), f"t-{number}"))
                    for number in range(1000)
                ]
                await eventually(lambda: _equal(waiting, 1000), within_s=60)
                go.set()
                for number, call in enumerate(calls):
                    [element] = await call
                    assert SubscribeToTaskRequest.FromString(element).id == f"t-{number}"


@pytest.mark.long
async def test_a_thousand_calls_at_once_of_twelve_clients_all_get_the_agents_answer(
    through: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "WAIT_S", 60.0)  # a busy machine takes longer than a server lets calls wait
    monkeypatch.setattr(arrivals, "HURRIED_S", 60.0)
    sent = GetTaskRequest(tenant=ADDRESS, id="nope").SerializeToString()
    at = through.server.card.supported_interfaces[0].url
    async with _channels(at, 12) as channels:
        calls = [ended(unary(channels[number % 12])(sent, metadata=V1)) for number in range(1000)]
        answers = await asyncio.gather(*calls)
    assert {answer[1] for answer in answers} == {grpc.StatusCode.NOT_FOUND}


async def test_messages_of_1_mib_pass_beside_small_ones_in_both_directions() -> None:
    async def serve(request: bytes, context: Any) -> bytes:
        return request

    async with sentinel() as running, attached_raw(serve, running.address) as (ours, _):
        async with channel_to(running.address) as other, asyncio.TaskGroup() as group:
            calls = []
            for number in range(300):
                size = 1 << 20 if number % 10 == 0 else 100
                sent = GetTaskRequest(tenant=ADDRESS, id=f"{number}-".ljust(size, "x")).SerializeToString()
                calls.append((sent, group.create_task(_answer(unary(other if number % 2 else ours)(sent)))))
    assert [call.result() == sent for sent, call in calls] == [True] * 300


async def _answer(call: Any) -> bytes:
    answer: bytes = await call
    return answer


async def _elements(method: Any, id: str) -> list[bytes]:
    call = method(SubscribeToTaskRequest(tenant=ADDRESS, id=id).SerializeToString())
    return [element async for element in call]


class _channels:
    def __init__(self, address: str, number: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._made = [grpc.aio.insecure_channel(address, options=options) for _ in range(number)]

    async def __aenter__(self) -> list[grpc.aio.Channel]:
        return self._made

    async def __aexit__(self, *_: object) -> None:
        for channel in self._made:
            await channel.close()


async def test_an_unknown_address_and_one_whose_agent_is_away_get_the_same_answer() -> None:
    async with sentinel() as running, channel_to(running.address) as channel:
        async with attached(scripted_agent(), running.address, "gone@fame.fabric"):
            pass
        answers = [
            await ended(unary(channel)(GetTaskRequest(tenant=tenant).SerializeToString()))
            for tenant in ("gone@fame.fabric", "never@fame.fabric")
        ]
        assert answers[0] == answers[1]
        refused = await refusal(unary(channel)(GetTaskRequest(tenant="never@fame.fabric").SerializeToString()))
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "AGENT_NOT_ATTACHED")


@pytest.mark.parametrize(
    "tenant",
    ["", "plain", "Upper@fame.fabric", "a@b@c", "@fame", "a@", "a@-b", "a@b/", "a@b//c", "а@fame.fabric", "a" * 300],
)
async def test_a_tenant_that_is_no_logical_address_is_refused_by_its_name(tenant: str) -> None:
    async with sentinel() as running, channel_to(running.address) as channel:
        refused = await refusal(unary(channel)(GetTaskRequest(tenant=tenant).SerializeToString()))
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refused.fields == ["tenant"]


async def test_bytes_that_are_no_request_are_refused() -> None:
    async with sentinel() as running, channel_to(running.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await unary(channel)(b"\xff\xff\xff")
        assert decoded(refused.value).code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stub_with_the_tenant_runs_a_task_and_lists_it(through: Served) -> None:
    response = await through.send(request("hello", tenant=ADDRESS))
    assert [text_of(artifact) for artifact in response.task.artifacts] == ["hello"]
    listed = await through.stub.ListTasks(ListTasksRequest(tenant=ADDRESS), metadata=V1)
    assert [task.id for task in listed.tasks] == [response.task.id]
    events = [event async for event in through.stream(scripted({"chunks": {"count": 50}}, tenant=ADDRESS))]
    pieces = [text_of(event.artifact_update.artifact) for event in events if event.HasField("artifact_update")]
    assert "".join(pieces).split() == [word for number in range(50) for word in ("chunk", str(number))]
