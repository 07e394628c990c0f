"""The facts of a log record: the `key=value` pairs of its text, and what the context adds."""

import logging
import re
import sys
from typing import NamedTuple

from a2a_grpc.loglines.about import about
from a2a_grpc.loglines.pseudonyms import pseudonym

Fact = str | int | float | bool | None

NOTHING = "-"
"""What stands for a value that there is not. Such a pair is no fact."""

_CONVERSION = re.compile(r"%(?:%|[-#0 +]*\d*(?:\.\d+)?([a-zA-Z]))")
_KEY = re.compile(r"(^|\s)([a-z][a-z0-9_]*)=('?)$")
_STANDARD = frozenset([*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "left_out"])
"""The attributes of records that are no facts."""


class Said(NamedTuple):
    """A record, taken apart.

    Attributes:
        message: The text without the pairs, the same for each line of its kind unless it has values without a key.
        facts: The pairs, and what the program has given as `extra`.
    """

    message: str
    facts: dict[str, Fact]


def facts_of(record: logging.LogRecord) -> Said:
    """Return the text and the facts of a record. A record that was not written in this way has its whole text."""
    given = {name: _plain(value) for name, value in vars(record).items() if name not in _STANDARD}
    args = record.args if isinstance(record.args, tuple) else ()
    said = _taken_apart(record.msg, args) if isinstance(record.msg, str) and args else None
    message, facts = said or (record.getMessage(), {})
    left_out = getattr(record, "left_out", 0)
    if left_out:
        message = message.replace(f" (and {left_out} more like this)", "")
        facts["left_out"] = left_out
    return Said(message, {**given, **facts})


def context_facts() -> dict[str, str]:
    """Return what the current context adds to a line: the task, the caller, the trace."""
    found = {}
    subject = about.get()
    if subject is not None:
        found = {"task": subject.task, "principal": pseudonym(subject.principal)}
    found["trace"] = trace_id()
    return {name: value for name, value in found.items() if value}


def trace_id() -> str:
    """Return the id of the trace of the current context, as 32 hexadecimal digits; "" if there is none."""
    trace = sys.modules.get("opentelemetry.trace")  # if this module is not imported, there is no trace
    if trace is None:
        return ""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else ""


def _taken_apart(template: str, args: tuple[object, ...]) -> Said | None:
    """Return the text and the pairs of a template with its values; None if they do not fit each other."""
    conversions = [found for found in _CONVERSION.finditer(template) if found[1]]
    if len(conversions) != len(args):
        return None
    facts: dict[str, Fact] = {}
    text, end, quote = "", 0, ""
    for found, value in zip(conversions, args, strict=True):
        before = template[end : found.start()].removeprefix(quote).replace("%%", "%")
        key = _KEY.search(before)
        if key is None:
            text, quote = text + before + str(_value(found, value)), ""
        else:
            text, quote = text + before[: key.start()], key[3]
            if value != NOTHING:
                facts[key[2]] = _value(found, value)
        end = found.end()
    rest = template[end:].removeprefix(quote).replace("%%", "%")
    return Said((text + rest).strip().rstrip(":"), facts)


def _value(conversion: re.Match[str], value: object) -> Fact:
    """Return a value as the text shows it, and a number as a number."""
    shown = conversion[0] % (value,)  # a tuple would be taken for several values
    match conversion[1]:
        case "s":
            return _plain(value)
        case "d" | "i":
            return int(shown)
        case "e" | "f" | "g":
            return float(shown)
    return shown


def _plain(value: object) -> Fact:
    return value if isinstance(value, str | int | float | None) else str(value)
