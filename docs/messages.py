"""The page of errors and log messages: what it lists comes from the package, what it says of each from messages.toml.

`tests/docs/test_messages.py` checks that nothing is missing, and that nothing is left over.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import a2a_grpc
from a2a_grpc import A2AError
from a2a_grpc import client as client_package
from a2a_grpc.cli.exits import exit_code_of
from a2a_grpc.listening.noise import KNOWN

PACKAGE = Path(a2a_grpc.__file__).parent
TEXTS = Path(__file__).with_name("messages.toml")

LOGGER = re.compile(r'^logger = logging\.getLogger\("([\w.]+)"\)$', re.MULTILINE)
LEVELS = {"info": "INFO", "warning": "WARNING", "error": "ERROR", "exception": "ERROR", "log": "ERROR"}
"""Methods that log. A line at level DEBUG is for those who work on the package."""
LOGGERS = {"logger": 0, "self._throttle": 1, "self._lines": 1}
"""What such a method is called on, and the position of the message among its arguments."""


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """One log message of the package."""

    logger: str
    message: str
    """With `…` in the place of each value."""
    level: str


@cache
def log_lines() -> frozenset[Line]:
    """Return each message that the package logs at level INFO or above."""
    found = {Line("a2a_grpc.listening", text, "WARNING") for text in KNOWN.values()}
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        if path.name != "throttle.py" and (logger := LOGGER.search(text)):
            found |= {Line(logger[1], message, level) for message, level in _calls(ast.parse(text))}
    return frozenset(found)


def _calls(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in LEVELS):
            continue
        place = LOGGERS.get(ast.unparse(call.func.value))
        if place is None:
            continue
        message = call.args[place + (call.func.attr == "log")]
        if isinstance(message, ast.Constant) and message.value != "%s":
            yield re.sub(r"%[\d.]*[a-z]", "…", str(message.value)), LEVELS[call.func.attr]


def error_classes() -> list[type[A2AError]]:
    """Return the classes of errors: those of the protocol in the order of their source, then the client's."""
    mine: list[type[A2AError]] = []
    for kind in A2AError.__subclasses__():
        mine.append(kind)
        mine += [below for below in kind.__subclasses__() if below.__name__ in client_package.__all__]
    return mine


def texts() -> dict[str, dict[str, dict[str, str]]]:
    """Return what is said of errors (by class) and of log lines (by message)."""
    return tomllib.loads(TEXTS.read_text())


START = """\
# Errors and log messages

This page lists every error that a caller can get and every log message of a server, with what to do.

## Errors

Every error is a subclass of `A2AError`. On the wire an error is a gRPC status with `google.rpc.ErrorInfo`. Its `reason`
distinguishes errors that share a status code. In Python an error has these attributes:

| Attribute | Value |
|---|---|
| `message` | The text. It names the thing, the value, and what to do. |
| `code` | The gRPC status code. |
| `reason` | The reason in the tables below. |
| `retryable` | True if the same call may succeed later. |
| `retry_after_s` | Seconds to wait before the next try, if the server says so. |
| `violations` | For INVALID_PARAMS: each refused field, with its path and what would be valid. |
| `metadata` | Further values, for example `task_id`. |

"Exit" is the exit code of the [command line](cli.md).
"""

LOGS = """\
## Log messages

The package logs to loggers below `a2a_grpc`, with Python's `logging`. `…` stands for a value. Most values have a key in
front of them, for example `task=3f0c…`. With `--log-format json` these pairs are fields of their own. No message
contains the text of a task, a password or a token. If a client can cause a message again and again, the server writes
it at most once in a few seconds, with the number of messages that were left out.
"""


def messages_page() -> str:
    """Return the page of errors and log messages."""
    said = texts()
    if missing := {line.message for line in log_lines()} - said["logs"].keys():
        raise LookupError(f"docs/messages.toml does not explain: {sorted(missing)}")
    page = [
        START,
        "| Reason | Class | gRPC status | Exit | Retry | Meaning | What to do |\n|---|---|---|---|---|---|---|",
    ]
    for kind in error_classes():
        reason = f"`{kind.reason}`" if kind.reason else "—"
        status = kind.code.name if kind.reason else "—"
        about = said["errors"][kind.__name__]
        exit_code = int(about["exit"]) if "exit" in about else int(exit_code_of(kind.__new__(kind)))
        row = (reason, f"`{kind.__name__}`", status, str(exit_code), "yes" if kind.retryable else "no")
        page.append(f"| {' | '.join((*row, about['means'], about['do']))} |")
    page += ["", LOGS]
    for logger in sorted({line.logger for line in log_lines()}):
        page += [f"### `{logger}`\n", "| Level | Message | What happened | What to do |\n|---|---|---|---|"]
        for line in sorted(found for found in log_lines() if found.logger == logger):
            about = said["logs"][line.message]
            page.append(f"| {line.level} | {_cell(line.message)} | {about['means']} | {about['do']} |")
        page.append("")
    return "\n".join(page)


def _cell(message: str) -> str:
    return "`` " + message.replace("|", "\\|") + " ``" if "`" in message else f"`{message}`"
