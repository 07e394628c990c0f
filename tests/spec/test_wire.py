"""The service on the wire, its messages and its JSON (spec §5, §10)."""

import json
import math
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message as ProtobufMessage
from google.protobuf.struct_pb2 import Struct, Value

from a2a_grpc import Agent, Artifact, Completed, InputRequired, Turn
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.parts import MAX_DEPTH, struct, value
from a2a_grpc.wire import (
    ROLE_AGENT,
    ROLE_USER,
    SERVICE,
    AgentCard,
    AgentExtension,
    AgentProvider,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
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
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
)
from tests.covers import covers
from tests.harness import V1, Served, elements, message, refusal, request, scripted, scripted_agent, serving, texts
from tests.spec.raw_calls import SERVICE as PATH
from tests.spec.raw_calls import STREAMS, field, number, raw_call, raw_message, raw_refusal, raw_send
from tests.spec.required import faults

RICH = [
    {"status": "reading"},
    {"artifact": {"id": "a", "name": "text", "text": "one"}},
    {"artifact": {"id": "a", "text": "two", "append": True, "last": True}},
    {"artifact": {"id": "b", "data": {"n": [1, None, True]}}},
    {"artifact": {"id": "c", "raw_base64": "AAEC"}},
    {"artifact": {"id": "d", "url": "https://example.org/report.pdf"}},
    {"chunks": {"id": "e", "count": 3}},
    {"status": "writing"},
]
"""Steps that make an agent say all that it can say while it works."""

# -- the service


@covers("WIRE-1")
async def test_the_service_answers_at_its_path_on_a_plain_channel_of_bytes(served: Served) -> None:
    response = await raw_call(served, "SendMessage", raw_send(raw_message()))
    assert SendMessageResponse.FromString(response).task.status.state == COMPLETED


@covers("WIRE-1")
async def test_no_other_package_answers(served: Served) -> None:
    refused = await refusal(raw_call(served, "GetTask", b"", service="/a2a.v1.A2AService"))
    assert refused.code is grpc.StatusCode.UNIMPLEMENTED


def requests_of_all_methods(task_id: str) -> dict[str, tuple[ProtobufMessage, str]]:
    """Each method with a valid request for a task that waits for input, and what it must answer: the name of a message,
    or the reason of a refusal."""
    config = TaskPushNotificationConfig(task_id=task_id, url="https://example.org/hook")
    push = "PUSH_NOTIFICATION_NOT_SUPPORTED"
    return {
        "SendMessage": (request(), "SendMessageResponse"),
        "SendStreamingMessage": (request(), "StreamResponse"),
        "GetTask": (GetTaskRequest(id=task_id), "Task"),
        "ListTasks": (ListTasksRequest(), "ListTasksResponse"),
        "SubscribeToTask": (SubscribeToTaskRequest(id=task_id), "StreamResponse"),
        "CancelTask": (CancelTaskRequest(id=task_id), "Task"),
        "CreateTaskPushNotificationConfig": (config, push),
        "GetTaskPushNotificationConfig": (GetTaskPushNotificationConfigRequest(task_id=task_id, id="c"), push),
        "ListTaskPushNotificationConfigs": (ListTaskPushNotificationConfigsRequest(task_id=task_id), push),
        "DeleteTaskPushNotificationConfig": (DeleteTaskPushNotificationConfigRequest(task_id=task_id, id="c"), push),
        "GetExtendedAgentCard": (GetExtendedAgentCardRequest(), "UNSUPPORTED_OPERATION"),
    }


METHODS = list(requests_of_all_methods(""))


@covers("WIRE-2")
@pytest.mark.parametrize("method", METHODS)
async def test_the_method_exists_and_answers_on_its_path(served: Served, method: str) -> None:
    waiting = (await served.send(scripted({"input": "Which date?"}))).task
    asked, answer = requests_of_all_methods(waiting.id)[method]
    call = raw_call(served, method, asked.SerializeToString())
    if answer.isupper():
        refused = await refusal(call)
        assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, answer)
        return
    kind: Any = {k.__name__: k for k in (SendMessageResponse, StreamResponse, Task, ListTasksResponse)}[answer]
    if method in STREAMS:
        raw = await anext(aiter(call))
        call.cancel()
    else:
        raw = await call
    assert faults(kind.FromString(raw)) == []


@covers("WIRE-2")
def test_there_are_eleven_methods_two_of_them_streaming_and_none_streams_from_the_client() -> None:
    assert sorted(method.name for method in SERVICE.methods) == sorted(METHODS)
    assert len(METHODS) == 11
    assert sorted(method.name for method in SERVICE.methods if method.server_streaming) == sorted(STREAMS)
    assert not any(method.client_streaming for method in SERVICE.methods)


@covers("WIRE-2")
async def test_a_method_that_the_service_does_not_have_is_unimplemented(served: Served) -> None:
    refused = await raw_refusal(served, "DeleteTask", b"")
    assert refused.code is grpc.StatusCode.UNIMPLEMENTED


# -- unknown fields

UNKNOWN = field(4000, b"from the future") + number(4001, 7)


@covers("WIRE-5")
async def test_unknown_fields_at_every_level_are_ignored_and_not_stored(served: Served) -> None:
    in_value = field(3, b"v") + UNKNOWN
    in_struct = field(1, field(1, b"k") + field(2, in_value)) + UNKNOWN
    sent = raw_message(field(6, in_struct), UNKNOWN, part=field(1, b"hello") + field(5, in_struct) + UNKNOWN)
    response = await raw_call(served, "SendMessage", raw_send(sent, field(3, UNKNOWN), UNKNOWN))
    task = SendMessageResponse.FromString(response).task
    stored = await raw_call(served, "GetTask", GetTaskRequest(id=task.id).SerializeToString())
    assert texts(task) == ["hello"]
    assert task.history[0].metadata == struct({"k": "v"})
    assert b"from the future" not in response + stored


@covers("WIRE-5")
async def test_unknown_fields_do_not_reach_the_agent() -> None:
    seen: list[bytes] = []
    agent = Agent("Watching", "Keeps what it gets.")

    @agent.skill()
    async def watch(turn: Turn) -> None:
        seen.append(turn.message.SerializeToString(deterministic=True))

    async with serving(agent) as served:
        await raw_call(served, "SendMessage", raw_send(raw_message(UNKNOWN)))
    assert b"from the future" not in seen[0]
    assert Message.FromString(seen[0]).parts == [Part(text="hello")]


@covers("WIRE-5")
@pytest.mark.parametrize("method", ["GetTask", "ListTasks", "CancelTask", "SubscribeToTask"])
async def test_a_request_with_unknown_fields_is_served(served: Served, method: str) -> None:
    task = await served.start({"input": "?"})
    known = b"" if method == "ListTasks" else field(2, task.id.encode())
    call = raw_call(served, method, known + UNKNOWN)
    if method in STREAMS:
        assert StreamResponse.FromString(await anext(aiter(call))).task.id == task.id
        call.cancel()
        return
    assert task.id.encode() in await call


# -- required fields of outbound messages; those of inbound ones are in test_validation


@covers("WIRE-6")
def test_the_checker_of_these_tests_sees_what_is_missing() -> None:
    task = Task(id="t", artifacts=[Artifact(artifact_id="a", parts=[Part(data=Value(number_value=math.nan))])])
    task.status.message.parts.add()
    assert faults(task) == [
        "status.state",
        "status.message.message_id",
        "status.message.role",
        "status.message.parts[0]<content>",
        "artifacts[0].parts[0].data.number_value",
    ]
    assert faults(StreamResponse()) == ["<payload>"]
    assert faults(Part(data=Value())) == ["data<kind>"]
    assert faults(ListTasksResponse()) == []


def messages_of(response: ProtobufMessage) -> Iterator[Message]:
    """Every Message in a response, wherever it stands."""
    for descriptor, found in response.ListFields():
        if descriptor.message_type is None or descriptor.message_type.file.package != "lf.a2a.v1":
            continue
        for child in [found] if isinstance(found, ProtobufMessage) else found:
            if isinstance(child, Message):
                yield child
            else:
                yield from messages_of(child)


def assert_conforming(*responses: ProtobufMessage) -> None:
    """REQUIRED fields; in every message its context, and its task if there is one; a time in every
    status."""
    assert responses
    for response in responses:
        assert faults(response) == [], response
        is_reply = isinstance(response, (SendMessageResponse, StreamResponse)) and response.HasField("message")
        for said in messages_of(response):
            assert said.context_id, response
            assert bool(said.task_id) != is_reply, response
            assert said.role == ROLE_AGENT or not is_reply
        match response:
            case Task():
                assert response.context_id
                assert response.status.HasField("timestamp")
            case StreamResponse() if response.WhichOneof("payload") == "status_update":
                assert response.status_update.status.HasField("timestamp")


ENDS: dict[str, list[Any]] = {
    "completes": [],
    "completes with a word": [{"complete": "Done."}],
    "fails": [{"fail": "It did not work."}],
    "is rejected": [{"reject": "Not mine."}],
    "raises": [{"raise": "boom"}],
    "asks": [{"input": "Which date?"}],
    "asks for authorisation": [{"auth": "Log in at the desk."}],
}


@covers("WIRE-6", "OPEN-21")
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_every_required_field_of_every_response_is_set(served: Served, end: list[Any]) -> None:
    blocking = await served.send(scripted(*RICH, *end))
    task = blocking.task
    listed = await served.stub.ListTasks(ListTasksRequest(include_artifacts=True), metadata=V1)
    bare = await served.stub.ListTasks(ListTasksRequest(), metadata=V1)
    assert_conforming(blocking, await served.get(task.id), listed, bare, *listed.tasks, *bare.tasks)
    assert [len(found.artifacts) for found in listed.tasks] == [5]


@covers("WIRE-6")
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_every_required_field_of_every_stream_element_is_set(served: Served, end: list[Any]) -> None:
    call = served.stream(scripted(*RICH, *end))
    # A send's stream stays open in AUTH_REQUIRED, whose event is the last of this script.
    limit = 1 + 1 + len(RICH) + 2 + 1 if "auth" in (end or [{}])[0] else None
    read = await elements(call, limit)
    call.cancel()
    assert_conforming(*read)
    assert len(read) == 1 + 1 + len(RICH) + 2 + 1
    assert {element.WhichOneof("payload") for element in read} == {"task", "status_update", "artifact_update"}


@covers("WIRE-6")
async def test_every_required_field_is_set_when_a_task_is_asked_answered_watched_and_canceled(
    served: Served,
) -> None:
    asking = (await served.send(scripted(*RICH, {"input": "Which date?"}))).task
    watching = served.subscribe(asking.id)
    snapshot = await anext(aiter(watching))
    again = await served.send(scripted({"status": "thanks"}, {"input": "Sure?"}, task_id=asking.id))
    followed = await elements(served.stream(scripted({"input": "Really?"}, task_id=asking.id)))
    canceled = await served.stub.CancelTask(CancelTaskRequest(id=asking.id), metadata=V1)
    assert_conforming(snapshot, again, *followed, canceled, await served.get(asking.id))
    assert_conforming(*await elements(watching))


@covers("WIRE-6")
async def test_every_required_field_of_a_message_reply_is_set(served: Served) -> None:
    unary = await served.send(scripted({"message": "Hello back."}))
    streamed = await elements(served.stream(scripted({"message": "Hello back."})))
    assert_conforming(unary, *streamed)


@covers("WIRE-6", "OPEN-21")
async def test_every_required_field_of_the_cards_is_set() -> None:
    agent = Agent("Bare", "Says as little about itself as it may.")

    @agent.skill()
    async def work(turn: Turn) -> None:
        return None

    @agent.extended_card
    def extended(card: AgentCard, principal: object) -> AgentCard:
        return card

    async with serving(agent, http_listen="127.0.0.1:0") as served:
        public = json_format.Parse(await http_text(served), AgentCard())
        private = await served.stub.GetExtendedAgentCard(GetExtendedAgentCardRequest(), metadata=V1)
    assert faults(public) == []
    assert faults(private) == []


# -- optional fields


@covers("WIRE-7", "STRM-1")
async def test_a_capability_that_is_unset_counts_as_absent_and_the_served_card_states_all_three() -> None:
    async with serving(scripted_agent(), http_listen="127.0.0.1:0") as served:
        capabilities = json.loads(await http_text(served))["capabilities"]
        refused = await refusal(served.stub.GetExtendedAgentCard(GetExtendedAgentCardRequest(), metadata=V1))
    assert {key: capabilities[key] for key in ("streaming", "pushNotifications", "extendedAgentCard")} == {
        "streaming": True,
        "pushNotifications": False,
        "extendedAgentCard": False,
    }
    assert refused.reason == "UNSUPPORTED_OPERATION"


# -- times


@covers("WIRE-8")
async def test_every_status_has_a_utc_time_with_millisecond_precision(served: Served) -> None:
    before_ms = time.time_ns() // 1_000_000
    read = await elements(served.stream(scripted({"status": "one"}, {"status": "two"})))
    after_ms = time.time_ns() // 1_000_000
    told = [
        element.task.status.timestamp.ToMilliseconds()
        if element.WhichOneof("payload") == "task"
        else element.status_update.status.timestamp.ToMilliseconds()
        for element in read
    ]
    assert len(told) == 5
    assert told == sorted(told)
    assert before_ms <= told[0]
    assert told[-1] <= after_ms


@covers("WIRE-8")
async def test_the_time_of_a_stored_status_is_the_time_that_was_streamed(served: Served) -> None:
    last = (await elements(served.stream(request())))[-1].status_update
    stored = await served.get(last.task_id)
    assert stored.status.timestamp == last.status.timestamp
    assert stored.status.timestamp.ToJsonString().endswith("Z")


# -- JSON


async def http_text(served: Served) -> str:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{served.server.http_url}/.well-known/agent-card.json") as response:
            assert response.status == 200
            return await response.text()


@pytest.fixture
async def carded() -> AsyncIterator[Served]:
    """An agent whose card has much to say."""
    card = AgentCard(provider=AgentProvider(url="https://example.org", organization="Example"))
    card.documentation_url = "https://example.org/docs"
    card.capabilities.extensions.append(AgentExtension(uri="urn:example:1", params=struct({"snake_key": 1})))
    agent = Agent("Carded", "Has a long card.", input_modes=["text/*"], card=card)

    @agent.skill(examples=["do it"], input_modes=["image/png"], output_modes=["image/png"])
    async def work(turn: Turn) -> None:
        return None

    async with serving(agent, http_listen="127.0.0.1:0") as served:
        yield served


def keys_of(json_value: Any) -> Iterator[str]:
    if isinstance(json_value, dict):
        for key, item in json_value.items():
            yield key
            if key != "params":  # a Struct: its keys are the user's own
                yield from keys_of(item)
    elif isinstance(json_value, list):
        for item in json_value:
            yield from keys_of(item)


@covers("WIRE-9")
async def test_the_card_is_protojson_with_lower_camel_case_names(carded: Served) -> None:
    text = await http_text(carded)
    names = set(keys_of(json.loads(text)))
    assert names >= {"supportedInterfaces", "protocolBinding", "defaultInputModes", "documentationUrl", "inputModes"}
    assert [name for name in names if "_" in name or name[0].isupper()] == []
    assert json_format.Parse(text, AgentCard()) == carded.server.card


@covers("WIRE-9")
async def test_keys_of_a_struct_in_the_card_stay_as_they_are(carded: Served) -> None:
    extensions = json.loads(await http_text(carded))["capabilities"]["extensions"]
    assert {"uri": "urn:example:1", "params": {"snake_key": 1.0}} in extensions


# -- parts

CONTENTS = {
    "text": Part(text="Grüße 👋"),
    "empty text": Part(text=""),
    "bytes": Part(raw=b"\x00\xff", filename="x.bin", media_type="application/x-thing"),
    "empty bytes": Part(raw=b""),
    "url": Part(url="https://example.org/a.pdf", media_type="application/pdf"),
    "null": Part(data=value(None)),
    "boolean": Part(data=value(False)),
    "number": Part(data=value(0)),
    "string": Part(data=value("")),
    "array": Part(data=value([1, "two", [None]])),
    "empty array": Part(data=value([])),
    "object": Part(data=value({"a": {"b": [{}]}})),
    "empty object": Part(data=Value(struct_value=Struct())),
    "with metadata": Part(text="x", metadata=struct({"k": [1]})),
}


@covers("WIRE-11")
@pytest.mark.parametrize("part", CONTENTS.values(), ids=CONTENTS)
async def test_a_part_of_any_kind_goes_to_the_agent_and_back_unchanged(served: Served, part: Part) -> None:
    sent = Message(message_id="m", role=ROLE_USER, parts=[part])
    task = (await served.send(request(sent))).task
    assert list(task.artifacts[0].parts) == [part]
    assert list(task.history[0].parts) == [part]
    assert (await served.get(task.id)).artifacts[0].parts[0].WhichOneof("content") == part.WhichOneof("content")


@covers("WIRE-11")
async def test_of_two_contents_of_one_part_on_the_wire_only_the_last_counts(served: Served) -> None:
    both = field(1, b"first") + field(3, b"https://example.org/second")
    response = await raw_call(served, "SendMessage", raw_send(raw_message(part=both)))
    task = SendMessageResponse.FromString(response).task
    assert list(task.artifacts[0].parts) == [Part(url="https://example.org/second")]
    assert b"first" not in response


@covers("WIRE-11")
async def test_integers_travel_as_doubles(served: Served) -> None:
    """The largest that a double holds with all those below it, and a larger double that another client may send."""
    numbers = [value(2**53), value(-(2**53)), Value(number_value=2.0**60)]
    sent = Message(message_id="m", role=ROLE_USER, parts=[Part(data=number) for number in numbers])
    task = (await served.send(request(sent))).task
    assert [part.data for part in task.artifacts[0].parts] == numbers


@covers("WIRE-11")
@pytest.mark.parametrize("depth", [1, MAX_DEPTH])
async def test_data_as_deep_as_the_limit_comes_back_in_every_response(served: Served, depth: int) -> None:
    deep: Any = "leaf"
    for _ in range(depth):
        deep = {"k": deep}
    part = Part(data=value(deep))
    sent = request(Message(message_id="m", role=ROLE_USER, parts=[part], metadata=struct(deep)))
    read = await elements(served.stream(sent))
    artifact = next(e.artifact_update.artifact for e in read if e.WhichOneof("payload") == "artifact_update")
    task_id = read[0].task.id
    listed = await served.stub.ListTasks(ListTasksRequest(include_artifacts=True), metadata=V1)
    for task in (await served.get(task_id), listed.tasks[0], (await served.send(sent)).task):
        assert task.artifacts[0].parts[0] == part
        assert task.history[0].metadata == struct(deep)
    assert artifact.parts[0] == part


@covers("WIRE-11")
async def test_a_status_message_of_the_agent_has_parts_with_content() -> None:
    agent = Agent("Terse", "Says nothing in particular.")

    @agent.skill()
    async def work(turn: Turn) -> Completed:
        await turn.status("")
        return Completed("")

    @agent.skill()
    async def ask(turn: Turn) -> InputRequired:
        return InputRequired({"choose": ["a", "b"]})

    async with serving(agent) as served:
        for skill in ("work", "ask"):
            asked = SendMessageRequest(message=message(), metadata=struct({"skill": skill}))
            assert_conforming(*await elements(served.stream(asked)))


@covers("WIRE-1")
def test_the_path_of_these_tests_is_that_of_the_contract() -> None:
    assert f"/{SERVICE.full_name}" == PATH
    assert SendMessageConfiguration.DESCRIPTOR.full_name == "lf.a2a.v1.SendMessageConfiguration"
    assert Empty.DESCRIPTOR is SERVICE.methods_by_name["DeleteTaskPushNotificationConfig"].output_type
