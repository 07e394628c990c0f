"""Failures as the client raises them: of the class that the reason names, with all that the peer said (ERR, §10.6)."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st

from a2a_grpc import connect, errors
from a2a_grpc.client import ConnectionLostError, UnreachableError
from a2a_grpc.client.origin import MADE_UP
from a2a_grpc.client.status import to_error
from a2a_grpc.errors import (
    A2AError,
    InvalidRequestError,
    PermissionDeniedError,
    PushNotificationNotSupportedError,
    ResourceExhaustedError,
    TaskNotFoundError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UnsupportedOperationError,
    VersionNotSupportedError,
    Violation,
)
from a2a_grpc.wire import SERVICE_NAME
from tests.client.peers import DONE, OPERATIONS, RPCS, STREAMS, UNARY, Failure, Peer, peering
from tests.covers import covers

pytestmark = pytest.mark.usefixtures("any_way")

CLASSES = [
    member
    for _, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, A2AError) and member is not A2AError
]
CODES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
IMPATIENT: dict[str, Any] = {
    "max_retries": 0,
    "retry_initial_s": 0.001,
    "connect_timeout_s": 0.02,
    "give_up_after_s": 0.02,
}
DETAILS = "grpc-status-details-bin"


async def raised(failure: Failure, *rpcs: str) -> list[A2AError]:
    """What the client raises, operation by operation, where every call ends with this failure."""
    found = []
    async with peering(Peer(always=failure)) as peer, connect(peer.address, **IMPATIENT) as client:
        for rpc in rpcs:
            with pytest.raises(A2AError) as failed:
                await OPERATIONS[rpc](client)
            found.append(failed.value)
    return found


def with_details(code: grpc.StatusCode, *details: Any, text: str = "what happened") -> Failure:
    """A status with exactly these details, written by hand."""
    status = Status(code=code.value[0], message=text)
    for detail in details:
        packed = Packed()
        packed.Pack(detail)
        status.details.append(packed)
    return Failure(code, text, ((DETAILS, status.SerializeToString()),))


# -- a round trip


@covers("ERR-2", "OPEN-2")
@pytest.mark.parametrize("kind", CLASSES)
async def test_every_class_comes_out_as_it_went_in(kind: type[A2AError]) -> None:
    sent = kind(
        "what happened",
        metadata={"task_id": "t-1", "limit": "7"},
        violations=[Violation("message.parts[0]", "is empty"), Violation("tenant", "is unknown")],
        retry_after_s=3600.5,
    )
    rpcs = ["GetTask", "SendMessage", "SendStreamingMessage"]
    if kind is UnavailableError:
        rpcs.remove("SendStreamingMessage")  # a stream that gives up has an error of its own, that holds the task
    for error in await raised(Failure.of(sent), *rpcs):
        assert type(error) is kind
        assert error.message == "what happened"
        assert (error.code, error.reason) == (kind.code, kind.reason)
        assert error.metadata == {"task_id": "t-1", "limit": "7"}
        assert error.violations == sent.violations
        assert error.retry_after_s == 3600.5
        assert error.retryable is kind.retryable


@covers("ERR-2")
@pytest.mark.parametrize("rpc", RPCS)
async def test_the_class_is_the_same_on_all_rpcs(rpc: str) -> None:
    [error] = await raised(Failure.of(TaskNotFoundError.of("t-1")), rpc)
    assert type(error) is TaskNotFoundError
    assert error.message == "task 't-1' was not found"
    assert error.metadata == {"task_id": "t-1"}


@covers("OPEN-2")
@pytest.mark.parametrize(
    "kind", [PushNotificationNotSupportedError, UnsupportedOperationError, VersionNotSupportedError]
)
@pytest.mark.parametrize("code", [grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.FAILED_PRECONDITION])
async def test_the_reason_decides_whatever_generation_the_status_code_is_of(
    kind: type[A2AError], code: grpc.StatusCode
) -> None:
    for error in await raised(Failure.of(kind("no"), code=code), *UNARY, "SendStreamingMessage"):
        assert type(error) is kind
        assert (error.code, error.reason, error.message) == (code, kind.reason, "no")


@covers("OPEN-2")
@pytest.mark.parametrize("kind", CLASSES)
async def test_the_reason_decides_against_any_status_code(kind: type[A2AError]) -> None:
    [error] = await raised(Failure.of(kind("no"), code=grpc.StatusCode.ABORTED), "GetTask")
    assert isinstance(error, kind)


# -- peers that say less


BY_CODE = {
    grpc.StatusCode.NOT_FOUND: TaskNotFoundError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    **dict.fromkeys(MADE_UP, ConnectionLostError),
}
"""A proxy may have made up the others: docs/client.md."""


@covers("ERR-4")
@pytest.mark.parametrize("code", [code for code in CODES if code is not grpc.StatusCode.UNIMPLEMENTED])
async def test_without_details_the_status_code_decides_and_a_code_of_several_errors_names_none(
    code: grpc.StatusCode,
) -> None:
    [error] = await raised(Failure(code, "what happened"), "GetTask")
    assert type(error) is BY_CODE.get(code, A2AError)
    assert (error.code, error.reason, error.metadata, error.violations) == (code, "", {}, ())


@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION])
async def test_a_failure_without_a_text_is_called_by_its_code(code: grpc.StatusCode) -> None:
    [error] = await raised(Failure(code), "GetTask")
    assert error.message == code.name


@covers("ERR-15")
async def test_a_reason_that_this_client_does_not_know_is_kept_and_the_code_decides() -> None:
    info = ErrorInfo(reason="QUOTA_OF_TODAY", domain="agents.example", metadata={"left": "0"})
    [error] = await raised(with_details(grpc.StatusCode.RESOURCE_EXHAUSTED, info), "GetTask")
    assert type(error) is ResourceExhaustedError
    assert (error.reason, error.metadata) == ("QUOTA_OF_TODAY", {"left": "0"})
    [error] = await raised(with_details(grpc.StatusCode.FAILED_PRECONDITION, info), "GetTask")
    assert type(error) is A2AError
    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "QUOTA_OF_TODAY")


@covers("ERR-3")
async def test_details_in_any_order_and_beside_unknown_ones_are_found() -> None:
    bad = BadRequest(field_violations=[BadRequest.FieldViolation(field="tenant", description="is unknown")])
    info = ErrorInfo(reason="INVALID_PARAMS", domain="a2a-protocol.org")
    [error] = await raised(with_details(grpc.StatusCode.INVALID_ARGUMENT, DONE, bad, Status(), info), "GetTask")
    assert type(error) is InvalidRequestError
    assert error.violations == (Violation("tenant", "is unknown"),)


GARBAGE = {
    "no status": b"\xff\xff\xff\xff",
    "empty": b"",
    "an empty detail": Status(code=5, details=[Packed()]).SerializeToString(),
    "a detail of garbage": Status(
        code=5, details=[Packed(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff\xff")]
    ).SerializeToString(),
    "a type of garbage": Status(code=5, details=[Packed(type_url="???", value=b"\xff")]).SerializeToString(),
}


@pytest.mark.parametrize("raw", GARBAGE.values(), ids=GARBAGE)
async def test_details_that_are_garbage_count_as_none(raw: bytes) -> None:
    failure = Failure(grpc.StatusCode.NOT_FOUND, "gone", ((DETAILS, raw),))
    for error in await raised(failure, "GetTask", "SendStreamingMessage"):
        assert type(error) is TaskNotFoundError
        assert (error.message, error.reason) == ("gone", "")


@pytest.mark.parametrize("seconds", [2**62, 10**14, -(10**14), -1])
async def test_a_time_to_wait_that_cannot_be_is_no_reason_to_fail_otherwise(seconds: int) -> None:
    retry = RetryInfo()
    retry.retry_delay.seconds = seconds
    [error] = await raised(with_details(grpc.StatusCode.RESOURCE_EXHAUSTED, retry), "GetTask")
    assert type(error) is ResourceExhaustedError


@given(st.binary(max_size=100))
def test_any_bytes_as_details_give_an_error_of_the_tree(raw: bytes) -> None:
    metadata = grpc.aio.Metadata((DETAILS, raw))
    failure = grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), metadata, "gone")
    assert isinstance(to_error(failure), A2AError)


# -- peers that are none


@asynccontextmanager
async def server(*handlers: Any) -> AsyncIterator[str]:
    """The address of a stock server with these handlers."""
    running = grpc.aio.server()
    running.add_generic_rpc_handlers(handlers)
    port = running.add_insecure_port("127.0.0.1:0")
    await running.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await running.stop(None)


@pytest.mark.parametrize("rpc", RPCS)
async def test_a_grpc_server_that_is_no_agent_is_told_as_such(rpc: str) -> None:
    async with server() as address, connect(address, **IMPATIENT) as client:
        with pytest.raises(UnimplementedError) as failed:
            await OPERATIONS[rpc](client)
    assert f"'{address}' speaks gRPC, but is no A2A 1.0 agent" in str(failed.value)


async def test_an_operation_that_an_agent_itself_calls_unimplemented_does_not_make_it_another_thing() -> None:
    [error] = await raised(Failure.of(UnimplementedError("there is no such method")), "GetExtendedAgentCard")
    assert error.message == "there is no such method"


@pytest.mark.parametrize("rpc", RPCS)
async def test_a_response_that_cannot_be_read_is_an_error_of_the_tree(rpc: str) -> None:
    async def unary(request: bytes, context: Any) -> bytes:
        return b"\xff\xff\xff"

    async def stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"\xff\xff\xff"

    kind: Any = grpc.unary_stream_rpc_method_handler if rpc in STREAMS else grpc.unary_unary_rpc_method_handler
    handler = grpc.method_handlers_generic_handler(SERVICE_NAME, {rpc: kind(stream if rpc in STREAMS else unary)})
    async with server(handler) as address, connect(address, **IMPATIENT) as client:
        with pytest.raises(A2AError) as failed:
            await OPERATIONS[rpc](client)
    assert failed.value.code is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize("rpc", ["GetTask", "SendStreamingMessage"])
async def test_a_response_larger_than_is_wanted_is_an_error_of_the_tree(rpc: str) -> None:
    peer = Peer()
    large = type(DONE)()
    large.CopyFrom(DONE)
    large.metadata["filling"] = "x" * 5000
    peer.answers["GetTask"] = large
    peer.answers["SendStreamingMessage"] = type(peer.answers["SendStreamingMessage"])(task=large)
    async with peering(peer), connect(peer.address, max_response_bytes=4096, **IMPATIENT) as client:
        with pytest.raises(ResourceExhaustedError, match="4096"):
            await OPERATIONS[rpc](client)


# -- nothing of gRPC or of asyncio gets out


@pytest.mark.parametrize("rpc", UNARY)
async def test_a_peers_canceled_is_an_error_and_cancels_nobody_here(rpc: str) -> None:
    async with peering(Peer(always=Failure(grpc.StatusCode.CANCELLED, "enough"))) as peer:
        async with connect(peer.address, **IMPATIENT) as client:
            with pytest.raises(A2AError) as failed:
                await OPERATIONS[rpc](client)
    if rpc not in STREAMS:  # a stream that gives up has an error of its own, that holds the task
        assert failed.value.code is grpc.StatusCode.CANCELLED
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.few(6)
@pytest.mark.parametrize("rpc", RPCS)
async def test_whatever_the_status_what_leaves_the_client_is_an_a2a_error(rpc: str) -> None:
    for code in CODES:
        [error] = await raised(Failure(code, "what happened"), rpc)
        assert not isinstance(error, grpc.RpcError)
        assert "what happened" in str(error)
        assert error.code is code or isinstance(error, UnavailableError)


@pytest.mark.parametrize("operation", ["send", "wait"])
@pytest.mark.parametrize("code", CODES)
async def test_whatever_the_status_waiting_for_a_task_raises_an_a2a_error(
    operation: str, code: grpc.StatusCode
) -> None:
    async with peering(Peer(always=Failure(code, "what happened"))) as peer:
        async with connect(peer.address, **IMPATIENT) as client:
            with pytest.raises(A2AError) as failed:
                await getattr(client, operation)("t-1")
    assert not isinstance(failed.value, grpc.RpcError)


@pytest.mark.parametrize("rpc", RPCS)
async def test_an_agent_that_is_unavailable_but_there_is_not_called_unreachable(rpc: str) -> None:
    """The status came from the agent: it was reached, though it says nothing in details."""
    [error] = await raised(Failure(grpc.StatusCode.UNAVAILABLE, "down for maintenance"), rpc)
    assert isinstance(error, UnavailableError)
    assert not isinstance(error, UnreachableError)
    assert "down for maintenance" in str(error)
