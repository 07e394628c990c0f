"""Errors as gRPC statuses with `google.rpc` details (spec §10.6)."""

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from a2a_grpc.errors import DOMAIN, A2AError

DETAILS = "grpc-status-details-bin"

MAX_MESSAGE_CHARS = 1024
MAX_VIOLATIONS = 16
MAX_DETAIL_CHARS = 256
"""Peers limit the size of trailers, often to 8 KiB (ERR-8)."""


def to_status(error: A2AError) -> Status:
    """Code, message, and ErrorInfo; BadRequest where fields were refused; RetryInfo where waiting helps."""
    metadata = {key: text[:MAX_DETAIL_CHARS] for key, text in error.metadata.items()}
    details = [ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)]
    if error.violations:
        details.append(
            BadRequest(
                field_violations=[
                    BadRequest.FieldViolation(field=field[:MAX_DETAIL_CHARS], description=text[:MAX_DETAIL_CHARS])
                    for field, text in error.violations[:MAX_VIOLATIONS]
                ]
            )
        )
    if error.retry_after_s is not None:
        delay = Duration()
        delay.FromMilliseconds(int(error.retry_after_s * 1000))
        details.append(RetryInfo(retry_delay=delay))
    status = Status(code=error.code.value[0], message=error.message[:MAX_MESSAGE_CHARS])
    for detail in details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def trailing_metadata(status: Status) -> tuple[tuple[str, bytes], ...]:
    """The trailer that carries the details."""
    return ((DETAILS, status.SerializeToString()),)
