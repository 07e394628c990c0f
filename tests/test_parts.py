"""Python values to parts and back."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message as ProtobufMessage
from google.protobuf.struct_pb2 import Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2a_grpc.parts import (
    MAX_DEPTH,
    Json,
    agent_message,
    data_of,
    file_part,
    part,
    parts,
    struct,
    text_of,
    to_dict,
    to_python,
    value,
)
from a2a_grpc.wire import (
    ROLE_AGENT,
    Artifact,
    ListTasksResponse,
    Message,
    Part,
    SendMessageRequest,
    SendMessageResponse,
    StreamResponse,
    Task,
    TaskArtifactUpdateEvent,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from tests.covers import covers

steady = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
"""The same examples each time, however slow the machine."""

EXACT = 2**53
"""Up to here a double holds every integer."""

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-EXACT, EXACT)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
jsons: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def nested(depth: int, *, in_list: bool = False) -> Any:
    """A scalar below so many objects, or lists."""
    inner: Any = 1
    for _ in range(depth):
        inner = [inner] if in_list else {"in": inner}
    return inner


def shape(json: Any) -> Any:
    """A value in which numbers that JSON does not tell apart are the same, and all others differ in their type too."""
    match json:
        case bool() | None | str():
            return type(json).__name__, json
        case int() | float():
            return "number", float(json)
        case list() | tuple():
            return [shape(item) for item in json]
    return {key: shape(item) for key, item in json.items()}


# -- there and back


@steady
@given(jsons)
def test_a_json_value_comes_back_as_it_was(json: Any) -> None:
    assert shape(to_python(value(json))) == shape(json)


@steady
@given(jsons)
def test_a_json_value_comes_back_through_the_bytes_of_a_part(json: Any) -> None:
    made = part(Part(data=value(json)))
    assert shape(data_of([Part.FromString(made.SerializeToString())])) == shape(json)


@steady
@given(st.dictionaries(st.text(max_size=8), jsons, max_size=5))
def test_a_dict_comes_back_through_a_struct(json: dict[str, Any]) -> None:
    assert shape(to_dict(struct(json))) == shape(json)


@steady
@given(jsons)
def test_what_comes_back_is_json(value_: Any) -> None:
    json.dumps(to_python(value(value_)), allow_nan=False)


@covers("WIRE-11")
@steady
@given(st.integers(-EXACT, EXACT))
def test_integers_stay_integers(number: int) -> None:
    back = to_python(value(number))
    assert type(back) is int
    assert back == number


@steady
@given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer()))
def test_a_fraction_stays_a_float(number: float) -> None:
    back = to_python(value(number))
    assert type(back) is float
    assert back == number


@covers("WIRE-11")
@steady
@given(st.integers() | st.integers(2**53 - 9, 2**53 + 9) | st.integers(-(2**53) - 9, 9 - 2**53) | st.integers(2**1000))
def test_an_integer_comes_back_as_it_was_or_is_refused(number: int) -> None:
    for holder in (value, lambda inner: struct({"n": [inner]}), lambda inner: part([inner])):
        if abs(number) > EXACT:
            with pytest.raises(ValueError, match="2\\^53 lose digits, give it as a string"):
                holder(number)
        else:
            holder(number)
    if abs(number) <= EXACT:
        back = to_python(value(number))
        assert (type(back), back) == (int, number)


@steady
@given(st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([-0.0, 0.0, 2.0**53, 2.0**60, 1e300, 5e-324]))
def test_a_float_comes_back_as_it_was_and_can_be_sent_again(number: float) -> None:
    back: Any = to_python(value(number))
    assert (back, math.copysign(1, back)) == (number, math.copysign(1, number))
    assert to_python(value(back)) == back
    assert type(back) is float or abs(number) <= EXACT


def test_what_is_refused_is_named_with_its_path() -> None:
    for unfit, error, place in (
        ({"order": {"ids": [1, 2**53 + 1]}}, ValueError, "data.order.ids[1]: 9007199254740993 is not"),
        ({"a b": {"c": math.nan}}, ValueError, "data['a b'].c: nan is not"),
        ([{"x": {1}}], TypeError, "data[0].x: set is not"),
        ({"x": {2: 1}}, TypeError, "data.x: the key 2 is int"),
        (-(2**70), ValueError, f"data: {-(2**70)} is not"),
        (10**400, ValueError, "data: an integer of 1329 bits is not"),
    ):
        with pytest.raises(error) as raised:
            value(unfit)
        assert str(raised.value).startswith(place)
    with pytest.raises(ValueError, match=r"^metadata\.id: "):
        struct({"id": 2**53 + 1})
    with pytest.raises(ValueError, match=r"^parts\[1\]\.data\.id: "):
        parts([Part(text="x"), {"id": 2**53 + 1}])


@pytest.mark.parametrize("truth", [True, False])
def test_a_bool_is_no_number(truth: bool) -> None:
    made = value(truth)
    assert made.WhichOneof("kind") == "bool_value"
    assert to_python(made) is truth


def test_a_tuple_is_a_list() -> None:
    assert to_python(value((1, (2, 3)))) == [1, [2, 3]]


def test_null_is_a_value_and_not_its_absence() -> None:
    assert value(None).WhichOneof("kind") == "null_value"
    assert to_python(value(None)) is None
    assert to_python(Value()) is None


# -- refused

UNFIT: dict[str, tuple[Any, type[Exception], str | None]] = {
    "nan": (math.nan, ValueError, "nan is not a JSON number"),
    "infinity": (math.inf, ValueError, "inf is not a JSON number"),
    "minus infinity": (-math.inf, ValueError, "-inf is not a JSON number"),
    "an integer beyond all doubles": (10**400, ValueError, "not a JSON number"),
    "a set": ({1}, TypeError, "set is not a JSON value"),
    "an object": (object(), TypeError, "object is not a JSON value"),
    "bytes": (b"raw", TypeError, "bytes is not a JSON value"),
    "a part": (Part(text="x"), TypeError, "Part is not a JSON value"),
    "a key that is no text": ({1: 2}, TypeError, None),
    "a lone surrogate": ("\ud800", ValueError, None),
    "a key with a lone surrogate": ({"\ud800": 1}, ValueError, None),
}
PLACES: dict[str, Callable[[Any], Any]] = {
    "by itself": lambda unfit: unfit,
    "in a list": lambda unfit: [1, unfit],
    "in an object": lambda unfit: {"a": [unfit]},
}


@covers("VAL-9")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", UNFIT)
def test_what_json_does_not_have_is_refused_wherever_it_stands(kind: str, place: str) -> None:
    unfit, error, said = UNFIT[kind]
    with pytest.raises(error, match=said):
        value(PLACES[place](unfit))


@pytest.mark.parametrize("in_list", [True, False], ids=["lists", "objects"])
def test_a_value_may_be_nested_so_deep_and_not_deeper(in_list: bool) -> None:
    deepest = nested(MAX_DEPTH, in_list=in_list)
    assert to_python(value(deepest)) == deepest
    with pytest.raises(ValueError, match=f"nested deeper than {MAX_DEPTH}"):
        value(nested(MAX_DEPTH + 1, in_list=in_list))


def test_a_cycle_is_refused() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    ring: dict[str, Any] = {}
    ring["in"] = [ring]
    for endless in (cycle, ring):
        with pytest.raises(ValueError, match="nested deeper"):
            value(endless)


def message_of(piece: Part) -> Message:
    return Message(message_id="m", role=ROLE_AGENT, parts=[piece])


CARRIERS: dict[str, Callable[[Part], ProtobufMessage]] = {
    "the message of a request": lambda piece: SendMessageRequest(message=message_of(piece)),
    "the message of a response": lambda piece: SendMessageResponse(message=message_of(piece)),
    "an artifact of a task": lambda piece: SendMessageResponse(task=Task(artifacts=[Artifact(parts=[piece])])),
    "an artifact of a listed task": lambda piece: ListTasksResponse(tasks=[Task(artifacts=[Artifact(parts=[piece])])]),
    "the history of a listed task": lambda piece: ListTasksResponse(tasks=[Task(history=[message_of(piece)])]),
    "the status of a task": lambda piece: SendMessageResponse(task=Task(status=TaskStatus(message=message_of(piece)))),
    "the status of a listed task": lambda piece: ListTasksResponse(
        tasks=[Task(status=TaskStatus(message=message_of(piece)))]
    ),
    "a status update": lambda piece: StreamResponse(
        status_update=TaskStatusUpdateEvent(status=TaskStatus(message=message_of(piece)))
    ),
    "an artifact update": lambda piece: StreamResponse(
        artifact_update=TaskArtifactUpdateEvent(artifact=Artifact(parts=[piece]))
    ),
}


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("in_list", [True, False], ids=["lists", "objects"])
def test_a_value_of_the_greatest_depth_can_be_read_wherever_the_contract_puts_it(carrier: str, in_list: bool) -> None:
    sent = CARRIERS[carrier](part(nested(MAX_DEPTH, in_list=in_list)))
    assert type(sent).FromString(sent.SerializeToString()) == sent


# -- parts and messages


@steady
@given(st.text(max_size=20))
def test_a_text_is_a_text_part(text: str) -> None:
    made = part(text)
    assert (made.WhichOneof("content"), made.text) == ("text", text)


@steady
@given(st.binary(max_size=20))
def test_bytes_are_a_file_of_no_known_type(raw: bytes) -> None:
    made = part(raw)
    assert (made.WhichOneof("content"), made.raw, made.media_type) == ("raw", raw, "application/octet-stream")


@steady
@given(jsons.filter(lambda json: not isinstance(json, str)))
def test_any_other_json_is_a_data_part(json: Json) -> None:
    made = part(json)
    assert made.WhichOneof("content") == "data"
    assert shape(to_python(made.data)) == shape(json)


def test_a_part_is_itself() -> None:
    given_part = Part(url="https://a.example", filename="a", media_type="text/html")
    assert part(given_part) is given_part


@steady
@given(jsons.filter(lambda json: not isinstance(json, str)))
def test_a_list_without_a_part_is_one_data_part(json: Json) -> None:
    assert len(parts([json])) == 1


@steady
@given(st.lists(st.text(max_size=5) | st.binary(max_size=5) | st.integers(0, 9), max_size=5))
def test_a_list_with_a_part_is_a_part_for_each(items: list[Any]) -> None:
    assert parts([*items, Part(text="last")]) == [*(part(item) for item in items), Part(text="last")]


@steady
@given(st.lists(st.text(max_size=8), max_size=8))
def test_chunks_of_a_text_come_out_whole(chunks: list[str]) -> None:
    pieces = [piece for chunk in chunks for piece in (part(chunk), part({"between": 1}))]
    assert text_of(pieces) == "".join(chunks)
    assert text_of(Artifact(parts=pieces)) == "".join(chunks)
    assert text_of(Message(parts=pieces)) == "".join(chunks)


def test_the_data_is_that_of_the_first_data_part() -> None:
    pieces = [Part(text="x"), Part(data=value([1])), Part(data=value([2]))]
    assert data_of(pieces) == data_of(Message(parts=pieces)) == data_of(Artifact(parts=pieces)) == [1]
    assert data_of([Part(text="x")]) is None
    assert data_of(Message()) is None


@covers("SEND-15")
def test_a_message_of_the_agent_has_an_id_of_its_own_and_its_role() -> None:
    first, second = (agent_message("hi", context_id="c", task_id="t") for _ in range(2))
    assert first.message_id
    assert first.message_id != second.message_id
    assert (first.role, first.context_id, first.task_id, text_of(first)) == (ROLE_AGENT, "c", "t", "hi")
    assert agent_message("hi", context_id="c").task_id == ""


def test_a_file_whose_name_is_not_utf_8_can_be_sent(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"gr\xfc\xdfe.txt")
    path.write_bytes(b"hello")
    sent = file_part(path)
    assert (sent.raw, sent.filename, sent.media_type) == (b"hello", "gr\ufffd\ufffde.txt", "text/plain")
