"""A server that answers with too much, with too many, or with nothing costs the client bounded memory and time."""

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import pytest
from google.protobuf.message import Message as ProtobufMessage

from a2a_grpc import Task, connect
from a2a_grpc.client import ConnectionLostError, ResponseTooLargeError
from a2a_grpc.client.pages import Pages
from a2a_grpc.errors import A2AError, InvalidAgentResponseError, UnavailableError
from a2a_grpc.lifecycle import COMPLETED, WORKING
from a2a_grpc.protocol import Key
from a2a_grpc.registry.wire import AgentsPage, FindRequest, RegisteredAgent
from a2a_grpc.wire import (
    Artifact,
    ListTaskPushNotificationConfigsResponse,
    ListTasksResponse,
    Message,
    Part,
    StreamResponse,
    TaskArtifactUpdateEvent,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from tests.attacks import http2
from tests.attacks.http2 import ScriptedServer
from tests.client.cost import held_mib
from tests.client.foreign import foreign, stays_open, task
from tests.client.peers import DONE, OPERATIONS, RPCS, STREAMS, Peer, collected, peering
from tests.harness import run_program

MiB = 1 << 20
ROOM_MIB = 256
"""For an answer of 60 MiB in the hands of gRPC's core and of Python, and for what is parsed of an allowed one."""


class Peak:
    """The memory that this process takes within the block, at its highest."""

    def __enter__(self) -> Self:
        Path("/proc/self/clear_refs").write_text("5")  # the highest mark begins where the process is now
        self._before = held_mib("VmRSS")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.grown_mib = held_mib("VmHWM") - self._before


async def use(address: str, rpc: str, **settings: Any) -> None:
    """One operation of a client of its own."""
    async with connect(address, **settings) as client:
        await OPERATIONS[rpc](client)


async def cost(address: str, operation: str, **settings: Any) -> dict[str, Any]:
    """What one operation of a client in a process of its own costs."""
    pairs = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
    code, out, err = await run_program("tests/client/cost.py", address, operation, *pairs)
    assert code == 0, err
    told: dict[str, Any] = json.loads(out)
    return told


def empty_parts(mib: int) -> bytes:
    """A Task with one artifact of so many MiB of empty parts."""
    size = mib * MiB
    parts = Artifact(artifact_id="a").SerializeToString() + tag(Artifact, "parts") * (size // 2)
    return DONE.SerializeToString() + tag(Task, "artifacts")[:1] + varint(len(parts)) + parts


def tag(kind: type[ProtobufMessage], field: str) -> bytes:
    """A field of a message, empty."""
    return bytes([kind.DESCRIPTOR.fields_by_name[field].number << 3 | 2, 0])


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def element(task: bytes) -> bytes:
    """A StreamResponse that holds this Task."""
    return b"\x0a" + varint(len(task)) + task


# -- memory


@pytest.mark.few
@pytest.mark.parametrize("rpc", ["GetTask", "SubscribeToTask"])
async def test_60_mib_of_empty_parts_are_refused_before_they_are_parsed(rpc: str) -> None:
    wide = empty_parts(60)
    peer = Peer(answers={"GetTask": wide, "SubscribeToTask": element(wide)})
    async with peering(peer):
        told = await cost(peer.address, rpc)
    assert told["error"] == "ResponseTooLargeError", told
    assert "max_response_fields" in told["message"]
    assert told["grown_mib"] < ROOM_MIB


@pytest.mark.parametrize("rpc", RPCS)
async def test_every_answer_is_counted_before_it_is_parsed(rpc: str) -> None:
    peer = Peer(answers={rpc: b"\xfa\x7f\x00" * 2000})  # unknown fields count too
    async with peering(peer), connect(peer.address, max_response_fields=1000, give_up_after_s=0) as client:
        with pytest.raises(ResponseTooLargeError, match="more than 1000 fields; raise max_response_fields"):
            await OPERATIONS[rpc](client)


async def test_an_answer_over_the_limit_of_bytes_names_the_setting() -> None:
    large = Task(id="t-1", artifacts=[Artifact(parts=[Part(raw=b"x" * 5000)])])
    peer = Peer(answers={"GetTask": large, "SubscribeToTask": StreamResponse(task=large)})
    async with peering(peer), connect(peer.address, max_response_bytes=4096) as client:
        for operation in (client.get("t-1"), collected(client.subscribe("t-1"))):
            with pytest.raises(ResponseTooLargeError, match="raise max_response_bytes") as failed:
                await operation
            assert not failed.value.retryable
    assert len(peer.calls) == 2


@pytest.mark.few
@pytest.mark.parametrize("rpc", ["GetTask", "SubscribeToTask"])
async def test_a_compressed_answer_is_inflated_up_to_the_limit_and_no_further(rpc: str) -> None:
    bomb = DONE.SerializeToString() + b"\x7a" + varint(100 * MiB) + bytes(100 * MiB)
    peer = Peer(answers={"GetTask": bomb, "SubscribeToTask": element(bomb)})
    async with peering(peer, compression=grpc.Compression.Gzip):
        told = await cost(peer.address, rpc, max_response_bytes=4 * MiB)
    assert told["error"] == "ResponseTooLargeError", told
    assert "more than 4194304 bytes once it is inflated; raise max_response_bytes" in told["message"]
    assert told["grown_mib"] < 64


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_a_server_may_compress_its_answers(compression: grpc.Compression) -> None:
    large = Task(id="t-1", context_id="c" * 5000, status=TaskStatus(state=COMPLETED))
    peer = Peer(answers={"GetTask": large, "SubscribeToTask": StreamResponse(task=large)})
    async with peering(peer, compression=compression), connect(peer.address) as client:
        assert await client.get("t-1") == large
        assert await collected(client.subscribe("t-1")) == [large]


def working() -> StreamResponse:
    return StreamResponse(task=task(WORKING))


def said(text: str) -> StreamResponse:
    message = Message(message_id="m", parts=[Part(text=text)])
    status = TaskStatus(state=WORKING, message=message)
    return StreamResponse(status_update=TaskStatusUpdateEvent(task_id="t-1", status=status))


def chunk(*parts: Part, append: bool = True) -> StreamResponse:
    artifact = Artifact(artifact_id="a", parts=parts)
    return StreamResponse(artifact_update=TaskArtifactUpdateEvent(task_id="t-1", artifact=artifact, append=append))


def endless(*repeated: StreamResponse) -> Iterator[StreamResponse]:
    return itertools.chain([working()], itertools.cycle(repeated))


GROWING: dict[str, Callable[[], Iterator[StreamResponse]]] = {
    "status updates": lambda: endless(said("x" * 1000)),
    "chunks": lambda: endless(chunk(Part(text="x" * 1000))),
    "empty parts": lambda: endless(chunk(*[Part()] * 500)),
    "artifacts": lambda: (
        StreamResponse(
            artifact_update=TaskArtifactUpdateEvent(task_id="t-1", artifact=Artifact(artifact_id=f"{n:0100}"))
        )
        if n
        else working()
        for n in itertools.count()
    ),
}


@pytest.mark.parametrize("kind", GROWING)
async def test_a_task_that_grows_without_end_is_refused_at_twice_the_limits_at_most(kind: str) -> None:
    peer = Peer(answers={"SubscribeToTask": GROWING[kind]()})
    async with (
        peering(peer),
        connect(peer.address, max_response_bytes=200_000, max_response_fields=10_000) as client,
        client.subscribe("t-1") as events,
    ):
        with pytest.raises(ResponseTooLargeError, match="raise max_response_"):
            [None async for _ in events]
        assert events.task is not None
        assert 5000 < events.task.ByteSize() < 400_000
        # A look each 200,000 bytes: an empty part takes two, within an artifact that takes more.
        assert sum(len(artifact.parts) for artifact in events.task.artifacts) < 110_000


async def test_a_task_whose_artifact_is_replaced_does_not_grow() -> None:
    replaced = [working(), *[chunk(Part(text="x" * 10_000), append=False)] * 100, StreamResponse(task=DONE)]
    peer = Peer(answers={"SubscribeToTask": replaced})
    async with peering(peer), connect(peer.address, max_response_bytes=50_000) as client:
        assert len(await collected(client.subscribe("t-1"))) > 100


async def test_elements_of_a_kind_that_is_not_known_are_passed_over() -> None:
    peer = Peer(answers={"SubscribeToTask": [working(), *[b"\xfa\x7f\x01x"] * 1000, StreamResponse(task=DONE)]})
    async with peering(peer), connect(peer.address) as client:
        events = await collected(client.subscribe("t-1"))
    assert [type(event).__name__ for event in events] == ["Task", "TaskStatusUpdateEvent"]


def of_another(kind: str) -> StreamResponse:
    """An element of a stream that is about task t-2."""
    match kind:
        case "task":
            return StreamResponse(task=Task(id="t-2", status=TaskStatus(state=COMPLETED)))
        case "status":
            return StreamResponse(
                status_update=TaskStatusUpdateEvent(task_id="t-2", status=TaskStatus(state=COMPLETED))
            )
    return StreamResponse(artifact_update=TaskArtifactUpdateEvent(task_id="t-2", artifact=Artifact(artifact_id="a")))


@pytest.mark.parametrize("rpc", ["SendStreamingMessage", "SubscribeToTask", "GetTask", "CancelTask"])
async def test_an_answer_about_another_task_is_refused(rpc: str) -> None:
    peer = Peer()
    async with peering(peer), connect(peer.address) as client:
        for kind in ("task", "status", "artifact") if rpc in STREAMS else ("task",):
            another = of_another(kind)
            peer.answers[rpc] = [working(), another] if rpc in STREAMS else another.task
            with pytest.raises(InvalidAgentResponseError, match="asked for task 't-1' and answered with task 't-2'"):
                await OPERATIONS[rpc](client)


@pytest.mark.parametrize("rpc", STREAMS)
async def test_a_stream_that_repeats_its_snapshot_without_end_is_an_error(rpc: str) -> None:
    peer = Peer(answers={rpc: itertools.repeat(working())})
    async with peering(peer), connect(peer.address) as client:
        with pytest.raises(InvalidAgentResponseError, match="1000 snapshots of the task in a row changed nothing"):
            await OPERATIONS[rpc](client)


# -- connections


def goes_away(peer: http2.Peer) -> None:
    peer.send(http2.goaway(0))
    peer.until([])


def goes_away_when_asked(peer: http2.Peer) -> None:
    peer.until([http2.HEADERS])
    peer.send(http2.goaway(0))
    peer.until([])


def refuses(peer: http2.Peer) -> None:
    for found in peer.frames():
        if found.kind == http2.HEADERS:
            peer.send(http2.rst_stream(found.stream, 7))


def hangs_up(peer: http2.Peer) -> None:
    peer.until([http2.HEADERS])


REFUSING = {"goaway at once": goes_away, "goaway": goes_away_when_asked, "refused": refuses, "hangs up": hangs_up}


@pytest.mark.few(6)
@pytest.mark.parametrize("rpc", ["GetTask", "SendMessage", "SubscribeToTask", "SendStreamingMessage"])
@pytest.mark.parametrize("kind", REFUSING)
async def test_a_server_that_refuses_each_call_costs_little_and_is_asked_with_pauses(kind: str, rpc: str) -> None:
    with ScriptedServer(REFUSING[kind]) as server, Peak() as peak:
        with pytest.raises(UnavailableError):
            await use(server.address, rpc, timeout_s=10, connect_timeout_s=1, give_up_after_s=1)
        assert server.connections < 30
    assert peak.grown_mib < 64


@pytest.mark.parametrize("kind", ["goaway", "refused"])
@pytest.mark.parametrize("rpc", ["GetTask", "SendMessage", "SendStreamingMessage"])
async def test_a_call_that_the_server_did_not_begin_with_is_repeated_also_if_it_is_a_send(kind: str, rpc: str) -> None:
    """The core did this before its retries were switched off: the server has no idempotency keys, and is not asked."""
    answers = {
        "GetTask": DONE.SerializeToString(),
        "SendMessage": element(DONE.SerializeToString()),
        "SendStreamingMessage": element(DONE.SerializeToString()),
    }
    served = 0

    def second_time(peer: http2.Peer) -> None:
        nonlocal served
        for found in peer.frames():
            if found.kind != http2.HEADERS:
                continue
            served += 1
            if served == 1:
                peer.send(http2.rst_stream(found.stream, 7) if kind == "refused" else http2.goaway(0))
                continue
            block = http2.indexed(http2.STATUS_200) + http2.literal("content-type", "application/grpc")
            trailers = http2.headers(found.stream, http2.literal("grpc-status", "0"), end_stream=True)
            content = http2.data(found.stream, http2.message(answers[rpc]))
            peer.send(http2.headers(found.stream, block) + content + trailers)

    with ScriptedServer(second_time) as server:
        async with connect(server.address, connect_timeout_s=10) as client:
            await OPERATIONS[rpc](client)
    assert served == 2


def block_of(size: int) -> bytes:
    return b"".join(http2.literal(f"x-{number}", "y" * 1000) for number in range(size // 1000))


def endless_header_block(peer: http2.Peer) -> None:
    peer.until([http2.HEADERS])
    peer.send(http2.headers(1, http2.indexed(http2.STATUS_200), end_headers=False))
    while True:
        peer.send(http2.continuation(1, block_of(16_000)))


def huge_metadata(peer: http2.Peer) -> None:
    peer.until([http2.HEADERS])
    block = http2.indexed(http2.STATUS_200) + block_of(64_000)
    peer.send(http2.headers(1, block[:16384], end_headers=False))
    peer.send(http2.continuation(1, block[16384:32768]) + http2.continuation(1, block[32768:40000], end_headers=True))
    peer.until([])


def huge_trailers(peer: http2.Peer) -> None:
    peer.until([http2.HEADERS])
    peer.send(http2.headers(1, http2.indexed(http2.STATUS_200) + http2.literal("content-type", "application/grpc")))
    block = http2.literal("grpc-status", "5") + block_of(64_000)
    peer.send(http2.headers(1, block[:16384], end_stream=True, end_headers=False))
    peer.send(http2.continuation(1, block[16384:32768]) + http2.continuation(1, block[32768:40000], end_headers=True))
    peer.until([])


def endless_pings(peer: http2.Peer) -> None:
    while True:
        peer.send(http2.ping() * 1000)
        peer.drain()


def endless_settings(peer: http2.Peer) -> None:
    while True:
        peer.send(http2.settings((4, 70_000)) * 1000)
        peer.drain()


def empty_data(peer: http2.Peer) -> None:
    peer.until([http2.HEADERS])
    peer.send(http2.headers(1, http2.indexed(http2.STATUS_200) + http2.literal("content-type", "application/grpc")))
    while True:
        peer.send(http2.data(1, b"") * 1000)


@pytest.mark.few(7)  # which has each script and both methods
@pytest.mark.parametrize("rpc", ["GetTask", "SubscribeToTask"])
@pytest.mark.parametrize(
    "script", [endless_header_block, huge_metadata, huge_trailers, endless_pings, endless_settings, empty_data]
)
async def test_frames_without_end_cost_bounded_memory_and_time(script: Callable[[http2.Peer], None], rpc: str) -> None:
    with ScriptedServer(script) as server, Peak() as peak:
        with pytest.raises(A2AError):
            await use(server.address, rpc, timeout_s=1, connect_timeout_s=1, give_up_after_s=1, subscribe_timeout_s=0.5)
    assert peak.grown_mib < 128


# -- lists without an end


def page(token: str, *tasks: Task) -> ListTasksResponse:
    return ListTasksResponse(tasks=tasks, next_page_token=token)


class Lists(Peer):
    """A peer that answers each call of a list with the next page."""

    def __init__(self, pages: Iterator[Any]) -> None:
        super().__init__()
        self.pages = pages

    async def answer(self, rpc: str, request: Any, context: Any) -> Any:
        await Peer.answer(self, rpc, request, context)
        return next(self.pages)


ENDLESS: dict[str, Callable[[], Iterator[ListTasksResponse]]] = {
    "the same token": lambda: itertools.repeat(page("again", DONE)),
    "two tokens in turn": lambda: itertools.cycle([page("a", DONE), page("b", DONE)]),
    "the same token without items": lambda: itertools.repeat(page("again")),
    "empty pages": lambda: (page(f"p-{number}") for number in itertools.count()),
}


@pytest.mark.parametrize("kind", ENDLESS)
async def test_a_list_without_an_end_is_an_error_after_bounded_calls(kind: str) -> None:
    peer = Lists(ENDLESS[kind]())
    async with peering(peer), connect(peer.address) as client:
        with pytest.raises(InvalidAgentResponseError, match="ListTasks has no end"):
            await collected(client.list())
    assert len(peer.calls) <= 101


async def test_a_list_of_a_registry_without_an_end_is_an_error() -> None:
    async def answer(_: str, request: FindRequest) -> AgentsPage:
        return AgentsPage(agents=[RegisteredAgent(name="one")], next_page_token=f"{request.page_token}x"[-9999:])

    agents: Pages[RegisteredAgent] = Pages(answer, "FindAgents", FindRequest(), "agents", max_pages=200)
    with pytest.raises(InvalidAgentResponseError, match="FindAgents has no end: it has more than 200 pages"):
        await collected(agents)


@pytest.mark.parametrize("repeats", ["again", "p-{}"])
async def test_a_list_of_push_configs_without_an_end_is_an_error(repeats: str) -> None:
    peer = Lists(
        ListTaskPushNotificationConfigsResponse(next_page_token=repeats.format(number)) for number in itertools.count()
    )
    async with peering(peer), connect(peer.address) as client:
        with pytest.raises(InvalidAgentResponseError, match="ListTaskPushNotificationConfigs has no end"):
            await collected(client.list_push_configs("t-1"))
    assert len(peer.calls) <= 101


async def test_empty_pages_now_and_then_are_no_end() -> None:
    pages = [page(f"p-{number}", *([DONE] if number % 50 == 0 else [])) for number in range(1, 200)]
    peer = Lists(iter([*pages, page("", DONE)]))
    async with peering(peer), connect(peer.address) as client:
        assert len(await collected(client.list())) == 4


# -- a server that says nothing


async def test_a_subscription_that_is_accepted_and_not_answered_ends_as_a_lost_connection() -> None:
    peer = Peer(held=asyncio.Event())
    async with peering(peer), connect(peer.address, subscribe_timeout_s=0.2, give_up_after_s=1) as client:
        with pytest.raises(ConnectionLostError, match=r"sent nothing for 0\.2 s"):
            await collected(client.subscribe("t-1"))
    assert len(peer.calls) > 1


async def test_metadata_alone_are_no_beginning_of_a_subscription() -> None:
    def greets(peer: http2.Peer) -> None:
        for found in peer.frames():
            if found.kind == http2.HEADERS:
                block = http2.indexed(http2.STATUS_200) + http2.literal("content-type", "application/grpc")
                peer.send(http2.headers(found.stream, block + http2.literal(Key.SEQ, "3")))

    with ScriptedServer(greets) as server:
        async with connect(server.address, subscribe_timeout_s=0.2, give_up_after_s=0) as client:
            with pytest.raises(ConnectionLostError, match="sent nothing"):
                await collected(client.subscribe("t-1"))


async def test_a_subscription_after_a_seq_waits_for_its_next_event_as_long_as_it_takes() -> None:
    begun = asyncio.Event()

    def tells_after(peer: http2.Peer) -> None:
        for found in peer.frames():
            if found.kind == http2.HEADERS:
                block = http2.indexed(http2.STATUS_200) + http2.literal("content-type", "application/grpc")
                peer.send(http2.headers(found.stream, block + http2.literal(Key.AFTER, "3")))

    with ScriptedServer(tells_after) as server:
        async with connect(server.address, subscribe_timeout_s=0.1, give_up_after_s=0) as client:
            async with client.subscribe("t-1", after=3) as events:
                reading = asyncio.ensure_future(anext(events))
                done, _ = await asyncio.wait([reading], timeout=0.5)
                assert not done
                reading.cancel()
                await asyncio.wait([reading])
    assert not begun.is_set()


async def test_a_send_is_waited_for_as_long_as_its_first_event_takes() -> None:
    """An agent that answers with a bare Message says nothing before the message is ready."""
    peer = Peer(held=asyncio.Event())
    async with peering(peer), connect(peer.address, subscribe_timeout_s=0.1, give_up_after_s=0.1) as client:
        sending = asyncio.ensure_future(client.send("hello"))
        done, _ = await asyncio.wait([sending], timeout=0.5)
        assert not done
        assert peer.held is not None
        peer.held.set()
        assert (await sending) == DONE


async def test_a_task_that_is_quiet_after_its_snapshot_is_not_lost() -> None:
    async with foreign(subscriptions=[stays_open(task(WORKING))]) as agent:
        async with connect(agent.address, subscribe_timeout_s=0.1, give_up_after_s=0.1) as client:
            async with client.subscribe("t-1") as events:
                await anext(events)
                reading = asyncio.ensure_future(anext(events))
                done, _ = await asyncio.wait([reading], timeout=0.5)
                assert not done
                reading.cancel()
                await asyncio.wait([reading])
    assert agent.calls == ["SubscribeToTask"]
