"""docs/messages.md explains every error and every log message, and nothing that does not exist."""

import logging
import re

import pytest

from tests.docs.test_generated import generate
from tests.harness import ROOT

messages = generate.sys.modules["messages"]


def test_every_log_message_of_the_package_is_explained() -> None:
    logged = {line.message for line in messages.log_lines()}
    explained = set(messages.texts()["logs"])
    assert sorted(logged - explained) == []
    assert sorted(explained - logged) == []


def test_every_value_in_a_log_message_has_a_key() -> None:
    """So that a log in JSON has it as a field, and the message is the same for each line of its kind."""
    values = re.compile(r"[a-z][a-z0-9_]*=(…|'[^']*…')")
    assert [line.message for line in messages.log_lines() if "…" in values.sub("", line.message)] == []


def test_every_error_is_explained() -> None:
    assert [kind.__name__ for kind in messages.error_classes()] == list(messages.texts()["errors"])


def test_lines_of_all_loggers_are_found() -> None:
    """A new name of a logger's variable would leave its lines out."""
    assert {line.logger for line in messages.log_lines()} == {
        f"a2a_grpc.{name}"
        for name in (
            "access",
            "adapters",
            "agent",
            "auth",
            "bus",
            "client",
            "engine",
            "listening",
            "loglines",
            "push",
            "rpc",
            "sentinel",
            "server",
            "store",
        )
    }
    assert len(messages.log_lines()) > 60


def test_a_logger_has_the_name_of_its_package() -> None:
    """A package that is part of another one for users logs under the name of that one."""
    parts = {
        ("cli", "sentinel"),
        ("registry", "sentinel"),
        ("database", "store"),
        ("database", "name"),
        ("loglines", "access"),
    }
    others = set()
    for path in (ROOT / "a2a_grpc").glob("*/**/*.py"):
        package = path.relative_to(ROOT / "a2a_grpc").parts[0]
        for name in re.findall(r"^logger = logging.getLogger\((?:\"a2a_grpc\.)?(\w+)", path.read_text(), re.MULTILINE):
            if name != package:
                others.add((package, name))
    assert others <= parts


@pytest.mark.parametrize("level", ["INFO", "WARNING", "ERROR"])
def test_levels_are_those_of_logging(level: str) -> None:
    assert isinstance(logging.getLevelName(level), int)
    assert any(line.level == level for line in messages.log_lines())
