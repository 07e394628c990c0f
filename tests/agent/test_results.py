"""What a handler gives that is no JSON: converted, or refused with one sentence at the handler's own line."""

import enum
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import grpc
import pydantic
import pydantic.v1
import pytest

from a2a_grpc import Completed, InputRequired, Part, Turn
from a2a_grpc.lifecycle import COMPLETED, FAILED
from a2a_grpc.parts import data_of, text_of, value
from tests.agent.agents import GENERIC, agent_of, result
from tests.harness import refusal, request, serving, texts

MOMENT = datetime(2026, 11, 29, 12, 30, tzinfo=UTC)
ID = UUID("12345678-1234-5678-1234-567812345678")


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Point(NamedTuple):
    x: int
    y: int


@dataclass(slots=True)
class Line:
    price: Decimal
    color: Color = Color.RED
    notes: list[Any] = field(default_factory=list)


class Order(pydantic.BaseModel):
    id: UUID
    at: datetime
    price: Decimal
    tags: set[str]


class OldOrder(pydantic.v1.BaseModel):
    id: UUID
    n: int


class Box(pydantic.BaseModel):
    held: object


class OldBox(pydantic.v1.BaseModel):
    held: list[Any]


class Moody(pydantic.BaseModel):
    held: Box

    @pydantic.field_serializer("held")
    def serialize(self, held: Box) -> str:
        raise LookupError("not today")


@dataclass
class Unset:
    a: int
    late: int = field(init=False)


RING = Box(held=None)
RING.held = [RING]

DEEP: dict[str, Any] = {}
for _ in range(40):
    DEEP = {"x": DEEP}


def part_with_nan() -> Part:
    """Return a part that a handler made itself, whose data is no JSON."""
    made = Part(data=value({"a": [1, {"b": 2}]}))
    made.data.struct_value.fields["a"].list_value.values[1].struct_value.fields["b"].number_value = float("nan")
    return made


DATA: dict[str, tuple[Any, Any]] = {
    "dataclass": (Line(Decimal("1.10")), {"price": "1.10", "color": "red", "notes": []}),
    "objects in one another": (
        {"lines": [Line(Decimal(2), notes=[MOMENT, (ID, date(2026, 1, 2)), Line(Decimal(3))])]},
        {
            "lines": [
                {
                    "price": "2",
                    "color": "red",
                    "notes": [
                        "2026-11-29T12:30:00+00:00",
                        [str(ID), "2026-01-02"],
                        {"price": "3", "color": "red", "notes": []},
                    ],
                }
            ]
        },
    ),
    "pydantic model": (
        Order(id=ID, at=MOMENT, price=Decimal("1.10"), tags={"a"}),
        {"id": str(ID), "at": "2026-11-29T12:30:00Z", "price": "1.10", "tags": ["a"]},
    ),
    "pydantic model in a list": (
        [Order(id=ID, at=MOMENT, price=Decimal(1), tags=set())],
        [{"id": str(ID), "at": "2026-11-29T12:30:00Z", "price": "1", "tags": []}],
    ),
    "model of pydantic 1": (OldOrder(id=ID, n=1), {"id": str(ID), "n": 1}),
    "integer of an enum": (Level.HIGH, 3),
    "named tuple": (Point(1, 2), [1, 2]),
}
TEXTS: dict[str, tuple[Any, str]] = {
    "enum": (Color.RED, "red"),
    "datetime": (MOMENT, "2026-11-29T12:30:00+00:00"),
    "date": (date(2026, 1, 2), "2026-01-02"),
    "time": (time(12, 30), "12:30:00"),
    "UUID": (ID, str(ID)),
    "Decimal": (Decimal("1.10"), "1.10"),
}


def returning(made: Any) -> Callable[[Turn], Any]:
    async def handler(turn: Turn) -> Any:
        return made

    return handler


@pytest.mark.parametrize("kind", DATA)
async def test_an_object_with_a_json_value_becomes_data(kind: str) -> None:
    made, expected = DATA[kind]
    task = await result(returning(made))
    assert (task.status.state, data_of(task)) == (COMPLETED, expected)


@pytest.mark.parametrize("kind", TEXTS)
async def test_an_object_that_stands_for_a_text_becomes_text(kind: str) -> None:
    made, expected = TEXTS[kind]
    task = await result(returning(made))
    assert (task.status.state, texts(task)) == (COMPLETED, [expected])


async def test_objects_are_converted_wherever_a_handler_gives_them() -> None:
    async def handler(turn: Turn) -> AsyncIterator[Any]:
        await turn.status(Line(Decimal(1)))
        await turn.artifact(ID, id="a")
        yield Color.RED
        yield Line(Decimal(2))
        raise InputRequired(["Which?", Part(text="this"), ID])

    task = await result(handler)
    assert [[part.text for part in artifact.parts] for artifact in task.artifacts] == [[str(ID)], ["red", ""]]
    assert data_of(task.artifacts[1]) == {"price": "2", "color": "red", "notes": []}
    assert text_of(task.status.message) == f"Which?this{ID}"
    assert [data_of(said) for said in task.history if data_of(said)] == [{"price": "1", "color": "red", "notes": []}]


async def test_bytes_of_any_kind_are_a_file() -> None:
    for made in (bytearray(b"\x00"), memoryview(b"\x00")):
        [artifact] = (await result(returning(made))).artifacts
        assert artifact.parts[0].raw == b"\x00"


# -- what is refused

JSON = "possible are None, bool, int, float, str, list, tuple, dict, dataclass, pydantic model, Enum, "
REFUSED: dict[str, tuple[Any, str]] = {
    "set": ({"tags": {1}}, "TypeError: data.tags: set is not a JSON value; a set has no order; give a list, such as"),
    "path": (Path("/x"), "TypeError: data: PosixPath is not a JSON value; give file_part(path) for the content of the"),
    "bytes in data": ([b"x"], "TypeError: data[0]: bytes is not a JSON value; give bytes as a part beside the data"),
    "object": ({"a": [1, object()]}, f"TypeError: data.a[1]: object is not a JSON value; {JSON}date, time, datetime"),
    "class": (Line, f"TypeError: data: type is not a JSON value; {JSON}"),
    "key": ({"a": {1: 2}}, "TypeError: data.a: the key 1 is int, but JSON has text as keys alone; give str(key)"),
    "nan": ({"a b": float("nan")}, "ValueError: data['a b']: nan is not a JSON number; give it as a string"),
    "no number": (Decimal("NaN"), "ValueError: data: NaN is not a JSON number; give it as a string"),
    "integer": ({"id": 2**53 + 1}, "data.id: 9007199254740993 is not a JSON number that the wire can carry exactly; "),
    "integer in a model": (
        pydantic.create_model("M", n=(int, ...))(n=-(2**60)),
        "data.n: -1152921504606846976 is not a JSON number that the wire can carry exactly; integers beyond 2^53 lose",
    ),
    "half a character": (
        "a\ud800",
        "ValueError: text: the text contains half of a surrogate pair, which is no character",
    ),
    "half a character in data": ({"a b": ["\ud800"]}, "ValueError: data['a b'][0]: the text contains half of a surr"),
    "half a character in a key": ({"a": {"\ud800": 1}}, "ValueError: data.a['\\ud800']: the text contains half of a"),
    "half a character in a part": (
        ["x", Part(text="y"), "\udfff"],
        "ValueError: parts[2].text: the text contains half",
    ),
    "half a character in a dataclass": (
        Line(Decimal(1), notes=["\ud800"]),
        "ValueError: data.notes[0]: the text conta",
    ),
    "half a character in a model": (Box.model_construct(held=["\ud800"]), "ValueError: data.held[0]: "),
    "object in a dataclass": (
        [Line(Decimal(1), notes=[object()])],
        "TypeError: data[0].notes[0]: object is not a JSON",
    ),
    "field without a value": ({"a": Unset(1)}, "ValueError: data.a.late: the field has no value"),
    "object in models": (
        {"boxes": [Box(held=1), Box(held=[{"name": object()}])]},
        "ValueError: data.boxes[1].held[0].name: object cannot be serialized by pydantic: Unable to serialize unknown",
    ),
    "object in an old model": (OldBox(held=[object()]), "TypeError: data.held[0]: object is not a JSON value"),
    "bytes in a model": (
        Box(held={"raw": b"\xff"}),
        "ValueError: data.held.raw: bytes cannot be serialized by pydantic: ",
    ),
    "a serializer that raises": (
        [Moody(held=Box(held=1))],
        "ValueError: data[0].held: Box cannot be serialized by pydantic: Error calling function `serialize`: Look",
    ),
    "a model in itself": (RING, "cannot be serialized by pydantic: Circular reference detected"),
    "too deep": ({"a b": DEEP}, "ValueError: data['a b'].x.x.x."),
    "too deep in a part": (["x", Part(text="y"), DEEP], "ValueError: parts[2].data.x.x.x."),
    "a part that is no JSON": (
        part_with_nan(),
        "parts[0].data.a[1].b: contains nan, which is not a JSON number",
    ),
    "integer in a part": (["x", Part(text="y"), [2**64]], "parts[2].data[0]: 18446744073709551616 is not a JSON"),
}
HERE = f'File "{__file__}"'


def handlers(made: Any) -> list[tuple[Callable[[Turn], Any], str]]:
    """Handlers that give this, with the line of each that does."""

    async def returns(turn: Turn) -> Any:
        if turn.text:
            return made  # here: returns
        return None

    async def yields(turn: Turn) -> AsyncIterator[Any]:
        try:
            yield "fine"
            yield made  # here: yields
        finally:
            turn.text  # noqa: B018

    async def says(turn: Turn) -> None:
        await turn.status(made)  # here: says

    async def adds(turn: Turn) -> None:
        await turn.artifact(made)  # here: adds

    async def asks(turn: Turn) -> None:
        await turn.ask(made)  # here: asks

    async def completes(turn: Turn) -> None:
        raise Completed(made)  # here: completes

    return [(handler, handler.__name__) for handler in (returns, yields, says, adds, asks, completes)]


def line_in_log(log: str, name: str) -> None:
    number = next(
        place for place, line in enumerate(Path(__file__).read_text().splitlines(), 1) if line.endswith(f"here: {name}")
    )
    assert f"{HERE}, line {number}, in {name}" in log
    assert f"at={__file__}:{number} in {name}" in log


@pytest.mark.few(9)
@pytest.mark.parametrize("kind", REFUSED)
async def test_what_is_no_json_fails_the_task_and_the_log_says_why_at_the_handlers_own_line(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    made, sentence = REFUSED[kind]
    for handler, name in handlers(made):
        caplog.clear()
        task = await result(handler)
        assert (task.status.state, text_of(task.status.message)) == (FAILED, GENERIC)
        assert sentence in caplog.text
        line_in_log(caplog.text, name)


async def test_a_reply_that_is_no_json_is_logged_at_the_handlers_own_line(caplog: pytest.LogCaptureFixture) -> None:
    made, sentence = REFUSED["set"]
    for handler, name in handlers(made)[:2]:
        caplog.clear()
        async with serving(agent_of(handler, answers="message")) as served:
            refused = await refusal(served.send(request()))
        assert (refused.code, refused.reason) == (grpc.StatusCode.INTERNAL, "INVALID_AGENT_RESPONSE")
        assert sentence.removeprefix("TypeError: data.tags") in caplog.text
        assert f"in {name}" in caplog.text
        assert f"# here: {name}" in caplog.text


async def test_a_file_over_the_limit_fails_the_task_and_the_log_has_the_flag_and_the_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for handler, name in handlers(b"x" * 2000):
        caplog.clear()
        async with serving(agent_of(handler), max_event_bytes=1024) as served:
            task = (await served.send(request())).task
        assert task.status.state == FAILED
        assert "--max-event-bytes" in text_of(task.status.message)
        [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert "--max-event-bytes" in record.getMessage()
        assert task.id in record.getMessage()
        if name != "completes":  # its words are written once the handler has ended
            assert f"{__file__}:" in record.getMessage()
            assert f"in {name}" in record.getMessage()
