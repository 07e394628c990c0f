"""Parts and JSON values from the texts that a user gives on the command line."""

import json
import sys
from collections import Counter
from decimal import Decimal, InvalidOperation
from pathlib import Path as FilePath
from typing import Any, cast

from a2a_grpc.cli.files import read_file, read_stream
from a2a_grpc.config import ConfigurationError, utf8
from a2a_grpc.parts import Inexact, Json, value
from a2a_grpc.parts.making import named_part
from a2a_grpc.plain import Path, dotted
from a2a_grpc.wire import Part

MAX_DIGITS = 400
"""The largest number of digits of an integer that are read."""


def message_parts(texts: list[str], files: list[FilePath], data: list[str]) -> list[Part]:
    """Return the parts of a message, in the order text, files, data. The text `-` stands for standard input.

    Raise ConfigurationError if there is no part.
    """
    text = " ".join(texts)
    parts = [Part(text=_stdin() if text == "-" else utf8(text, "text"))] if texts else []
    parts += [part_of_file("--file ", file) for file in files]
    parts += [Part(data=value(json_of("--data", text))) for text in data]
    if not parts:
        raise ConfigurationError("there is nothing to send; give a text, --file or --data")
    return parts


def part_of_file(option: str, path: str | FilePath) -> Part:
    """Return a part with a file. Raise ConfigurationError, with the name of the option, if it cannot be sent."""
    try:
        return named_part(FilePath(path).name, read_file(FilePath(path)))
    except OSError as error:
        raise ConfigurationError(f"cannot read {option}'{path}': {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"cannot read {option}'{path}': no file has such a name ({error})") from error


def json_of(option: str, text: str) -> Json:
    """Return the JSON value of a text, or of the file that `@file` names.

    Raise ConfigurationError, with the name of the option, if it is not JSON.
    """
    text = utf8(text, "text")
    given = text if text.startswith("@") else _cut(text)
    if text.startswith("@"):
        try:
            text = read_file(FilePath(text[1:])).decode()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigurationError(f"cannot read {option} '{text}': {why}") from error
    try:
        found = _parsed(text)
    except ValueError as error:
        raise ConfigurationError(f"{option} is '{given}'; it must be JSON, or @FILE: {error}") from error
    try:
        _check_sendable(found, (option.lstrip("-"),))
    except ValueError as error:
        raise ConfigurationError(f"{option} is '{given}': {error}") from error
    return cast(Json, found)


def metadata_of(entries: list[str]) -> dict[str, Json]:
    """Return the metadata from entries that are `key=value`, a JSON object, or `@file` with an object.

    A value that is valid JSON counts as JSON, any other one as a text.
    """
    metadata: dict[str, Json] = {}
    for entry in entries:
        if entry.startswith(("{", "@")):
            found = json_of("--metadata", entry)
            if not isinstance(found, dict):
                raise ConfigurationError(f"--metadata is '{_cut(entry)}'; it must be a JSON object")
            for name, item in found.items():
                _add(metadata, name, item, entry)
            continue
        key, equals, text = entry.partition("=")
        if not equals or not key:
            raise ConfigurationError(f"--metadata is '{_cut(entry)}'; it must be KEY=VALUE or a JSON object")
        try:
            found = _parsed(text)
            _check_sendable(found, ("metadata", key))
        except (Inexact, Repeated) as error:
            raise ConfigurationError(f"--metadata is '{_cut(entry)}': {error}") from error
        except ValueError:
            found = text
        _add(metadata, key, found, entry)
    return metadata


def _add(metadata: dict[str, Json], key: str, found: Json, entry: str) -> None:
    """Add a key to the metadata. Raise ConfigurationError if an earlier option gave it."""
    if key in metadata:
        raise ConfigurationError(f"--metadata is '{_cut(entry)}': {Repeated(('metadata',), key)}")
    metadata[key] = found


class Repeated(ValueError):
    """An object has a key twice, and only one of the two values could be sent."""

    def __init__(self, path: Path, key: str) -> None:
        super().__init__(f"{dotted((*path, key))}: the key {_cut(key)!r} is given twice; give it once")


class _Object(dict[str, Any]):
    """An object that has a key twice."""

    repeated: str

    @classmethod
    def of(cls, pairs: list[tuple[str, Any]]) -> "dict[str, Any]":
        """Return the object of these keys and values."""
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        repeating = cls(found)
        names = Counter(key for key, _ in pairs)
        repeating.repeated = next(key for key, count in names.items() if count > 1)
        return repeating


class _Literal(float):
    """A number with a fraction or an exponent, as JSON has it."""

    text: str

    @classmethod
    def of(cls, text: str) -> "_Literal":
        number = cls(text)
        number.text = text
        return number

    @property
    def is_exact(self) -> bool:
        """True if the number is the shortest that stands for its double, or one equal to that."""
        try:
            return Decimal(self.text) == Decimal(float.__repr__(self))
        except InvalidOperation:  # its exponent is too large for Decimal
            return False


def _parsed(text: str) -> Any:
    """Return the value of a JSON text. Raise ValueError if it is none."""
    try:
        return json.loads(
            text,
            object_pairs_hook=_Object.of,
            parse_constant=_refuse_constant,
            parse_float=_Literal.of,
            parse_int=_integer,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _integer(text: str) -> int | float:
    return -0.0 if text == "-0" else int(text[:MAX_DIGITS])  # a number with so many digits is refused in any case


def _check_sendable(found: Any, path: Path) -> None:
    """Raise ValueError, with the path, for a value that cannot be sent as it is.

    The error is Inexact for a number that would come back with other digits, and Repeated for an object that has a key
    twice.
    """
    value(found, path=path)
    _check_exact(found, path)


def _check_exact(found: Any, path: Path) -> None:
    match found:
        case _Literal() if not found.is_exact:
            raise Inexact(path, _cut(found.text), f"give it as a string, or give {float(found)!r}")
        case _Object():
            raise Repeated(path, found.repeated)
        case dict():
            for key, item in found.items():
                _check_exact(item, (*path, key))
        case list():
            for place, item in enumerate(found):
                _check_exact(item, (*path, place))


def _stdin() -> str:
    """Return all of standard input."""
    if sys.stdin is None:  # Python sets it to None if the descriptor is closed
        raise ConfigurationError("standard input is closed; give the text as an argument")
    try:
        return read_stream(sys.stdin.buffer).decode()
    except UnicodeDecodeError:
        raise ConfigurationError("standard input is not text in UTF-8; send a file with --file") from None
    except OSError as error:
        raise ConfigurationError(f"standard input cannot be read: {error.strerror}") from None


def decoded(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with their texts as UTF-8. Raise ConfigurationError for one that is not UTF-8."""
    return {name: _decoded(name.replace("_", " "), argument) for name, argument in arguments.items()}


def _decoded(name: str, argument: Any) -> Any:
    if isinstance(argument, list):
        return [_decoded(name, item) for item in argument]
    return utf8(argument, name) if isinstance(argument, str) else argument


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _cut(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[:limit] + "…"
