"""Whatever bytes an agent sends, a caller gets a result that can be used or an A2AError.

FUZZ_EXAMPLES in the environment is how many examples each test tries.
"""

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message as ProtobufMessage
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2a_grpc import Client, connect, data_of, text_of
from a2a_grpc.client import RemoteAgent, TaskNotCompletedError, files_of, progress_of, state_name
from a2a_grpc.client.responses import SMALL_BYTES, reader, value_problem
from a2a_grpc.client.status import to_error
from a2a_grpc.errors import A2AError, InvalidAgentResponseError
from a2a_grpc.lifecycle import WORKING
from a2a_grpc.protocol import STATUS_DETAILS, Key
from a2a_grpc.wire import (
    SERVICE,
    AgentCapabilities,
    AgentCard,
    AgentExtension,
    Artifact,
    ListTasksResponse,
    Message,
    Part,
    SendMessageResponse,
    StreamResponse,
    Task,
    TaskArtifactUpdateEvent,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from tests.attacks import http2
from tests.attacks.http2 import ScriptedServer
from tests.client.peers import ANSWERS, DONE, OPERATIONS, RPCS, Failure, Peer, collected, peering

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "50"))
PROFILE = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
KINDS: dict[str, Any] = {method.name: message_factory.GetMessageClass(method.output_type) for method in SERVICE.methods}

# -- what an agent may send

numbers = st.floats() | st.integers(-(2**53), 2**53).map(float)
int64 = st.integers(-(2**63), 2**63 - 1)
int32 = st.integers(-(2**31), 2**31 - 1)
text = st.text(max_size=8) | st.sampled_from(["\x00", "\x1b]0;x\x07", "\u202e", "a" * 5000])
values: st.SearchStrategy[Value] = st.recursive(
    st.builds(Value) | st.builds(Value, number_value=numbers) | st.builds(Value, string_value=text),
    lambda inner: (
        st.builds(Value, list_value=st.builds(ListValue, values=st.lists(inner, max_size=3)))
        | st.builds(Value, struct_value=st.builds(Struct, fields=st.dictionaries(text, inner, max_size=3)))
    ),
    max_leaves=6,
)
structs = st.builds(Struct, fields=st.dictionaries(text, values, max_size=2))
times = st.builds(Timestamp, seconds=int64 | st.integers(0, 4_000_000_000), nanos=int32 | st.integers(0, 999_999_999))
parts = (
    st.builds(Part, text=text, metadata=structs)
    | st.builds(Part, data=values)
    | st.builds(Part, raw=st.binary(max_size=5))
    | st.builds(Part)
)
messages = st.builds(Message, message_id=text, role=int32, parts=st.lists(parts, max_size=3), metadata=structs)
statuses = st.builds(TaskStatus, state=st.integers(0, 9) | int32, message=messages, timestamp=times)
artifacts = st.builds(Artifact, artifact_id=text, parts=st.lists(parts, max_size=3), metadata=structs)
tasks = st.builds(
    Task,
    id=st.just("t-1") | text,
    context_id=text,
    status=statuses,
    artifacts=st.lists(artifacts, max_size=2),
    history=st.lists(messages, max_size=2),
    metadata=structs,
)
events = (
    st.builds(StreamResponse, task=tasks)
    | st.builds(StreamResponse, message=messages)
    | st.builds(StreamResponse, status_update=st.builds(TaskStatusUpdateEvent, task_id=text, status=statuses))
    | st.builds(StreamResponse, artifact_update=st.builds(TaskArtifactUpdateEvent, task_id=text, artifact=artifacts))
)
extensions = st.builds(AgentExtension, uri=text, params=structs)
cards = st.builds(
    AgentCard,
    name=text,
    capabilities=st.builds(AgentCapabilities, extensions=st.lists(extensions, max_size=2)),
)
SENT: dict[str, st.SearchStrategy[Any]] = {
    **{rpc: st.just(answer) for rpc, answer in ANSWERS.items()},
    "SendMessage": st.builds(SendMessageResponse, task=tasks) | st.builds(SendMessageResponse, message=messages),
    "GetTask": tasks,
    "CancelTask": tasks,
    "ListTasks": st.builds(ListTasksResponse, tasks=st.lists(tasks, max_size=2), next_page_token=st.just("")),
    "SendStreamingMessage": events,
    "SubscribeToTask": events,
    "GetExtendedAgentCard": cards,
}


@st.composite
def answers(draw: st.DrawFn) -> tuple[str, bytes]:
    """An RPC with the bytes of an answer: any, or those of a message, now and then damaged."""
    rpc = draw(st.sampled_from(RPCS))
    if draw(st.integers(0, 9)) == 0:
        return rpc, draw(st.binary(max_size=100))
    raw = bytearray(draw(SENT[rpc]).SerializeToString())
    for _ in range(draw(st.sampled_from([0, 0, 1, 4]))):
        place = draw(st.integers(0, len(raw)))
        raw[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
    return rpc, bytes(raw)


def nodes(message: Any) -> Iterator[Any]:
    """The message, with every message in it."""
    yield message
    for field, content in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for item in [content] if isinstance(content, ProtobufMessage) else content:
            yield from nodes(item)


def use(result: Any) -> None:
    """Do what callers do with what they got."""
    for one in result if isinstance(result, list) else [result]:
        if not isinstance(one, ProtobufMessage):
            continue
        str(one), repr(one), json_format.MessageToJson(one)
        assert type(one).FromString(one.SerializeToString()) is not None
        for node in nodes(one):
            if isinstance(node, Timestamp):
                node.ToJsonString(), node.ToDatetime()
            if isinstance(node, Task | Message | Artifact):
                text_of(node), data_of(node), files_of(node)
            if isinstance(node, TaskStatus):
                assert state_name(node.state)
            if isinstance(node, TaskArtifactUpdateEvent):
                progress_of(node)
            if isinstance(node, Task):
                str(TaskNotCompletedError(node))


@pytest.fixture(scope="module")
async def peer() -> AsyncIterator[Peer]:
    async with peering() as running:
        yield running


@pytest.fixture(scope="module")
async def client(peer: Peer) -> AsyncIterator[Client]:
    """A client that gives up at once."""
    async with connect(peer.address, max_retries=0, give_up_after_s=0, timeout_s=20) as connected:
        yield connected


@PROFILE
@given(answers())
async def test_whatever_an_agent_answers_a_caller_can_use_it_or_gets_an_a2a_error(
    peer: Peer, client: Client, answer: tuple[str, bytes]
) -> None:
    rpc, raw = answer
    peer.answers = {**ANSWERS, rpc: raw}
    try:
        result = await OPERATIONS[rpc](client)
    except A2AError as error:
        str(error), repr(error)
        return
    use(result)


@PROFILE
@given(st.lists(events.map(lambda event: event.SerializeToString()) | st.binary(max_size=30), max_size=5))
async def test_whatever_a_stream_holds_its_task_can_be_used_or_it_ends_in_an_a2a_error(
    peer: Peer, client: Client, elements: list[bytes]
) -> None:
    begun = StreamResponse(task=Task(id="t-1", context_id="c", status=TaskStatus(state=WORKING))).SerializeToString()
    peer.answers = {**ANSWERS, "SubscribeToTask": [begun, *elements], "SendStreamingMessage": [*elements, begun]}
    async with client.subscribe("t-1") as stream:
        try:
            use([event async for event in stream])
        except A2AError as error:
            str(error)
        use(stream.task)
    agent = RemoteAgent(client=client)
    try:
        assert isinstance(await agent.run("hello"), str)
    except A2AError as error:
        str(error)


@PROFILE
@given(st.sampled_from(RPCS), st.binary(max_size=200))
def test_any_bytes_are_read_or_are_an_error(rpc: str, raw: bytes) -> None:
    found = reader(rpc, KINDS[rpc], max_bytes=1000, max_fields=100)(raw)
    if not isinstance(found, A2AError):
        use(found)


@PROFILE
@given(answers(), st.booleans())
def test_no_strange_value_gets_past_the_look_at_the_bytes(answer: tuple[str, bytes], is_large: bool) -> None:
    rpc, raw = answer
    raw += b"\xfa\x7f" + b"\x80\x20" + bytes(SMALL_BYTES) if is_large else b""
    found = reader(rpc, KINDS[rpc], max_bytes=1 << 20, max_fields=10_000)(raw)
    if isinstance(found, A2AError):
        assert isinstance(found, InvalidAgentResponseError)
        return
    assert value_problem(found) == ""


# -- values, one by one


def at(seconds: int, nanos: int = 0) -> Task:
    return Task(id="t-1", status=TaskStatus(state=WORKING, timestamp=Timestamp(seconds=seconds, nanos=nanos)))


def holding(**values: float) -> Task:
    task = Task(id="t-1")
    for name, number in values.items():
        task.metadata.fields[name].number_value = number
    return task


STRANGE = {
    "a time after year 9999": at(253_402_300_800),
    "a time before year 1": at(-62_135_596_801),
    "the last second there is": at(2**63 - 1),
    "negative nanoseconds": at(0, -1),
    "a second of nanoseconds": at(0, 1_000_000_000),
    "NaN": holding(a=float("nan")),
    "infinity": holding(a=float("-inf")),
}


@pytest.mark.parametrize("kind", STRANGE)
async def test_a_value_that_would_fail_later_is_an_error_that_names_it(kind: str) -> None:
    strange = STRANGE[kind]
    peer = Peer(answers={**ANSWERS, "GetTask": strange, "SubscribeToTask": StreamResponse(task=strange)})
    peer.answers["ListTasks"] = ListTasksResponse(tasks=[DONE, strange])
    async with peering(peer), connect(peer.address) as client:
        for rpc in ("GetTask", "SubscribeToTask", "ListTasks"):
            with pytest.raises(InvalidAgentResponseError, match=r"cannot be read: .*(seconds|number_value) is"):
                await OPERATIONS[rpc](client)


@pytest.mark.parametrize("task", [at(253_402_300_799, 999_999_999), at(-62_135_596_800), holding(a=1e308)])
async def test_the_last_values_that_can_be_pass(task: Task) -> None:
    peer = Peer(answers={"GetTask": task})
    async with peering(peer), connect(peer.address) as client:
        use(await client.get("t-1"))


async def test_states_that_are_not_known_have_names() -> None:
    unknown: Any = 42
    peer = Peer(answers={"GetTask": Task(id="t-1", status=TaskStatus(state=unknown))})
    async with peering(peer), connect(peer.address) as client:
        assert state_name((await client.get("t-1")).status.state) == "UNKNOWN(42)"


# -- statuses and metadata

durations = st.builds(Duration, seconds=int64, nanos=int32)
details = st.one_of(
    st.builds(
        ErrorInfo,
        reason=st.sampled_from(["TASK_NOT_FOUND", "RESOURCE_EXHAUSTED", ""]) | text,
        metadata=st.dictionaries(text, text),
    ),
    st.builds(RetryInfo, retry_delay=durations),
    st.builds(
        BadRequest,
        field_violations=st.lists(st.builds(BadRequest.FieldViolation, field=text, description=text), max_size=2),
    ),
)


@st.composite
def statuses_with_details(draw: st.DrawFn) -> bytes:
    status = Status(code=draw(int32), message=draw(text))
    for detail in draw(st.lists(details | st.binary(max_size=20), max_size=3)):
        packed = Packed()
        if isinstance(detail, bytes):
            packed.type_url = draw(text | st.just("type.googleapis.com/google.rpc.ErrorInfo"))
            packed.value = detail
        else:
            packed.Pack(detail)
        status.details.append(packed)
    raw: bytes = status.SerializeToString()
    return raw


@PROFILE
@given(
    st.sampled_from([code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]),
    text,
    st.binary(max_size=40) | statuses_with_details(),
)
def test_whatever_a_status_holds_it_is_an_error_whose_facts_can_be_used(
    code: grpc.StatusCode, said: str, trailer: bytes
) -> None:
    metadata = grpc.aio.Metadata((STATUS_DETAILS, trailer), ("x", "\u00ff"))
    error = to_error(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), metadata, details=said))
    assert error.code is code
    assert error.retry_after_s is None or 0 <= error.retry_after_s <= 86_400
    str(error), repr(error), dict(error.metadata), list(error.violations)


@pytest.mark.parametrize("seconds", [-(2**63), -1, 10**18, 2**63 - 1])
async def test_a_delay_that_cannot_be_waited_for_ends_the_retries(seconds: int) -> None:
    packed = Packed()
    packed.Pack(RetryInfo(retry_delay=Duration(seconds=seconds, nanos=-5)))
    status = Status(code=14, message="busy", details=[packed])
    busy = Failure(grpc.StatusCode.UNAVAILABLE, "busy", ((STATUS_DETAILS, status.SerializeToString()),))
    peer = Peer(always=busy)
    async with peering(peer), connect(peer.address, max_retries=1, retry_initial_s=0.01) as client:
        with pytest.raises(A2AError, match="busy") as failed:
            await client.get("t-1")
    assert failed.value.retry_after_s in (0.0, 86_400.0)


@pytest.mark.parametrize("key", [Key.SEQ, Key.AFTER, "x"])
@pytest.mark.parametrize(
    "entry", [b"9" * 5000, b"-1", b"1e3", b"\xd9\xa3", b"\xff\xfe", b"", b" 7", b"0x7", b"\xc2\xb2", b"1" * 16]
)
async def test_metadata_of_any_kind_are_no_reason_to_fail(key: str, entry: bytes) -> None:
    element = StreamResponse(task=DONE).SerializeToString()

    def answer(peer: http2.Peer) -> None:
        for found in peer.frames():
            if found.kind == http2.HEADERS:
                block = http2.indexed(http2.STATUS_200) + http2.literal("content-type", "application/grpc")
                trailers = http2.literal("grpc-status", "0") + http2.literal("x", entry)
                peer.send(http2.headers(found.stream, block + http2.literal(key, entry)))
                peer.send(http2.data(found.stream, http2.message(element)))
                peer.send(http2.headers(found.stream, trailers, end_stream=True))

    with ScriptedServer(answer) as server:
        async with connect(server.address, give_up_after_s=0) as client:
            assert await collected(client.subscribe("t-1")) == [DONE]
