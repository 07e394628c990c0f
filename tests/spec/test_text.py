"""Text that a store cannot keep is refused by its field's name, alike on every store, never with INTERNAL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message as ProtobufMessage
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from a2a_grpc import Agent, Turn
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import InvalidRequestError
from a2a_grpc.rpc.metadata import CallMetadata
from a2a_grpc.server.paging import encode
from a2a_grpc.server.settings import RequestLimits
from a2a_grpc.store import ListFilter, Position, Scope, open_store
from a2a_grpc.store.sql.migrations import upgrade
from a2a_grpc.text import flaw
from a2a_grpc.wire import CancelTaskRequest, GetTaskRequest, ListTasksRequest, SubscribeToTaskRequest
from tests.attacks import http2
from tests.covers import covers
from tests.guarantees.rig import serving_on
from tests.harness import V1, Served, decoded, elements, refusal, request, scripted_agent

NASTY = ["a", "\0", "é", "\U0001f600", "\u202e", " ", "'", "%", "\\", "\x7f", "\ufffe", "\n"]
TEXTS = st.one_of(
    st.text(st.sampled_from(NASTY), max_size=8),
    st.builds(lambda char, size: char * size, st.sampled_from(NASTY), st.sampled_from([255, 256, 257, 3000])),
)
METHODS = {
    GetTaskRequest: "GetTask",
    CancelTaskRequest: "CancelTask",
    SubscribeToTaskRequest: "SubscribeToTask",
    ListTasksRequest: "ListTasks",
}


def with_text(field: str, text: str) -> tuple[str, ProtobufMessage]:
    """A request with a text in one of its fields."""
    if field.startswith("SendMessage"):
        sent = request("hello")
        match field.partition(".")[2]:
            case "tenant":
                sent.tenant = text
            case "metadata key":
                sent.metadata.update({text: 1})
            case "metadata value":
                sent.message.metadata.update({"key": text})
            case ("reference_task_ids" | "extensions") as name:
                getattr(sent.message, name).append(text)
            case name:
                setattr(sent.message, name, text)
        return "SendMessage", sent
    if field == "ListTasks.page_token":
        token = encode(Position(1, text), Scope("", ""), ListFilter())
        return "ListTasks", ListTasksRequest(page_token=token)
    kind = next(kind for kind, name in METHODS.items() if field.startswith(name))
    return METHODS[kind], kind(**{field.partition(".")[2]: text})


FIELDS = [
    *(f"SendMessage.{name}" for name in ("message_id", "context_id", "task_id", "tenant", "reference_task_ids")),
    *("SendMessage.extensions", "SendMessage.metadata key", "SendMessage.metadata value"),
    *("GetTask.id", "GetTask.tenant", "CancelTask.id", "CancelTask.tenant", "SubscribeToTask.id"),
    *("ListTasks.context_id", "ListTasks.tenant", "ListTasks.page_token"),
]


@pytest.fixture
async def servers(tmp_path: Path, postgres_url: str, mariadb_url: str) -> AsyncIterator[dict[str, Served]]:
    """A server on each kind of store."""
    urls = {"memory": "memory:", "sqlite": f"sqlite:///{tmp_path}/tasks.db"}
    urls |= {"postgresql": postgres_url, "mysql": mariadb_url}
    async with AsyncExitStack() as stack:
        found = {}
        for name, url in urls.items():
            if name in ("postgresql", "mysql"):
                await upgrade(url)
            found[name] = await stack.enter_async_context(serving_on(open_store(url), scripted_agent()))
        yield found


async def answer(
    served: Served, method: str, sent: ProtobufMessage, *metadata: tuple[str, str]
) -> tuple[str, list[str]]:
    """The status of a call, and the fields that it names."""
    call: Any = getattr(served.stub, method)(sent, metadata=V1 + metadata)
    try:
        async with asyncio.timeout(60):
            await (elements(call, 1) if method == "SubscribeToTask" else call)
    except grpc.aio.AioRpcError as error:
        said = decoded(error)
        return said.code.name, said.fields
    return "OK", []


@covers("VAL-1")
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(field="ListTasks.page_token", text="a\0b")
@example(field="ListTasks.page_token", text="\U0001f600" * 3000)
@given(field=st.sampled_from(FIELDS), text=TEXTS)
async def test_every_store_gives_the_same_answer_to_any_text_in_any_field(
    servers: dict[str, Served], field: str, text: str
) -> None:
    method, sent = with_text(field, text)
    answers = {name: await answer(served, method, sent) for name, served in servers.items()}
    assert set(answers["memory"][0:1]) <= {"OK", "INVALID_ARGUMENT", "NOT_FOUND"}, answers
    assert set(map(str, answers.values())) == {str(answers["memory"])}, answers


@covers("VAL-1")
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("text", ["a\0b", "x" * 5000, "\U0001f600" * 257])
async def test_text_that_a_store_cannot_keep_names_its_field(served: Served, field: str, text: str) -> None:
    method, sent = with_text(field, text)
    code, fields = await answer(served, method, sent)
    if "metadata" in field:
        assert code in ("OK", "INVALID_ARGUMENT")  # the store keeps metadata as bytes
        return
    assert code == "INVALID_ARGUMENT"
    assert [field.partition(".")[2]] == [name.removeprefix("message.").partition("[")[0] for name in fields]


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(text=TEXTS)
async def test_an_idempotency_key_is_one_that_a_store_can_keep_or_refused(text: str) -> None:
    metadata = [("idempotency-key", text)]
    if text.strip() and flaw(text.strip()) is None:
        assert CallMetadata.read(metadata).idempotency_key == text.strip()
        return
    with pytest.raises(InvalidRequestError) as refused:
        CallMetadata.read(metadata)
    assert [violation.field for violation in refused.value.violations] == ["idempotency-key"]


async def test_a_nul_in_an_idempotency_key_on_the_wire_is_an_invalid_argument(servers: dict[str, Served]) -> None:
    """gRPC's own clients send no NUL in metadata; its server lets one through."""
    path = "/lf.a2a.v1.A2AService/SendMessage"
    frames = http2.request(1, path, request("hello").SerializeToString(), ("idempotency-key", b"a\0b"))

    def ask(address: str) -> bytes:
        with http2.Peer.connect(address) as peer:
            peer.send(frames)
            found = peer.until([http2.HEADERS, http2.RST_STREAM])
            assert found is not None
            return found.payload

    for name, served in servers.items():
        said = await asyncio.to_thread(ask, served.server.grpc_address)
        assert b"idempotency-key" in said, (name, said)
        assert b"NUL" in said, (name, said)


async def test_the_longest_text_that_is_allowed_is_kept_by_every_store(servers: dict[str, Served]) -> None:
    longest = "\U0001f600" * 256
    sent = request("hello", tenant=longest)
    sent.message.context_id = longest
    for name, served in servers.items():
        task = (await served.stub.SendMessage(sent, metadata=V1)).task
        assert task.context_id == longest, name


def test_ids_longer_than_an_index_can_hold_cannot_be_allowed() -> None:
    with pytest.raises(ConfigurationError, match="max_id_chars is 257; it must be at most 256"):
        RequestLimits(max_id_chars=257)


@pytest.mark.parametrize("id", ["a\0b", "x" * 257, "\ud800"])
def test_the_id_of_a_skill_that_no_store_can_keep_is_refused_where_it_is_declared(id: str) -> None:
    agent = Agent("A", "An agent.")

    async def work(turn: Turn) -> None:
        """Work."""

    with pytest.raises(ValueError, match=r"of a skill|^Agent\.skill\(\): id is "):
        agent.skill(id)(work)


@pytest.mark.parametrize("output", ["\ud800", {"key": "\udfff"}, {"\ud800": 1}])
async def test_output_that_is_no_text_ends_the_task_in_failed(output: Any, tmp_path: Path) -> None:
    agent = Agent("A", "An agent.")

    @agent.skill("work")
    async def work(turn: Turn) -> Any:
        """Work."""
        return output

    async with serving_on(open_store(f"sqlite:///{tmp_path}/tasks.db"), agent) as served:
        task = (await served.stub.SendMessage(request("hello"), metadata=V1)).task
        assert task.status.state == 4, task  # FAILED
        refused = await refusal(served.stub.GetTask(GetTaskRequest(id="\0"), metadata=V1))
        assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
