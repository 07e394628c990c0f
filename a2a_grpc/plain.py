"""Python objects that JSON does not have, as JSON values."""

import sys
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
"""What `plain` knows."""


def plain(thing: object, where: str) -> Any:
    """Return the value that stands for an object: the fields of a dataclass or of a pydantic model as a dict, the value
    of an Enum, the text of a date, time, UUID or Decimal. Values inside of it may need the same.

    Raise TypeError for any other object, ValueError for a Decimal that is no number. `where` is the place of the object
    in what is sent; the message has it.
    """
    match thing:
        case Enum():
            return thing.value
        case date() | time():  # a datetime is a date
            return thing.isoformat()
        case Decimal() if not thing.is_finite():
            raise ValueError(f"{where}: {thing} is not a JSON number; give it as a string")
        case UUID() | Decimal():
            return str(thing)
    if is_dataclass(thing) and not isinstance(thing, type):
        return {field.name: getattr(thing, field.name) for field in fields(thing)}
    pydantic: Any = sys.modules.get("pydantic")  # if it was not imported, nothing is a model of it
    if pydantic is not None and isinstance(thing, (pydantic.BaseModel, _models_of_version_1())):
        model: Any = thing
        return model.model_dump(mode="json") if hasattr(model, "model_dump") else model.dict()
    advice = next((advice for types, advice in ADVICE if isinstance(thing, types)), POSSIBLE)
    raise TypeError(f"{where}: {type(thing).__name__} is not a JSON value; {advice}")


def _models_of_version_1() -> tuple[type, ...]:
    """Return the models' base class of pydantic's first version, which the second has inside of it, if it is in use."""
    first = sys.modules.get("pydantic.v1.main")
    return () if first is None else (first.BaseModel,)
