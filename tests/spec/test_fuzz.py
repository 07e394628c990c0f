"""Any bytes as a request: the answer is one of the protocol, and the server goes on."""

import asyncio
import contextlib

import grpc
import grpc.aio
from google.protobuf.message import Message as ProtobufMessage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2a_grpc.wire import SERVICE
from tests.covers import covers
from tests.harness import Served, elements, scripted
from tests.regressions.faults import every_rpc
from tests.spec.raw_calls import raw_call

EXPECTED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}

SEEDS: list[tuple[str, ProtobufMessage]] = [
    *every_rpc().items(),
    ("SendMessage", scripted({"status": "x"}, {"artifact": {"data": {"k": [1, None, "x"]}}}, metadata={"a": {"b": 1}})),
    ("SendStreamingMessage", scripted({"chunks": {"count": 3}}, {"complete": "x"})),
]


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A method with a valid request of which a few bytes were changed, taken away or put in."""
    method, seed = draw(st.sampled_from(SEEDS))
    raw = bytearray(seed.SerializeToString(deterministic=True))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(raw)))
        match draw(st.sampled_from(["set", "cut", "insert"])):
            case "set" if place < len(raw):
                raw[place] = draw(st.integers(0, 255))
            case "cut":
                del raw[place : place + draw(st.integers(1, 8))]
            case _:
                raw[place:place] = draw(st.binary(min_size=1, max_size=8))
    return method, bytes(raw)


@covers("VAL-1", "ERR-7")
@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(damaged())
async def test_no_bytes_are_answered_with_unknown_or_internal(served: Served, call: tuple[str, bytes]) -> None:
    method, raw = call
    reply = raw_call(served, method, raw)
    async with asyncio.timeout(60):
        with contextlib.suppress(grpc.aio.AioRpcError):
            await (elements(reply) if SERVICE.methods_by_name[method].server_streaming else reply)
    assert await reply.code() in EXPECTED, (method, raw, await reply.details())
