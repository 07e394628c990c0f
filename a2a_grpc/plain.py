"""Convert Python objects that JSON does not have to JSON values."""

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, time
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, ClassVar, Protocol, TypeAlias
from uuid import UUID

POSSIBLE = (
    "possible are None, bool, int, float, str, list, tuple, dict, dataclass, pydantic model, Enum, "
    "date, time, datetime, UUID and Decimal"
)
ADVICE: tuple[tuple[tuple[type, ...], str], ...] = (
    ((set, frozenset), "a set has no order; give a list, such as sorted(...)"),
    ((bytes, bytearray, memoryview), "give bytes as a part beside the data, or as text in base64"),
    ((PurePath,), "give file_part(path) for the content of the file, or str(path) for its name"),
)


class Dataclass(Protocol):
    """An instance of a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


class Model(Protocol):
    """A model of pydantic."""

    def model_dump(self, *, mode: str) -> Any: ...


Object: TypeAlias = Enum | date | time | UUID | Decimal | Dataclass | Model
"""The kinds of objects that `plain` converts."""


Path: TypeAlias = tuple[str | int, ...]
"""The name of a value, then the keys and places that lead to a value inside it."""

MAX_KEY_CHARS = 48
MAX_PATH_CHARS = 240
MAX_LOOKS = 32
"""The number of levels of a model that are searched for a value that cannot be serialized. A model may contain
itself."""


def dotted(path: Path) -> str:
    """Return a path as text: `data.order.ids[3]`. The middle of a long path is left out."""
    name, *inner = path
    text = str(name) + "".join(map(_step, inner))
    half = MAX_PATH_CHARS // 2
    return text if len(text) <= MAX_PATH_CHARS else f"{text[:half]}…{text[-half:]}"


def _step(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    if len(key) > MAX_KEY_CHARS:
        key = key[:MAX_KEY_CHARS] + "…"
    return f".{key}" if key.isidentifier() else f"[{key!r}]"


def plain(thing: object, path: Path) -> Any:
    """Return the value that stands for an object. Values inside the result may have to be converted, too.

    The value for a dataclass or a pydantic model is a dict of its fields. For an Enum it is the enum's value. For a
    date, time, UUID or Decimal it is a text.

    Args:
        thing: The object.
        path: The path to the object in the value that is sent, for errors.

    Raises:
        TypeError: The object is of another kind.
        ValueError: A Decimal is no number, or a field has no value or one that cannot be sent.
    """
    match thing:
        case Enum():
            return thing.value
        case date() | time():  # a datetime is a date
            return thing.isoformat()
        case Decimal() if not thing.is_finite():
            raise ValueError(f"{dotted(path)}: {thing} is not a JSON number; give it as a string")
        case UUID() | Decimal():
            return str(thing)
    if is_dataclass(thing) and not isinstance(thing, type):
        return {field.name: _value_of(thing, field.name, path) for field in fields(thing)}
    pydantic: Any = sys.modules.get("pydantic")  # if it was not imported, nothing is a model of it
    if pydantic is not None and isinstance(thing, pydantic.BaseModel):
        return _dumped(thing, path)
    if pydantic is not None and isinstance(thing, _models_of_version_1()):
        old: Any = thing
        return old.dict()
    advice = next((advice for types, advice in ADVICE if isinstance(thing, types)), POSSIBLE)
    raise TypeError(f"{dotted(path)}: {type(thing).__name__} is not a JSON value; {advice}")


def _value_of(thing: object, name: str, path: Path) -> object:
    try:
        return getattr(thing, name)
    except AttributeError:  # a field of a dataclass that is not in its constructor, and was not set
        raise ValueError(f"{dotted((*path, name))}: the field has no value") from None


def _dumped(model: Any, path: Path) -> Any:
    """Return the value that pydantic makes of a model. Raise ValueError with the path of a value that it cannot
    serialize."""
    if not hasattr(model, "model_dump"):
        return model.dict()
    try:
        return model.model_dump(mode="json")
    except Exception as error:  # its errors do not say where; a serializer of the model may raise anything
        where, culprit = _unfit_in(model, path)
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{dotted(where)}: {type(culprit).__name__} cannot be serialized by pydantic: {why}") from None


def _unfit_in(thing: Any, path: Path) -> tuple[Path, Any]:
    """Return the innermost value that pydantic cannot serialize, with its path."""
    to_json = sys.modules["pydantic_core"].to_jsonable_python
    inner: list[tuple[str | int, Any]] = []
    if hasattr(thing, "model_dump"):
        names = [name for name in type(thing).model_fields if _fails(thing.model_dump, mode="json", include={name})]
        inner = [(name, getattr(thing, name, None)) for name in names]
    elif is_dataclass(thing):
        inner = [(field.name, getattr(thing, field.name, None)) for field in fields(thing)]
    elif isinstance(thing, Mapping):
        inner = [(str(key), item) for key, item in thing.items() if _fails(to_json, item)]
    elif isinstance(thing, Collection) and not isinstance(thing, (str, bytes, bytearray)):
        inner = [(place, item) for place, item in enumerate(thing) if _fails(to_json, item)]
    for key, item in inner:
        if _fails(to_json, item) and len(path) <= MAX_LOOKS:
            return _unfit_in(item, (*path, key))
    return ((*path, inner[0][0]), inner[0][1]) if inner and hasattr(thing, "model_dump") else (path, thing)


def _fails(dump: Callable[..., Any], *arguments: Any, **options: Any) -> bool:
    try:
        dump(*arguments, **options)
    except Exception:
        return True
    return False


def _models_of_version_1() -> tuple[type, ...]:
    """Return the base class of the models of pydantic's first version, which the second contains, if it is in use."""
    first = sys.modules.get("pydantic.v1.main")
    return () if first is None else (first.BaseModel,)
