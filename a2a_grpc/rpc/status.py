"""Convert errors to gRPC statuses with `google.rpc` details (spec §10.6)."""

from collections.abc import Sequence
from typing import Any as Any_

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from a2a_grpc.errors import DOMAIN, A2AError, Violation
from a2a_grpc.harmless import one_line
from a2a_grpc.protocol import STATUS_DETAILS

CODES = {code.value[0]: code for code in grpc.StatusCode}
"""gRPC's status codes by their numbers."""

MAX_MESSAGE_BYTES = 1024
MAX_DETAIL_BYTES = 192
MAX_VIOLATIONS = 16
MAX_VIOLATIONS_BYTES = 2048
"""Peers limit the size of trailers, often to 8 KiB (ERR-8)."""


def to_status(error: A2AError) -> Status:
    """Return the status of an error: code, message, ErrorInfo, and BadRequest or RetryInfo if the error has them.

    The texts for people become harmless lines: they may repeat what the caller has sent.
    """
    metadata = {key: _cut(text, MAX_DETAIL_BYTES) for key, text in error.metadata.items()}
    details = [ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)]
    if error.violations:
        details.append(_bad_request(error.violations))
    if error.retry_after_s is not None:
        delay = Duration()
        delay.FromMilliseconds(int(error.retry_after_s * 1000))
        details.append(RetryInfo(retry_delay=delay))
    status = Status(code=error.code.value[0], message=_cut(one_line(error.message), MAX_MESSAGE_BYTES))
    for detail in details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


async def abort(context: "grpc.aio.ServicerContext[Any_, Any_]", status: Status) -> None:
    """End a call with a status, then return."""
    metadata = (*(context.trailing_metadata() or ()), *trailing_metadata(status))
    await end(context, CODES[status.code], status.message, metadata)


async def end(
    context: "grpc.aio.ServicerContext[Any_, Any_]",
    code: grpc.StatusCode,
    message: str,
    metadata: Sequence[tuple[str, str | bytes]],
) -> None:
    """End a call with a code, a message and trailing metadata, then return.

    grpc.aio raises its AbortError once the handler has ended, and keeps the error with the call. The traceback of the
    error would keep the frames of the handler, and so the request, until the garbage collector runs.
    """
    try:
        await context.abort(code, message, tuple(metadata))
    except grpc.aio.AbortError as aborted:
        aborted.__traceback__ = None


def _bad_request(violations: Sequence[Violation]) -> BadRequest:
    """Return the first violations, as many as there is room for."""
    bad, room = BadRequest(), MAX_VIOLATIONS_BYTES
    for field, description in violations[:MAX_VIOLATIONS]:
        item = BadRequest.FieldViolation(
            field=_cut(one_line(field), MAX_DETAIL_BYTES), description=_cut(one_line(description), MAX_DETAIL_BYTES)
        )
        room -= item.ByteSize()
        if room < 0:
            break
        bad.field_violations.append(item)
    return bad


def _cut(text: str, limit: int) -> str:
    """Return the beginning of a text that fits. `grpc-message` encodes each byte that is not plain ASCII as three
    bytes."""
    size = 0
    for place, character in enumerate(text):
        size += 1 if " " <= character <= "~" and character != "%" else 3 * len(character.encode())
        if size > limit:
            return text[:place]
    return text


def trailing_metadata(status: Status) -> tuple[tuple[str, bytes], ...]:
    """Return the trailer that carries the details."""
    return ((STATUS_DETAILS, status.SerializeToString()),)
