"""Translate the failures of gRPC into the errors of the tree. No other module of the client does so."""

import asyncio
import re
from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from a2a_grpc import errors
from a2a_grpc.client.errors import ConnectionLostError
from a2a_grpc.client.origin import Origin, in_words, origin_of, page_of
from a2a_grpc.errors import A2AError, Violation
from a2a_grpc.protocol import STATUS_DETAILS

MAX_RETRY_AFTER_S = 86_400.0

ENDING_S = 1.0
"""Seconds in which the status of a stream comes after a write has failed."""
WRITE_FAILED = "Internal error from Core"
"""The beginning of the details of the status INTERNAL that gRPC makes up when a write fails."""

Detail = TypeVar("Detail", ErrorInfo, BadRequest, RetryInfo)

CLASSES = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, A2AError) and kind.reason
]
BY_REASON = {kind.reason: kind for kind in CLASSES}
BY_CODE: dict[grpc.StatusCode, type[A2AError]] = {
    grpc.StatusCode.NOT_FOUND: errors.TaskNotFoundError,
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidRequestError,
    grpc.StatusCode.INTERNAL: errors.InternalError,
    **{kind.code: kind for kind in CLASSES if sum(other.code == kind.code for other in CLASSES) == 1},
}
"""The classes for peers that send no `ErrorInfo`. If several errors share a code, it is the general one, or none."""


def to_error(failure: grpc.aio.AioRpcError | grpc.RpcError, *, is_late: bool = True) -> A2AError:
    """Return the error that a failed call stands for: ConnectionLostError if it does not come from the agent.

    `ErrorInfo.reason` decides (ERR-2): peers of 1.0.0 send other status codes for the same reasons. The error keeps the
    code and the reason that were received. `is_late`: the call had a deadline, and the deadline may have passed.
    """
    call: Any = failure
    code, text = call.code(), call.details() or ""
    status = details(call.trailing_metadata())
    origin = origin_of(code, text, has_details=status is not None and bool(status.details), is_late=is_late)
    if origin is not Origin.ANSWERED:
        return lost(code, text, origin)
    if page := page_of(text):
        return _refused_by_page(code, page)
    info, bad, retry = (_detail(status, kind) for kind in (ErrorInfo, BadRequest, RetryInfo))
    kind = BY_REASON.get(info.reason if info else "") or BY_CODE.get(code, A2AError)
    error = kind(
        text or code.name,
        metadata=dict(info.metadata) if info else None,
        violations=[Violation(item.field, item.description) for item in bad.field_violations] if bad else (),
        retry_after_s=_delay_s(retry.retry_delay) if retry else None,
    )
    error.code = code
    error.reason = info.reason if info else ""
    return error


def ending_of(call: Any) -> "asyncio.Future[grpc.aio.AioRpcError]":
    """Return a future of the status with which a stream ends, as the peer has sent it.

    If a write fails, gRPC sets the status INTERNAL, perhaps in place of the peer's. So the status is read whenever gRPC
    sets one.

    Args:
        call: gRPC's call, which has just begun.
    """
    ending: asyncio.Future[grpc.aio.AioRpcError] = asyncio.get_running_loop().create_future()

    def note(call: Any) -> None:
        failure = _at_once(_status_of(call))
        is_made_up = failure.code() is grpc.StatusCode.INTERNAL and (failure.details() or "").startswith(WRITE_FAILED)
        if not is_made_up and not ending.done():
            ending.set_result(failure)

    call.add_done_callback(note)
    return ending


async def failure_of(ending: "asyncio.Future[grpc.aio.AioRpcError]") -> grpc.aio.AioRpcError:
    """Return the failure of a stream that gRPC cannot read or write any more. Return UNAVAILABLE if no status comes.

    Args:
        ending: The future of its status.
    """
    await asyncio.wait([ending], timeout=ENDING_S)
    if ending.done():
        return ending.result()
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing, "the connection is broken")


async def _status_of(call: Any) -> grpc.aio.AioRpcError:
    code, text = await call.code(), await call.details()
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), await call.trailing_metadata(), text)


def _at_once(reading: Coroutine[Any, Any, grpc.aio.AioRpcError]) -> grpc.aio.AioRpcError:
    """Return the result of a coroutine that does not wait."""
    try:
        reading.send(None)
    except StopIteration as end:
        result: grpc.aio.AioRpcError = end.value
        return result
    reading.close()
    raise RuntimeError("the status of a call that has ended is not there")


def lost(code: grpc.StatusCode, text: str = "", origin: Origin = Origin.LOST) -> ConnectionLostError:
    """Return the error for a status that is not the agent's."""
    error = ConnectionLostError(text if origin is Origin.UNREACHED else in_words(code, text), origin=origin)
    error.code, error.reason = code, ""
    return error


TOO_LARGE_PAGES = (413, 414, 431)


def _refused_by_page(code: grpc.StatusCode, page: int) -> A2AError:
    """Return the error for an HTTP page that refuses the call for good."""
    is_size = page in TOO_LARGE_PAGES
    kind = errors.ResourceExhaustedError if is_size else BY_CODE.get(code, A2AError)
    advice = "; the request is too large for it: send large content as a part with a url" if is_size else ""
    error = kind(f"a proxy, or a server that is no agent, refused the call with HTTP {page}{advice}")
    error.code, error.reason, error.retryable = code, "", False
    return error


_TOO_LARGE = re.compile(r"larger than max \((\d+) vs\. (\d+)\)")
"""What gRPC says of a message that was over the limit of the side that received it."""


def explain_size(error: A2AError) -> None:
    """Name the limit and the way out if the agent's server refused a request for its size."""
    found = _TOO_LARGE.search(error.message) if isinstance(error, errors.ResourceExhaustedError) else None
    if found is None or error.reason or "CLIENT: " in error.message:
        return
    error.retryable = False
    error.say(
        f"the request has {found[1]} bytes; the agent reads at most {found[2]} (--max-receive-bytes of its server): "
        "send large content as a part with a url"
    )


def details(trailers: Any) -> Status | None:
    """Return the status details among trailing metadata; None if there are none that can be read."""
    for key, raw in trailers or ():
        if key == STATUS_DETAILS:
            try:
                return Status.FromString(raw)
            except DecodeError:
                return None
    return None


def _delay_s(delay: Duration) -> float:
    """Return the seconds to wait, from 0 to a day, since a peer may send any number."""
    return min(max(0.0, delay.seconds + delay.nanos / 1e9), MAX_RETRY_AFTER_S)


def _detail(status: Status | None, kind: type[Detail]) -> Detail | None:
    for packed in status.details if status else ():
        detail = kind()
        try:
            if packed.Unpack(detail):
                return detail
        except DecodeError:
            continue
    return None
