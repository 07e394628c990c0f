"""Fields of a serialised message are counted as protobuf parses them, without parsing, in bounded work."""

import time
from collections import Counter as Tally
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtobufMessage
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_grpc.counting import FIELDS_PER_STEP, Counter, Malformed, TooMany
from a2a_grpc.parts import struct, value
from a2a_grpc.wire import AgentCard, Artifact, Message, Part, SendMessageRequest, Task
from tests.covers import covers

PARTS = "lf.a2a.v1.Message.parts"
VALUES = "google.protobuf.ListValue.values"
FIELDS = "google.protobuf.Struct.fields"
REFERENCES = "lf.a2a.v1.Message.reference_task_ids"
COUNTED = (PARTS, VALUES, FIELDS, REFERENCES)
PLENTY = 1_000_000


def counter(**limits: int) -> Counter:
    named = {"parts": PARTS, "values": VALUES, "fields": FIELDS, "references": REFERENCES}
    whole = limits.pop("whole", PLENTY)
    return Counter(SendMessageRequest, {named[name]: limit for name, limit in limits.items()}, whole=whole)


def walk(limits: Counter, raw: bytes) -> None:
    """Look at all fields, also of a message too short to exceed a limit, over which `check` passes."""
    for _ in limits.steps(raw):
        pass


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def delimited(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def tally(message: ProtobufMessage) -> Tally[str]:
    """How often each field that repeats occurs in a parsed message, by its full name."""
    found: Tally[str] = Tally()
    for field, content in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            found[field.full_name] += len(content)
            for item in content.values():
                if isinstance(item, ProtobufMessage):
                    found += tally(item)
        elif field.is_repeated:
            found[field.full_name] += len(content)
            if field.message_type is not None:
                for item in content:
                    found += tally(item)
        elif field.message_type is not None:
            found += tally(content)
    return found


json = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
metadata = st.dictionaries(st.text(max_size=3), json, max_size=3).map(struct)
parts = (
    st.builds(Part, text=st.text(max_size=200), metadata=metadata)
    | st.builds(Part, raw=st.binary(max_size=200), filename=st.text(max_size=5))
    | st.builds(Part, data=json.map(value))
    | st.builds(Part)
)
requests = st.builds(
    SendMessageRequest,
    tenant=st.text(max_size=3),
    message=st.builds(
        Message,
        message_id=st.text(max_size=3),
        parts=st.lists(parts, max_size=6),
        metadata=metadata,
        reference_task_ids=st.lists(st.text(max_size=3), max_size=4),
    ),
    metadata=metadata,
)
unknown = st.sampled_from(
    [
        delimited(99, b"\x2a\x00\x2a\x00"),
        b"\x2b\x2a\x00\x33\x2a\x00\x34\x2c",  # groups, with what would be parts within
        varint(5 << 3) + varint(2**64 - 1),
        varint(77 << 3 | 1) + b"\x00" * 8,
        varint(77 << 3 | 5) + b"\x00" * 4,
        b"\x90\x80\x00\x01",  # the tag of message, as a number, in more bytes than it needs
        delimited(2, b"\xaa\x80\x00\x80\x00"),  # an empty part, its tag and length in more bytes than they need
    ]
)


@st.composite
def encodings(draw: st.DrawFn) -> bytes:
    """Messages one after another (protobuf merges them), with unknown fields between, and now and then damaged."""
    raw = bytearray()
    for _ in range(draw(st.integers(1, 3))):
        raw += draw(requests).SerializeToString() + draw(unknown | st.just(b""))
    for _ in range(draw(st.integers(0, 3))):
        if raw:
            place = draw(st.integers(0, len(raw) - 1))
            raw[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    return bytes(raw)


@given(requests)
def test_a_message_at_its_limits_passes_and_one_over_any_of_them_does_not(request: SendMessageRequest) -> None:
    raw, counts = request.SerializeToString(), tally(request)
    limits = {name: counts[name] for name in COUNTED}
    Counter(SendMessageRequest, limits, whole=PLENTY).check(raw)
    for name in COUNTED:
        if counts[name]:
            with pytest.raises(TooMany) as raised:
                Counter(SendMessageRequest, {**limits, name: counts[name] - 1}, whole=PLENTY).check(raw)
            assert raised.value.path.endswith(name.rpartition(".")[2])
            assert raised.value.limit == counts[name] - 1


def test_whatever_protobuf_parses_is_counted_as_it_parses_it(full: bool) -> None:
    examples = given(encodings() | st.binary(max_size=60), st.integers(0, 6))
    settings(max_examples=500 if full else 60)(examples(check_counts))()


def check_counts(raw: bytes, limit: int) -> None:
    try:
        parsed = SendMessageRequest.FromString(raw)
    except DecodeError:
        return
    walk(counter(), raw)  # never Malformed
    try:
        Counter(SendMessageRequest, dict.fromkeys(COUNTED, limit), whole=PLENTY).check(raw)
    except TooMany:
        return
    counts = tally(parsed)
    assert all(counts[name] <= limit for name in COUNTED)


@given(st.binary(max_size=300))
def test_bytes_of_any_kind_end_in_a_count_or_in_its_two_errors(raw: bytes) -> None:
    for kind in (SendMessageRequest, Task, AgentCard):
        try:
            walk(Counter(kind, {}, whole=50), raw)
        except (TooMany, Malformed):
            pass


WIDE: dict[str, bytes] = {
    "message.parts": delimited(2, b"\x2a\x00" * 2_000_000),
    "message.reference_task_ids": delimited(2, b"\x42\x00" * 2_000_000),
    "message.parts.data.list_value.values": delimited(
        2, delimited(5, delimited(4, delimited(6, b"\x0a\x00" * 2_000_000)))
    ),
    "message.metadata.fields": delimited(2, delimited(6, b"\x0a\x00" * 2_000_000)),
    "": delimited(2, b"\x4a\x00" * 2_000_000),
}


@covers("VAL-6")
@pytest.mark.parametrize("path", WIDE)
def test_a_wide_message_is_refused_by_its_field_after_as_many_fields_as_the_limit(path: str) -> None:
    limits = counter(parts=1000, values=1000, fields=1000, references=1000, whole=5000)
    limits.check(b"")
    begun = time.process_time()
    with pytest.raises(TooMany) as raised:
        limits.check(WIDE[path])
    assert raised.value.path == path
    assert time.process_time() - begun < 0.1  # parsing it takes longer, and walking all of it a second


@pytest.mark.parametrize(
    "raw",
    [
        b"\x12",
        b"\x12\x05\x2a\x00",
        b"\x12\x02\x2a\x01\x00",  # a part longer than its message
        b"\x07\x00",  # wire type 7
        b"\x13",  # a group without an end
        b"\x14",  # an end without a group
        b"\x13\x1c",  # another group's end
        b"\x12\x01\x2b",  # a group without an end in its message
        b"\x08" + b"\xff" * 1_000_000,
        b"\xff" * 1_000_000,
        b"\x2b" * 1_000_000,
    ],
    ids=lambda raw: raw[:6].hex(),
)
def test_bytes_that_are_no_message_are_malformed_for_both(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        SendMessageRequest.FromString(raw)
    with pytest.raises(Malformed):
        walk(counter(parts=9), raw)


def test_steps_pause_after_a_bounded_number_of_fields() -> None:
    raw = SendMessageRequest(message=Message(parts=[Part(text="x")] * 10_000)).SerializeToString()
    assert sum(1 for _ in counter(parts=10_000).steps(raw)) == 20_001 // FIELDS_PER_STEP


def test_a_message_that_holds_itself_is_counted_at_every_depth() -> None:
    nested: Any = []
    for _ in range(20):
        nested = [nested]
    raw = SendMessageRequest(message=Message(parts=[Part(data=value(nested))])).SerializeToString()
    walk(counter(values=20), raw)
    with pytest.raises(TooMany):
        walk(counter(values=19), raw)


def test_each_artifact_and_each_message_counts_against_one_limit() -> None:
    task = Task(
        artifacts=[Artifact(parts=[Part(text="x")] * 3), Artifact(parts=[Part(text="y")] * 3)],
        history=[Message(parts=[Part(text="z")] * 3)],
    )
    limits = {"lf.a2a.v1.Artifact.parts": 6, PARTS: 3}
    Counter(Task, limits, whole=PLENTY).check(task.SerializeToString())
    with pytest.raises(TooMany, match=r"artifacts\.parts has more than 5 items"):
        Counter(Task, {**limits, "lf.a2a.v1.Artifact.parts": 5}, whole=PLENTY).check(task.SerializeToString())
