"""The error tree: each class carries its wire facts, and the way to the wire keeps all of them."""

import inspect

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from hypothesis import given
from hypothesis import strategies as st

from a2a_grpc import errors
from a2a_grpc.errors import A2AError, Violation
from a2a_grpc.rpc.status import MAX_VIOLATIONS, to_status
from tests.covers import covers

CLASSES = [
    member
    for _, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, A2AError) and member is not A2AError
]

SPECIFIED = {
    "TASK_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "TASK_NOT_CANCELABLE": grpc.StatusCode.FAILED_PRECONDITION,
    "PUSH_NOTIFICATION_NOT_SUPPORTED": grpc.StatusCode.FAILED_PRECONDITION,
    "UNSUPPORTED_OPERATION": grpc.StatusCode.FAILED_PRECONDITION,
    "CONTENT_TYPE_NOT_SUPPORTED": grpc.StatusCode.INVALID_ARGUMENT,
    "INVALID_AGENT_RESPONSE": grpc.StatusCode.INTERNAL,
    "EXTENDED_AGENT_CARD_NOT_CONFIGURED": grpc.StatusCode.FAILED_PRECONDITION,
    "EXTENSION_SUPPORT_REQUIRED": grpc.StatusCode.FAILED_PRECONDITION,
    "VERSION_NOT_SUPPORTED": grpc.StatusCode.FAILED_PRECONDITION,
}
"""The nine errors of spec §5.4, with the status codes of 1.0.1."""


@covers("ERR-4")
def test_the_nine_errors_have_the_codes_of_the_specification() -> None:
    assert {kind.reason: kind.code for kind in CLASSES if kind.reason in SPECIFIED} == SPECIFIED


def test_reasons_are_unique_so_that_a_client_can_key_on_them() -> None:
    assert len({kind.reason for kind in CLASSES}) == len(CLASSES)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_class_says_itself_what_it_means(kind: type[A2AError]) -> None:
    assert kind().message == (kind.__doc__ or "").splitlines()[0]
    assert kind.code is not grpc.StatusCode.UNKNOWN
    assert kind.reason.isupper()
    assert kind.__name__ in (errors.__doc__ or ""), "the tree at the head of the module is complete"


@covers("ERR-2")
@pytest.mark.parametrize("kind", CLASSES)
def test_the_status_carries_code_message_and_error_info(kind: type[A2AError]) -> None:
    status = to_status(kind("what happened", metadata={"task_id": "t-17"}))
    info = ErrorInfo()
    assert (status.code, status.message) == (kind.code.value[0], "what happened")
    assert status.details[0].type_url == "type.googleapis.com/google.rpc.ErrorInfo"
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain, dict(info.metadata)) == (kind.reason, "a2a-protocol.org", {"task_id": "t-17"})


@covers("ERR-5")
def test_violations_travel_as_bad_request_and_stand_in_the_message() -> None:
    error = errors.InvalidRequestError.of(Violation("page_size", "is 0"), Violation("status", "99 is not a state"))
    bad = BadRequest()
    assert to_status(error).details[1].Unpack(bad)
    assert [(v.field, v.description) for v in bad.field_violations] == list(error.violations)
    assert error.message == "page_size: is 0; status: 99 is not a state"


@covers("ERR-6")
def test_a_retry_hint_travels_as_retry_info() -> None:
    retry = RetryInfo()
    assert to_status(errors.ResourceExhaustedError(retry_after_s=1.5)).details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 1500


@covers("ERR-8")
@given(st.lists(st.tuples(st.text(max_size=300), st.text(max_size=300)), max_size=200))
def test_details_stay_small_whatever_was_wrong(found: list[tuple[str, str]]) -> None:
    status = to_status(errors.InvalidRequestError.of(*(Violation(*pair) for pair in found)))
    bad = BadRequest()
    if found:
        assert status.details[1].Unpack(bad)
        assert 1 <= len(bad.field_violations) <= MAX_VIOLATIONS
    assert status.ByteSize() <= 5 * 1024


def test_what_a_caller_has_sent_is_repeated_as_one_harmless_line() -> None:
    status = to_status(errors.InvalidRequestError.of(Violation("a\x1b[31m", "is 'x\0\ny'")))
    bad = BadRequest()
    assert status.details[1].Unpack(bad)
    for text in (status.message, bad.field_violations[0].field, bad.field_violations[0].description):
        assert text.isprintable()
