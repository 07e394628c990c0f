"""Requests that are refused: with which words, and before anything is stored or run (spec §3.3.2, §5.7)."""

import asyncio
import gzip
import logging
import math
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message as ProtobufMessage
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from a2a_grpc import Agent, Artifact, Completed, InputRequired, Turn
from a2a_grpc.lifecycle import COMPLETED, FAILED
from a2a_grpc.parts import struct, text_of, value
from a2a_grpc.wire import (
    ROLE_AGENT,
    ROLE_USER,
    A2AServiceStub,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    ListTasksResponse,
    Message,
    Part,
    SendMessageConfiguration,
    SendMessageRequest,
    SendMessageResponse,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
)
from tests.covers import covers
from tests.harness import V1, Refusal, Served, elements, message, refusal, request, scripted, serving
from tests.spec.raw_calls import (
    SENDS,
    field,
    nested_list,
    nested_struct,
    number,
    raw_call,
    raw_message,
    raw_refusal,
    raw_send,
)
from tests.spec.required import faults

INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMS")
GENERIC = "The agent failed with an internal error."
TEXT = [Part(text="hello")]


@dataclass(slots=True)
class Watched:
    """A server with the messages that its agent got."""

    served: Served
    seen: list[Message]

    async def total(self) -> int:
        response = await self.served.stub.ListTasks(ListTasksRequest(), metadata=V1)
        return int(response.total_size)

    async def refused(self, asked: SendMessageRequest | bytes) -> Refusal:
        """The refusal of a send, the same for both of its methods; nothing was stored, and the agent never saw it."""
        body = asked if isinstance(asked, bytes) else asked.SerializeToString()
        unary, streaming = [await raw_refusal(self.served, method, body) for method in SENDS]
        assert unary == streaming
        assert await self.total() == 0
        assert self.seen == []
        return unary


def keeping(seen: list[Message]) -> Agent:
    """An agent that keeps the messages it gets, and takes any media type."""
    agent = Agent("Keeping", "Keeps what it gets.", input_modes=["*/*"])

    @agent.skill()
    async def keep(turn: Turn) -> str:
        seen.append(turn.message)
        return "kept"

    return agent


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    seen: list[Message] = []
    async with serving(keeping(seen)) as served:
        yield Watched(served, seen)


def sent(**fields: Any) -> SendMessageRequest:
    """A valid send but for the fields given to its message."""
    return SendMessageRequest(message=Message(**{"message_id": "m", "role": ROLE_USER, "parts": TEXT, **fields}))


def configured(**fields: Any) -> SendMessageRequest:
    """A valid send but for its configuration."""
    return SendMessageRequest(message=message(), configuration=SendMessageConfiguration(**fields))


def push(**fields: Any) -> SendMessageRequest:
    """A valid send but for its inline push configuration."""
    return configured(task_push_notification_config=TaskPushNotificationConfig(**fields))


# -- sends

INLINE = "configuration.task_push_notification_config"
LONG = "x" * 257
NUL = "a\0b"
KEYS_200 = {f"k{i}": i for i in range(200)}

SENDS_REFUSED: dict[str, tuple[SendMessageRequest, list[str]]] = {
    "no message": (SendMessageRequest(), ["message"]),
    "an empty message": (
        SendMessageRequest(message=Message()),
        ["message.message_id", "message.role", "message.parts"],
    ),
    "no message id": (sent(message_id=""), ["message.message_id"]),
    "no role": (sent(role=0), ["message.role"]),
    "the agent's role": (sent(role=ROLE_AGENT), ["message.role"]),
    "an unknown role": (sent(role=3), ["message.role"]),
    "a negative role": (sent(role=-1), ["message.role"]),
    "no parts": (sent(parts=[]), ["message.parts"]),
    "an empty part": (sent(parts=[Part()]), ["message.parts[0]"]),
    "a part with nothing but metadata": (sent(parts=[Part(metadata=struct({"k": 1}))]), ["message.parts[0]"]),
    "a part with nothing but a file name": (sent(parts=[Part(filename="a", media_type="a/b")]), ["message.parts[0]"]),
    "two empty parts of three": (sent(parts=[Part(), *TEXT, Part()]), ["message.parts[0]", "message.parts[2]"]),
    "an empty url": (sent(parts=[Part(url="")]), ["message.parts[0].url"]),
    "a negative history length": (configured(history_length=-1), ["configuration.history_length"]),
    "a push url that is empty": (push(token="t"), [f"{INLINE}.url"]),
    "a push authentication without a scheme": (
        push(url="https://example.org", authentication={"credentials": "secret"}),
        [f"{INLINE}.authentication.scheme"],
    ),
    "a push task id of another task": (push(url="https://example.org", task_id="t"), [f"{INLINE}.task_id"]),
    "a push tenant of another tenant": (push(url="https://example.org", tenant="t"), [f"{INLINE}.tenant"]),
    "an over-long message id": (sent(message_id=LONG), ["message.message_id"]),
    "an over-long context id": (sent(context_id=LONG), ["message.context_id"]),
    "an over-long task id": (sent(task_id=LONG), ["message.task_id"]),
    "an over-long tenant": (SendMessageRequest(message=message(), tenant=LONG), ["tenant"]),
    "an over-long reference": (sent(reference_task_ids=["ok", LONG]), ["message.reference_task_ids[1]"]),
    "an empty reference": (sent(reference_task_ids=[""]), ["message.reference_task_ids[0]"]),
    "an over-long extension": (sent(extensions=[LONG]), ["message.extensions[0]"]),
    "NUL in the message id": (sent(message_id=NUL), ["message.message_id"]),
    "NUL in the context id": (sent(context_id=NUL), ["message.context_id"]),
    "NUL in the task id": (sent(task_id=NUL), ["message.task_id"]),
    "NUL in the tenant": (SendMessageRequest(message=message(), tenant=NUL), ["tenant"]),
    "NUL in a reference": (sent(reference_task_ids=[NUL]), ["message.reference_task_ids[0]"]),
    "101 references": (sent(reference_task_ids=["t"] * 101), ["message.reference_task_ids"]),
    "101 extensions": (sent(extensions=["urn:e"] * 101), ["message.extensions"]),
    "101 output modes": (configured(accepted_output_modes=["a/b"] * 101), ["configuration.accepted_output_modes"]),
    "1001 parts": (sent(parts=TEXT * 1001), ["message.parts"]),
    "100,000 empty parts": (sent(parts=[Part()] * 100_000), ["message.parts"]),
    "201 metadata keys of the message": (
        sent(metadata=struct({**KEYS_200, "one more": True})),
        ["message.metadata"],
    ),
    "201 metadata keys, nested ones counted": (
        sent(metadata=struct({"in": {"k": {**KEYS_200}}})),
        ["message.metadata"],
    ),
    "201 metadata keys of the request": (
        SendMessageRequest(message=message(), metadata=struct({**KEYS_200, "one more": True})),
        ["metadata"],
    ),
    "1001 metadata keys over all parts": (
        sent(
            parts=[Part(text="x", metadata=struct({f"k{i}": i for i in range(100)}))] * 10
            + [Part(text="x", metadata=struct({"k": 1}))]
        ),
        ["message.parts[10].metadata"],
    ),
    "metadata over 16 KiB of the message": (sent(metadata=struct({"k": "x" * (16_384 - 11)})), ["message.metadata"]),
    "metadata over 16 KiB of the request": (
        SendMessageRequest(message=message(), metadata=struct({"k": "x" * (16_384 - 11)})),
        ["metadata"],
    ),
    "metadata over 16 KiB of a part": (
        sent(parts=[*TEXT, Part(text="x", metadata=struct({"k": "x" * (16_384 - 11)}))]),
        ["message.parts[1].metadata"],
    ),
    "20,001 values in data": (sent(parts=[Part(data=value([0] * 20_001))]), ["message.parts[0].data"]),
    "20,001 values in the data of two parts": (
        sent(parts=[Part(data=value([0] * 10_000)), Part(data=value([0] * 10_001))]),
        ["message.parts[1].data"],
    ),
    "a JSON value that is none": (sent(parts=[Part(data=Value())]), ["message.parts[0].data"]),
    "a JSON value that is none, in a list": (
        sent(parts=[Part(data=Value(list_value=ListValue(values=[Value()])))]),
        ["message.parts[0].data"],
    ),
    "a JSON value that is none, in metadata": (sent(metadata=Struct(fields={"k": Value()})), ["message.metadata"]),
    "an unknown kind of null": (
        sent(parts=[Part(data=Value(null_value=5))]),  # type: ignore[arg-type]
        ["message.parts[0].data"],
    ),
    **{
        f"{number_} in {where}": (broken, [path])
        for number_ in (math.nan, math.inf, -math.inf)
        for where, broken, path in [
            ("data", sent(parts=[Part(data=Value(number_value=number_))]), "message.parts[0].data"),
            (
                "nested data",
                sent(parts=[*TEXT, Part(data=Value(struct_value=Struct(fields={"k": Value(number_value=number_)})))]),
                "message.parts[1].data",
            ),
            (
                "the message's metadata",
                sent(metadata=Struct(fields={"k": Value(number_value=number_)})),
                "message.metadata",
            ),
            (
                "the request's metadata",
                SendMessageRequest(message=message(), metadata=Struct(fields={"k": Value(number_value=number_)})),
                "metadata",
            ),
            (
                "a part's metadata",
                sent(parts=[Part(text="x", metadata=Struct(fields={"k": Value(number_value=number_)}))]),
                "message.parts[0].metadata",
            ),
        ]
    },
}


@covers("VAL-3", "VAL-4", "VAL-5", "VAL-1", "VAL-8", "ERR-12", "OPEN-22", "ERR-5")
@pytest.mark.parametrize(("asked", "fields"), SENDS_REFUSED.values(), ids=SENDS_REFUSED)
async def test_an_invalid_send_is_refused_by_its_fields_before_anything_happens(
    watched: Watched, asked: SendMessageRequest, fields: list[str]
) -> None:
    refused = await watched.refused(asked)
    assert (refused.code, refused.reason, refused.fields) == (*INVALID, fields)
    assert all(path in refused.text for path in fields)


@covers("VAL-2", "ERR-5")
async def test_all_violations_of_a_send_are_told_at_once(watched: Watched) -> None:
    asked = SendMessageRequest(
        message=Message(
            role=ROLE_AGENT, task_id=NUL, parts=[Part(), Part(url="")], metadata=struct({"k": "x" * 20_000})
        ),
        configuration=SendMessageConfiguration(
            history_length=-3,
            accepted_output_modes=["a/b"] * 101,
            task_push_notification_config=TaskPushNotificationConfig(task_id="other", authentication={}),
        ),
        metadata=Struct(fields={"k": Value(number_value=math.nan)}),
    )
    refused = await watched.refused(asked)
    assert (refused.code, refused.reason) == INVALID
    assert sorted(refused.fields) == [
        "configuration.accepted_output_modes",
        "configuration.history_length",
        f"{INLINE}.authentication.scheme",
        f"{INLINE}.task_id",
        f"{INLINE}.url",
        "message.message_id",
        "message.metadata",
        "message.parts[0]",
        "message.parts[1].url",
        "message.role",
        "message.task_id",
        "metadata",
    ]


@covers("VAL-2", "ERR-8")
async def test_a_thousand_violations_still_fit_into_the_trailers(watched: Watched) -> None:
    refused = await watched.refused(sent(parts=[Part()] * 1000))
    assert (refused.code, refused.reason) == INVALID
    assert refused.fields == [f"message.parts[{place}]" for place in range(16)]
    assert len(refused.text) <= 1024


@covers("VAL-2")
@pytest.mark.parametrize("character", ["x", "ü", "👋"])
async def test_an_over_long_name_in_metadata_is_told_in_an_error_that_fits_into_the_trailers(
    watched: Watched, character: str
) -> None:
    asked = SendMessageRequest(message=message(), metadata=struct({"skill": character * 4000}))
    refused = await watched.refused(asked)
    assert (refused.code, refused.reason, refused.fields) == (*INVALID, ["metadata.skill"])


@covers("VAL-2", "ERR-6")
async def test_the_words_name_the_value_and_what_would_be_valid(watched: Watched) -> None:
    assert "257" in (await watched.refused(sent(message_id=LONG))).text
    assert "256" in (await watched.refused(sent(message_id=LONG))).text
    assert "1001 parts; the limit is 1000" in (await watched.refused(sent(parts=TEXT * 1001))).text
    assert "ROLE_USER" in (await watched.refused(sent(role=ROLE_AGENT))).text
    assert "-1" in (await watched.refused(configured(history_length=-1))).text


ACCEPTED: dict[str, SendMessageRequest] = {
    "ids of 256 characters": sent(message_id="x" * 256, context_id="y" * 256),
    "ids of 256 characters of four bytes": sent(message_id="👋" * 256, context_id="👋" * 256),
    "1000 parts": sent(parts=TEXT * 1000),
    "200 metadata keys": sent(metadata=struct({**KEYS_200})),
    "metadata of 16 KiB": sent(metadata=struct({"k": "x" * (16_384 - 12)})),
    "1000 metadata keys over all parts": sent(
        parts=[Part(text="x", metadata=struct({f"k{i}": i for i in range(100)}))] * 10
    ),
    "20,000 values in data": sent(parts=[Part(data=value([0] * 20_000))]),
    "100 references": sent(reference_task_ids=["t"] * 100),
    "a history length of 0": configured(history_length=0),
    "the largest history length": configured(history_length=2**31 - 1),
    "an empty text": sent(parts=[Part(text="")]),
}


@covers("VAL-6")
@pytest.mark.parametrize("asked", ACCEPTED.values(), ids=ACCEPTED)
async def test_a_send_at_a_limit_is_accepted(watched: Watched, asked: SendMessageRequest) -> None:
    response = await watched.served.send(asked)
    assert response.task.status.state == COMPLETED
    assert [seen.message_id for seen in watched.seen] == [asked.message.message_id]


@covers("VAL-6")
def test_the_metadata_at_the_limit_and_over_it_differ_by_one_byte() -> None:
    assert ACCEPTED["metadata of 16 KiB"].message.metadata.ByteSize() == 16_384
    over, _ = SENDS_REFUSED["metadata over 16 KiB of the message"]
    assert over.message.metadata.ByteSize() == 16_385


@covers("VAL-6")
async def test_every_limit_is_a_setting() -> None:
    limits: dict[str, tuple[int, SendMessageRequest, str]] = {
        "max_id_chars": (16, sent(message_id="x" * 17), "message.message_id"),
        "max_parts": (1, sent(parts=TEXT * 2), "message.parts"),
        "max_part_metadata_keys": (
            1,
            sent(parts=[Part(text="x", metadata=struct({"a": 1, "b": 2}))]),
            "message.parts[0].metadata",
        ),
        "max_metadata_bytes": (16, sent(metadata=struct({"k": "x" * 16})), "message.metadata"),
        "max_metadata_keys": (1, sent(metadata=struct({"a": 1, "b": 2})), "message.metadata"),
        "max_data_values": (1, sent(parts=[Part(data=value([1, 2]))]), "message.parts[0].data"),
        "max_references": (1, sent(reference_task_ids=["a", "b"]), "message.reference_task_ids"),
    }
    for name, (limit, asked, path) in limits.items():
        seen: list[Message] = []
        async with serving(keeping(seen), **{name: limit}) as served:
            refused = await Watched(served, seen).refused(asked)
        assert (refused.code, refused.fields) == (INVALID[0], [path]), name


# -- bytes

NOT_A_REQUEST: dict[str, bytes] = {
    "random bytes": b"\xff\xff\xff\xff",
    "a message cut short": raw_send(raw_message())[:-1],
    "a length beyond the end": b"\x12\xff\x01",
    "a varint without end": b"\x12" + b"\xff" * 11,
    "an end of a group that never began": b"\x0c",
    "a field number of zero": b"\x02\x00",
    "invalid UTF-8 in the message id": raw_send(raw_message(message_id=b"\xff\xfe")),
    "invalid UTF-8 in a text": raw_send(raw_message(part=field(1, b"\xc3\x28"))),
    "an encoded surrogate in a text": raw_send(raw_message(part=field(1, b"\xed\xa0\x80"))),
    "invalid UTF-8 in a metadata key": raw_send(raw_message(field(6, field(1, field(1, b"\xff"))))),
    "invalid UTF-8 in the tenant": raw_send(raw_message(), field(1, b"\xff")),
    "a struct nested 60 deep in the metadata": raw_send(raw_message(field(6, nested_struct(60)))),
    "a struct nested 200 deep in the metadata": raw_send(raw_message(field(6, nested_struct(200)))),
    "a struct nested 60 deep in data": raw_send(raw_message(part=field(4, field(5, nested_struct(60))))),
    "a struct nested 200 deep in data": raw_send(raw_message(part=field(4, field(5, nested_struct(200))))),
    "a list nested 200 deep in data": raw_send(raw_message(part=field(4, nested_list(200)))),
    "a struct nested 2,000 deep": raw_send(raw_message(field(6, nested_struct(2_000)))),
}


@covers("VAL-1")
@pytest.mark.parametrize("body", NOT_A_REQUEST.values(), ids=NOT_A_REQUEST)
async def test_bytes_that_are_no_valid_request_are_an_invalid_argument(watched: Watched, body: bytes) -> None:
    refused = await watched.refused(body)
    assert (refused.code, refused.reason) == INVALID
    assert refused.fields == ["SendMessageRequest"]
    assert "not a valid SendMessageRequest" in refused.text


NESTED: dict[str, tuple[bytes, str]] = {
    "struct, metadata, 33": (raw_send(raw_message(field(6, nested_struct(33)))), "message.metadata"),
    "struct, request metadata, 33": (raw_send(raw_message(), field(4, nested_struct(33))), "metadata"),
    "list, data, 33": (raw_send(raw_message(part=field(4, nested_list(33)))), "message.parts[0].data"),
    "list, data, 40": (raw_send(raw_message(part=field(4, nested_list(40)))), "message.parts[0].data"),
    "struct, metadata, 40": (raw_send(raw_message(field(6, nested_struct(40)))), "SendMessageRequest"),
    "struct, data, 40": (raw_send(raw_message(part=field(4, field(5, nested_struct(40))))), "SendMessageRequest"),
}


@covers("VAL-6")
@pytest.mark.parametrize(("body", "path"), NESTED.values(), ids=NESTED)
async def test_json_nested_deeper_than_the_limit_is_refused_by_its_field_or_as_unreadable(
    watched: Watched, body: bytes, path: str
) -> None:
    refused = await watched.refused(body)
    assert (refused.code, refused.reason, refused.fields) == (*INVALID, [path])
    assert "nested" in refused.text


METHODS = [
    "GetTask",
    "ListTasks",
    "CancelTask",
    "SubscribeToTask",
    "CreateTaskPushNotificationConfig",
    "GetTaskPushNotificationConfig",
    "ListTaskPushNotificationConfigs",
    "DeleteTaskPushNotificationConfig",
    "GetExtendedAgentCard",
]


@covers("VAL-1")
@pytest.mark.parametrize("tenant", [LONG, NUL], ids=["over-long", "NUL"])
@pytest.mark.parametrize("method", METHODS)
async def test_the_tenant_is_checked_on_every_method(watched: Watched, method: str, tenant: str) -> None:
    tag = 4 if method == "ListTaskPushNotificationConfigs" else 1
    refused = await raw_refusal(watched.served, method, field(tag, tenant.encode()))
    assert (refused.code, refused.reason, refused.fields) == (*INVALID, ["tenant"])


@covers("VAL-6", "G11")
@pytest.mark.parametrize("method", SENDS)
async def test_a_message_over_the_receive_limit_is_resource_exhausted_with_both_sizes(method: str) -> None:
    seen: list[Message] = []
    async with serving(keeping(seen), max_receive_bytes=65_536) as served:
        body = sent(parts=[Part(raw=b"x" * 65_536)]).SerializeToString()
        refused = await raw_refusal(served, method, body)
        assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert f"{len(body)} vs. 65536" in refused.text
        assert await Watched(served, seen).total() == 0
        accepted = sent(parts=[Part(raw=b"x" * (65_536 - 100))])
        assert (await served.send(accepted)).task.status.state == COMPLETED
    assert len(seen) == 1


@covers("VAL-6")
async def test_the_default_receive_limit_is_four_mebibytes(watched: Watched) -> None:
    refused = await watched.refused(sent(parts=[Part(raw=b"x" * (4 << 20))]))
    assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "vs. 4194304" in refused.text


@covers("VAL-6")
async def test_a_message_just_under_the_receive_limit_can_be_stored_and_read_back(watched: Watched) -> None:
    raw = b"x" * ((4 << 20) - 1024)
    task_id = (await watched.served.send(request(sent(parts=[Part(raw=raw)]).message, history_length=0))).task.id
    async with grpc.aio.insecure_channel(
        watched.served.server.grpc_address,
        options=[("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)],
    ) as channel:
        read = raw_call(
            Served(watched.served.server, channel, watched.served.stub), "GetTask", field(2, task_id.encode())
        )
        task = Task.FromString(await read)
    assert task.history[0].parts[0].raw == raw


@covers("VAL-6")
@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_a_compressed_request_is_inflated_up_to_64_times_its_size_and_no_further(
    watched: Watched, compression: grpc.Compression
) -> None:
    text = "".join(f"line {number}, " for number in range(60_000))
    options = [("grpc.use_local_subchannel_pool", 1)]
    address = watched.served.server.grpc_address
    async with grpc.aio.insecure_channel(address, options=options, compression=compression) as channel:
        stub = A2AServiceStub(channel)
        task = (await stub.SendMessage(request(text, history_length=1), metadata=V1)).task
        assert text_of(task.history[0]) == text
        *_, last = [element async for element in stub.SendStreamingMessage(request(text), metadata=V1)]
        assert last.status_update.status.state == COMPLETED
        questions = iter([ServerReflectionRequest(list_services="x" * 999)])
        answers = [answer async for answer in ServerReflectionStub(channel).ServerReflectionInfo(questions)]
        assert len(answers) == 1
        questions = iter([ServerReflectionRequest(list_services="x" * (1 << 20))])
        ended = await refusal(elements(ServerReflectionStub(channel).ServerReflectionInfo(questions)))
        assert ended.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "the compressed request is too large: it has more than 262144 bytes" in ended.text
        before = await watched.total()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.SendMessage(request("x" * (3 << 20)), metadata=V1)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "the compressed request is too large: it has more than 2" in str(refused.value.details())
        assert await watched.total() == before


@covers("VAL-6")
async def test_only_compressed_requests_are_inflated(watched: Watched) -> None:
    unknown = number(15, 1)  # its first two bytes are those of zlib's format
    assert unknown == zlib.compress(b"", level=0)[:2]
    assert ListTasksResponse.FromString(await raw_call(watched.served, "ListTasks", unknown)).total_size == 0
    for body in (b"\x1f\x8b\x08", gzip.compress(b"")[:-1]):
        refused = await raw_refusal(watched.served, "ListTasks", body)
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert "the request cannot be read: it is compressed, and " in refused.text


# -- the other requests


def invalid_requests() -> Iterator[tuple[str, str, ProtobufMessage, list[str]]]:
    """Name of the case, method, request, fields."""
    by_id: list[tuple[str, Any]] = [
        ("GetTask", GetTaskRequest),
        ("CancelTask", CancelTaskRequest),
        ("SubscribeToTask", SubscribeToTaskRequest),
    ]
    for method, kind in by_id:
        for name, task_id in (("no id", ""), ("over-long id", LONG), ("NUL in the id", NUL)):
            yield name, method, kind(id=task_id), ["id"]
    yield "a negative history length", "GetTask", GetTaskRequest(id="t", history_length=-1), ["history_length"]
    nan = Struct(fields={"k": Value(number_value=math.nan)})
    yield "NaN in the metadata", "CancelTask", CancelTaskRequest(id="t", metadata=nan), ["metadata"]
    many = struct({f"k{i}": i for i in range(201)})
    yield "201 metadata keys", "CancelTask", CancelTaskRequest(id="t", metadata=many), ["metadata"]
    big = struct({"k": "x" * (16_384 - 11)})
    yield "metadata over 16 KiB", "CancelTask", CancelTaskRequest(id="t", metadata=big), ["metadata"]
    lists: list[tuple[str, ListTasksRequest, list[str]]] = [
        ("page size 0", ListTasksRequest(page_size=0), ["page_size"]),
        ("page size -1", ListTasksRequest(page_size=-1), ["page_size"]),
        ("page size 101", ListTasksRequest(page_size=101), ["page_size"]),
        ("a negative history length", ListTasksRequest(history_length=-1), ["history_length"]),
        ("an unknown status", ListTasksRequest(status=99), ["status"]),  # type: ignore[arg-type]
        ("a negative status", ListTasksRequest(status=-1), ["status"]),  # type: ignore[arg-type]
        ("an over-long context id", ListTasksRequest(context_id=LONG), ["context_id"]),
        ("NUL in the context id", ListTasksRequest(context_id=NUL), ["context_id"]),
        ("a page token that is no base64", ListTasksRequest(page_token="???"), ["page_token"]),
        ("a page token that is too short", ListTasksRequest(page_token="AAAA"), ["page_token"]),
        ("a page token of somebody's making", ListTasksRequest(page_token="A" * 40), ["page_token"]),
        ("a page token that is not ASCII", ListTasksRequest(page_token="ü" * 40), ["page_token"]),
        (
            "a time after the year 9999",
            ListTasksRequest(status_timestamp_after=Timestamp(seconds=253_402_300_800)),
            ["status_timestamp_after"],
        ),
        (
            "a time before the year 1",
            ListTasksRequest(status_timestamp_after=Timestamp(seconds=-62_135_596_801)),
            ["status_timestamp_after"],
        ),
        (
            "a time with a negative fraction",
            ListTasksRequest(status_timestamp_after=Timestamp(nanos=-1)),
            ["status_timestamp_after"],
        ),
        (
            "all at once",
            ListTasksRequest(page_size=200, history_length=-5, status=42, context_id=NUL),  # type: ignore[arg-type]
            ["context_id", "history_length", "page_size", "status"],
        ),
    ]
    for name, asked, fields in lists:
        yield name, "ListTasks", asked, fields
    config = TaskPushNotificationConfig
    create = "CreateTaskPushNotificationConfig"
    yield "no task id", create, config(url="https://example.org"), ["task_id"]
    yield "no url", create, config(task_id="t"), ["url"]
    bare = config(task_id="t", url="https://example.org", authentication={"credentials": "x"})
    yield "no scheme", create, bare, ["authentication.scheme"]
    by_config_id: list[tuple[str, Any]] = [
        ("GetTaskPushNotificationConfig", GetTaskPushNotificationConfigRequest),
        ("DeleteTaskPushNotificationConfig", DeleteTaskPushNotificationConfigRequest),
    ]
    for method, kind in by_config_id:
        yield "no task id", method, kind(id="c"), ["task_id"]
        yield "no id", method, kind(task_id="t"), ["id"]
    yield "no task id", "ListTaskPushNotificationConfigs", ListTaskPushNotificationConfigsRequest(), ["task_id"]


@covers("VAL-3", "VAL-4", "VAL-5", "VAL-1", "ERR-12", "OPEN-17")
@pytest.mark.parametrize(
    ("method", "asked", "fields"),
    [pytest.param(*case, id=f"{case[0]}: {name}") for name, *case in invalid_requests()],
)
async def test_an_invalid_request_is_refused_by_its_fields(
    watched: Watched, method: str, asked: ProtobufMessage, fields: list[str]
) -> None:
    refused = await raw_refusal(watched.served, method, asked.SerializeToString())
    assert (refused.code, refused.reason, sorted(refused.fields)) == (*INVALID, fields)


@covers("VAL-4", "LIST-3")
@pytest.mark.parametrize("page_size", [1, 100])
async def test_the_page_sizes_1_and_100_are_valid(watched: Watched, page_size: int) -> None:
    response = await watched.served.stub.ListTasks(ListTasksRequest(page_size=page_size), metadata=V1)
    assert response.page_size == page_size


@covers("VAL-5", "OPEN-17", "LIST-10")
async def test_a_page_token_of_a_list_with_other_filters_is_refused(watched: Watched) -> None:
    for _ in range(2):
        await watched.served.send(request())
    stub = watched.served.stub
    token = (await stub.ListTasks(ListTasksRequest(page_size=1), metadata=V1)).next_page_token
    assert token
    other = ListTasksRequest(page_size=1, page_token=token, status=COMPLETED)
    refused = await refusal(stub.ListTasks(other, metadata=V1))
    assert (refused.code, refused.reason, refused.fields) == (*INVALID, ["page_token"])
    assert len((await stub.ListTasks(ListTasksRequest(page_size=1, page_token=token), metadata=V1)).tasks) == 1


# -- nothing moved


@covers("VAL-8")
async def test_a_refused_follow_up_changes_nothing_of_its_task(served: Served) -> None:
    before = (await served.send(scripted({"input": "Which date?"}))).task
    bad: list[tuple[SendMessageRequest, list[str]]] = [
        (sent(task_id=before.id, parts=[]), ["message.parts"]),
        (sent(task_id=before.id, role=ROLE_AGENT), ["message.role"]),
        (sent(task_id=before.id, context_id="another"), ["message.context_id"]),
        (scripted({"jump": 1}, task_id=before.id), ["script[0]"]),
        (
            SendMessageRequest(message=message(task_id=before.id), metadata=struct({"skill": "none"})),
            ["metadata.skill"],
        ),
    ]
    for asked, fields in bad:
        for method in SENDS:
            refused = await raw_refusal(served, method, asked.SerializeToString())
            assert (refused.code, refused.reason, refused.fields) == (*INVALID, fields)
    assert await served.get(before.id) == before
    answered = (await served.send(scripted({"complete": "thanks"}, task_id=before.id))).task
    assert answered.status.state == COMPLETED
    assert len(answered.history) == 3


@covers("VAL-8")
async def test_a_message_that_the_skill_s_own_validation_refuses_is_not_stored(served: Served) -> None:
    for method in SENDS:
        refused = await raw_refusal(served, method, scripted({"status": 5}).SerializeToString())
        assert (refused.code, refused.reason, refused.fields) == (*INVALID, ["script[0]"])
    assert (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size == 0


@covers("VAL-8")
async def test_a_list_refused_by_its_filters_moves_no_page(watched: Watched) -> None:
    await watched.served.send(request())
    before = await watched.served.stub.ListTasks(ListTasksRequest(), metadata=V1)
    await refusal(watched.served.stub.ListTasks(ListTasksRequest(page_size=0), metadata=V1))
    assert await watched.served.stub.ListTasks(ListTasksRequest(), metadata=V1) == before


# -- the order of the checks


@covers("OPEN-26", "VER-2")
async def test_the_version_is_checked_before_the_bytes_are_read(watched: Watched) -> None:
    refused = await refusal(raw_call(watched.served, "SendMessage", b"\xff\xff", metadata=()))
    assert refused.reason == "VERSION_NOT_SUPPORTED"


@covers("OPEN-26")
async def test_fields_are_checked_before_the_streaming_capability() -> None:
    agent = Agent("Still", "Does not stream.", streaming=False)

    @agent.skill()
    async def work(turn: Turn) -> None:
        return None

    async with serving(agent) as served:
        refused = await refusal(served.stream(sent(parts=[])))
        assert (refused.code, refused.reason, refused.fields) == (*INVALID, ["message.parts"])
        refused = await refusal(served.subscribe(""))
        assert (refused.code, refused.reason, refused.fields) == (*INVALID, ["id"])


@covers("OPEN-26", "IDS-8")
async def test_fields_are_checked_before_existence_and_id_consistency_before_state(served: Served) -> None:
    refused = await refusal(served.send(sent(task_id="nowhere", parts=[])))
    assert refused.fields == ["message.parts"]
    ended = (await served.send(request())).task
    refused = await refusal(served.send(sent(task_id=ended.id, context_id="another")))
    assert (refused.code, refused.reason, refused.fields) == (*INVALID, ["message.context_id"])


# -- what the agent gives


class Odd:
    """Something that no JSON knows, with a text that must stay on the server."""

    def __repr__(self) -> str:
        return "SECRET-REPR"


def not_a_number(*, nested: bool = False) -> Value:
    nan = Value(number_value=math.nan)
    return Value(struct_value=Struct(fields={"k": nan})) if nested else nan


BAD_OUTPUTS: dict[str, Any] = {
    "an artifact without parts": Artifact(artifact_id="SECRET-ID"),
    "an artifact with an empty part": Artifact(artifact_id="SECRET-ID", parts=[Part()]),
    "an artifact with one empty part of two": Artifact(parts=[Part(text="x"), Part()]),
    "a list with an artifact without parts": [Artifact(parts=[Part(text="x")]), Artifact(artifact_id="SECRET-ID")],
    "an empty part": Part(),
    "a list with an empty part": [Part(text="x"), Part()],
    "NaN": math.nan,
    "infinity": math.inf,
    "NaN in a dict": {"SECRET-KEY": [math.nan]},
    "NaN in a part made by hand": Part(data=not_a_number()),
    "a JSON value that is none": Part(data=Value()),
    "NaN in an artifact made by hand": Artifact(parts=[Part(data=not_a_number(nested=True))]),
    "NaN in an artifact's metadata": Artifact(parts=[Part(text="x")], metadata=not_a_number(nested=True).struct_value),
    "a set": {"SECRET-ITEM"},
    "an object": Odd(),
    "an object in a list": [Odd()],
    "a dict with a key that is no text": {1: "SECRET-VALUE"},
    "a text with a lone surrogate": "SECRET \ud800",
    "a value nested 33 deep": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["SECRET"]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]],
    "a class": Odd,
}


def giving(output: Any, way: str) -> Agent:
    """An agent that gives this, in one of the ways there are."""
    agent = Agent("Odd", "Gives what it should not.")

    if way == "yields":

        @agent.skill()
        async def generate(turn: Turn) -> AsyncIterator[Any]:
            yield output

        return agent

    @agent.skill()
    async def work(turn: Turn) -> Any:
        match way:
            case "returns":
                return output
            case "emits":
                await turn.artifact(output, id="a")
            case "says":
                await turn.status(output)
            case "asks":
                await turn.ask(output)
            case "ends with":
                raise Completed(output)
            case "wants":
                return InputRequired(output)
        return None

    return agent


def is_artifact(output: Any) -> bool:
    return isinstance(output, Artifact) or (isinstance(output, list) and any(isinstance(o, Artifact) for o in output))


WAYS = {
    f"{way} {name}": (output, way)
    for way in ("returns", "yields", "emits", "says", "asks", "ends with", "wants")
    for name, output in BAD_OUTPUTS.items()
    if way in ("returns", "yields", "emits") or not is_artifact(output)
}


@covers("VAL-9")
@pytest.mark.few(30)
@pytest.mark.parametrize(("output", "way"), WAYS.values(), ids=WAYS)
async def test_an_output_that_is_not_valid_fails_the_task_in_general_words(
    output: Any, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    async with asyncio.timeout(30), serving(giving(output, way)) as served:
        read = await elements(served.stream(request()))
        task = await served.get(read[0].task.id)
    assert [fault for element in read for fault in faults(element)] == []
    assert faults(task) == []
    assert task.status.state == FAILED
    assert text_of(task.status.message) == GENERIC
    assert read[-1].status_update.status == task.status
    assert not any(b"SECRET" in element.SerializeToString() for element in read)
    assert task.id in caplog.text


def said(**fields: Any) -> Message:
    """A valid reply made by hand, but for the fields given."""
    return Message(
        **{"message_id": "r", "role": ROLE_AGENT, "context_id": "c-1", "parts": [Part(text="SECRET")], **fields}
    )


REPLIES: dict[str, Any] = {
    **{name: output for name, output in BAD_OUTPUTS.items() if not is_artifact(output)},
    "an artifact": Artifact(artifact_id="SECRET-ID", parts=[Part(text="x")]),
    "nothing": None,
    "a question": InputRequired("SECRET?"),
    "a message without parts": said(parts=[]),
    "a message with an empty part": said(parts=[Part()]),
    "a message of the user's": said(role=ROLE_USER),
    "a message of another context": said(context_id="c-2"),
    "a message with a task that there is not": said(task_id="t"),
}


@covers("VAL-9")
@pytest.mark.few(15)
@pytest.mark.parametrize("method", SENDS)
@pytest.mark.parametrize("output", REPLIES.values(), ids=REPLIES)
async def test_a_reply_that_is_not_valid_is_an_invalid_agent_response(output: Any, method: str) -> None:
    async with serving(replying(output)) as served:
        refused = await raw_refusal(served, method, request(message(context_id="c-1")).SerializeToString())
        listed = await served.stub.ListTasks(ListTasksRequest(), metadata=V1)
    assert (refused.code, refused.reason) == (grpc.StatusCode.INTERNAL, "INVALID_AGENT_RESPONSE")
    assert "SECRET" not in refused.text
    assert listed.total_size == 0


@covers("VAL-9")
async def test_a_valid_message_that_the_agent_made_by_hand_leaves_as_it_is() -> None:
    made = said(parts=[Part(text="hello")], metadata=struct({"k": 1}))
    async with serving(replying(made)) as served:
        asked = request(message(context_id="c-1"))
        unary: SendMessageResponse = await served.send(asked)
        streamed = await elements(served.stream(asked))
    assert [unary.message, *(element.message for element in streamed)] == [made, made]


@covers("VAL-9")
@pytest.mark.parametrize("empty", ["message_id", "role", "context_id"])
async def test_what_a_message_made_by_hand_leaves_empty_is_filled_in(empty: str) -> None:
    made = said()
    made.ClearField(empty)
    async with serving(replying(made)) as served:
        response: SendMessageResponse = await served.send(request(message(context_id="c-1")))
    assert response.message.role == ROLE_AGENT
    assert response.message.context_id == "c-1"
    assert response.message.message_id


def replying(output: Any) -> Agent:
    """An agent that answers with this."""
    agent = Agent("Odd", "Answers with what it may or may not.")

    @agent.skill(answers="message")
    async def reply(turn: Turn) -> Any:
        return output

    return agent


@covers("VAL-9", "ERR-7", "P10")
@pytest.mark.parametrize("where", ["before", "after an artifact"])
async def test_the_text_of_an_agent_s_exception_never_reaches_the_client(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    agent = Agent("Raising", "Raises.")

    @agent.skill()
    async def work(turn: Turn) -> None:
        if where == "after an artifact":
            await turn.artifact("half", id="a")
        raise RuntimeError("SECRET-PASSWORD")

    async with serving(agent) as served:
        response: SendMessageResponse = await served.send(request())
        read = await elements(served.stream(request()))
        listed = await served.stub.ListTasks(ListTasksRequest(include_artifacts=True), metadata=V1)
    assert response.task.status.state == FAILED
    assert text_of(response.task.status.message) == GENERIC
    assert read[-1].status_update.status.state == FAILED
    for told in (response, listed, *read):
        assert b"SECRET" not in told.SerializeToString()
    assert "SECRET-PASSWORD" in caplog.text


@covers("VAL-9")
async def test_after_a_bad_output_the_server_serves_the_next_message() -> None:
    outputs: list[Any] = [Odd(), "fine"]
    agent = Agent("Mixed", "Gives one bad thing, then a good one.", streaming=True)

    @agent.skill()
    async def work(turn: Turn) -> Any:
        return outputs.pop(0)

    async with serving(agent, max_runs=1) as served:
        states = [(await served.send(request())).task.status.state for _ in range(2)]
    assert states == [FAILED, COMPLETED]
