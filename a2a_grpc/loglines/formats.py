"""The formats of the log."""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from a2a_grpc.config import PREFIX, ConfigurationError
from a2a_grpc.harmless import GUTTER, block, harmless_json, one_line
from a2a_grpc.loglines.facts import Fact, context_facts, facts_of
from a2a_grpc.loglines.stalled import PatientHandler
from a2a_grpc.masking import MASK, is_secret, mask_url

LINE_MAX = 8000
"""Characters of a line of the log, or of a field of JSON."""

TRACEBACK_MAX = 200_000
"""Characters of a traceback in the log."""

LEVELS = ("debug", "info", "warning", "error")


class LogFormat(StrEnum):
    """The formats of the log."""

    TEXT = "text"
    JSON = "json"


class TextLines(logging.Formatter):
    """Formats log records so that no text of a caller looks like a line of the log.

    Guarantees:

    - A record is one line. The lines of a traceback begin with a gutter.
    - No character controls a terminal or a reader of the file.
    - Secrets of URLs are masked.
    - The task, the caller and the trace of the context are at the end of the line, unless it names them itself.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line, template = super().formatMessage(record), str(record.msg)
        for name, value in context_facts().items():
            if f"{name}=%" not in template:  # a value of a caller may look like a pair
                line += f" {name}={value}"
        return one_line(mask_url(line), LINE_MAX)

    def formatException(self, ei: Any) -> str:
        return self._behind_gutter(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        return self._behind_gutter(super().formatStack(stack_info))

    def _behind_gutter(self, text: str) -> str:
        return GUTTER + block(mask_url(text), TRACEBACK_MAX)


class JsonLines(logging.Formatter):
    """Formats log records as objects of JSON.

    Guarantees:

    - A record is one line, with its traceback.
    - The fields `time`, `level`, `logger` and `message` come first. A fact of the same name gets `_` at its end.
    - No character controls a terminal. Secrets of URLs are masked.
    """

    def format(self, record: logging.LogRecord) -> str:
        said = facts_of(record)
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _text(said.message),
        }
        facts = {(f"{name}_" if name in line else name): value for name, value in said.facts.items()}
        line |= {name: _shown(name, value) for name, value in facts.items()}
        line = {**line, **{name: value for name, value in context_facts().items() if name not in line}}
        if record.exc_info:
            line["exception"] = _text(self.formatException(record.exc_info), TRACEBACK_MAX)
        if record.stack_info:
            line["stack"] = _text(self.formatStack(record.stack_info), TRACEBACK_MAX)
        return harmless_json(json.dumps(line, ensure_ascii=False))


def _shown(name: str, value: Fact) -> Fact:
    """Return a fact as it is shown. The text format masks a pair by its key, so this format does, too."""
    if not isinstance(value, str):
        return value
    return MASK if is_secret(name) else _text(value)


def _text(text: str, limit: int = LINE_MAX) -> str:
    masked = mask_url(text)
    return masked if len(masked) <= limit else masked[:limit] + "…"


def log_to_stderr(level: str | None = None, style: str | None = None) -> None:
    """Send the log to standard error, unless the program has configured logging already.

    Args:
        level: The lowest level; by default that of the environment, or "warning".
        style: The format, "text" or "json"; by default that of the environment, or "text".

    Raises:
        ConfigurationError: The environment names no level or no format.
    """
    level = level or _of_environment("LOG_LEVEL", LEVELS, "warning")
    style = style or _of_environment("LOG_FORMAT", tuple(LogFormat), LogFormat.TEXT)
    if logging.getLogger().handlers:
        return
    # A program whose standard error is closed, such as a daemon, has none to write to.
    handler = PatientHandler(sys.stderr) if sys.stderr else logging.NullHandler()
    handler.setFormatter(JsonLines() if style == LogFormat.JSON else TextLines())
    logging.basicConfig(level=level.upper(), handlers=[handler])


def _of_environment(name: str, known: tuple[str, ...], default: str) -> str:
    value = os.environ.get(PREFIX + name, default)
    if value.lower() not in known:
        raise ConfigurationError(f"{PREFIX}{name} is '{value}'; it must be one of {', '.join(known)}")
    return value.lower()
