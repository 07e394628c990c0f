"""What a user gives on the command line, as parts and JSON."""

import json
import sys
from pathlib import Path
from typing import cast

from a2a_grpc.config import ConfigurationError
from a2a_grpc.parts import Json, file_part, value
from a2a_grpc.wire import Part


def message_parts(texts: list[str], files: list[Path], data: list[str]) -> list[Part]:
    """Parts in the order text, files, data; a text `-` is read from standard input. ConfigurationError for nothing."""
    parts = [Part(text=_stdin() if text == "-" else _utf8(text)) for text in ([" ".join(texts)] if texts else [])]
    for file in files:
        try:
            parts.append(file_part(file))
        except OSError as error:
            raise ConfigurationError(f"cannot read --file '{file}': {error.strerror}") from error
    parts += [Part(data=value(json_of("--data", text))) for text in data]
    if not parts:
        raise ConfigurationError("there is nothing to send; give a text, --file or --data")
    return parts


def json_of(option: str, text: str) -> Json:
    """The JSON value of a text, or of the file that `@file` names. ConfigurationError naming the option."""
    given = text if text.startswith("@") else _cut(text)
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigurationError(f"cannot read {option} '{text}': {why}") from error
    try:
        found = json.loads(text, parse_constant=_refuse_constant)
        value(found)
    except ValueError as error:
        raise ConfigurationError(f"{option} is '{given}'; it must be JSON, or @FILE: {error}") from error
    return cast(Json, found)


def metadata_of(entries: list[str]) -> dict[str, Json]:
    """Metadata from `key=value` (JSON where it can be, else a text), a JSON object, or `@file` with one."""
    metadata: dict[str, Json] = {}
    for entry in entries:
        if entry.startswith(("{", "@")):
            found = json_of("--metadata", entry)
            if not isinstance(found, dict):
                raise ConfigurationError(f"--metadata is '{_cut(entry)}'; it must be a JSON object")
            metadata |= found
            continue
        key, equals, text = entry.partition("=")
        if not equals or not key:
            raise ConfigurationError(f"--metadata is '{_cut(entry)}'; it must be KEY=VALUE or a JSON object")
        try:
            found = json.loads(text, parse_constant=_refuse_constant)
            value(found, depth=1)
            metadata[key] = found
        except ValueError:
            metadata[key] = text
    return metadata


def _stdin() -> str:
    """All of standard input."""
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise ConfigurationError("standard input is not text in UTF-8; send a file with --file") from None


def _utf8(text: str) -> str:
    """The text, if it can be sent."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigurationError("the text is not UTF-8") from None
    return text


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _cut(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[:limit] + "…"
