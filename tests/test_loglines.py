"""The two formats of the log: each carries the facts of a record."""

import asyncio
import json
import logging
import re
import sys
from collections.abc import Iterator

import pytest
from opentelemetry import trace

from a2a_grpc.loglines import About, about, log_key, pseudonym
from a2a_grpc.loglines.facts import facts_of
from a2a_grpc.loglines.formats import JsonLines, TextLines
from a2a_grpc.masking import is_secret
from a2a_grpc.principal import Principal
from a2a_grpc.throttle import Throttle
from tests.covers import covers
from tests.harness import load_program

ALICE = Principal("alice@example.org", method="jwt", issuer="https://login.example")


class Kept(logging.Handler):
    """Keeps the lines of both formats."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.objects: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.text.append(TextLines().format(record))
        self.objects.append(json.loads(JsonLines().format(record)))


logger = logging.getLogger("a2a_grpc.test_loglines")


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler = Kept()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    ("template", "values", "message", "facts"),
    [
        ("turn ended task=%s state=%s", ("t", "COMPLETED"), "turn ended", {"task": "t", "state": "COMPLETED"}),
        ("not attached address=%s reason=%s; trying again", ("a", "no: 1 %"), "not attached; trying again",
         {"address": "a", "reason": "no: 1 %"}),
        ("files not read again: error=%s", (OSError("gone"),), "files not read again", {"error": "gone"}),
        ("again after_s=%.1f count=%d", (1.25, 3), "again", {"after_s": 1.2, "count": 3}),
        ("mode=%04o do='chmod 600 %s'", (0o640, "k"), "do='chmod 600 k'", {"mode": "0640"}),
        ("file='%s' is wrong", ("a b",), "is wrong", {"file": "a b"}),
        ("%d%% of %s are used", (90, "files"), "90% of files are used", {}),
        ("a text with 100% of nothing", (), "a text with 100% of nothing", {}),
        ("call task=%s code=%s", ("-", "OK"), "call", {"code": "OK"}),
        ("error=%r", (ValueError("x"),), "", {"error": "ValueError('x')"}),
    ],
)  # fmt: skip
def test_the_pairs_of_a_line_are_its_facts(
    template: str, values: tuple[object, ...], message: str, facts: dict[str, object]
) -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, template, values, None)
    assert facts_of(record) == (message, facts)


async def test_both_formats_say_what_the_context_is_about_and_who_calls_by_a_hash_only(kept: Kept) -> None:
    async def run() -> None:
        about.set(About("t-1", ALICE))
        logger.info("from a handler", extra={"tokens": 7, "level": "gold"})
        logger.warning("turn ended task=%s", "t-1")
        logger.warning("refused reason=%s", "x task=forged principal=forged")

    await asyncio.create_task(run())
    logger.info("of no task")
    short = pseudonym(ALICE)
    assert len(short) == 12
    assert kept.text[0].endswith(f" INFO a2a_grpc.test_loglines from a handler task=t-1 principal={short}")
    assert kept.text[1].endswith(f" turn ended task=t-1 principal={short}"), "the task is named once"
    assert kept.text[2].endswith(f" principal=forged task=t-1 principal={short}"), "the last pairs are true"
    assert kept.text[3].endswith(" of no task")
    first, second, refused, third = [{name: one[name] for name in one if name != "time"} for one in kept.objects]
    assert first == {
        "level": "info", "logger": "a2a_grpc.test_loglines", "message": "from a handler",
        "tokens": 7, "level_": "gold", "task": "t-1", "principal": short,
    }  # fmt: skip
    assert second["level"] == "warning"
    assert (refused["task"], refused["principal"]) == ("t-1", short)
    assert third.keys() == {"level", "logger", "message"}
    assert "alice" not in str(kept.text) + str(kept.objects)


@covers("SEC-10")
def test_a_line_inside_of_a_span_has_the_id_of_the_trace_in_both_formats(kept: Kept) -> None:
    with trace.use_span(trace.NonRecordingSpan(trace.SpanContext(0xABC, 0xDEF, is_remote=False))):
        logger.info("turn ended task=%s", "t-1")
    logger.info("after the span")
    assert kept.text[0].endswith(f" turn ended task=t-1 trace={0xABC:032x}")
    assert kept.objects[0]["trace"] == f"{0xABC:032x}"
    assert "trace" not in kept.objects[1]


def test_a_pseudonym_is_the_same_for_a_caller_and_depends_on_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, str] = {}
    for key in ("one", "two", "one"):
        monkeypatch.setenv("A2A_GRPC_LOG_KEY", key)
        log_key.cache_clear()
        same = Principal("alice@example.org", method="jwt", issuer="https://login.example", scopes=frozenset(["a"]))
        assert pseudonym(ALICE) == pseudonym(same) == found.setdefault(key, pseudonym(ALICE))
        assert pseudonym(ALICE) != pseudonym(ALICE.at("tenant"))
    assert found["one"] != found["two"]
    assert pseudonym(Principal()) == ""
    log_key.cache_clear()


def test_a_line_with_its_traceback_is_one_object_and_no_text_of_a_caller_is_a_line(kept: Kept) -> None:
    forged = "x\nCRITICAL a2a_grpc forged\x1b[2J grpc://me:secret@host"
    try:
        raise RuntimeError(forged)
    except RuntimeError:
        logger.exception("handler failed task=%s", forged)
    [line] = kept.objects
    assert line["message"] == "handler failed"
    assert line["task"] == "x\nCRITICAL a2a_grpc forged\x1b[2J grpc://me:***@host"
    assert "RuntimeError" in str(line["exception"])
    raw = JsonLines().format(
        logging.LogRecord("x", logging.INFO, "", 0, "bad=%s", (forged,), (RuntimeError, RuntimeError(forged), None))
    )
    assert raw.isprintable()
    assert "secret" not in raw + kept.text[0]
    assert sum("forged" in text and not text.startswith(("  |", "20")) for text in kept.text[0].splitlines()) == 0


def test_lines_at_a_limited_rate_keep_their_facts(kept: Kept) -> None:
    now = [0.0]
    throttle = Throttle(logger, 10, clock=lambda: now[0])
    for _ in range(3):
        throttle.warning("refused", "auth refused method=%s reason=%s", "Get", ValueError("no 50 % key"))
    now[0] = 10
    throttle.warning("refused", "auth refused method=%s reason=%s", "List", "none")
    throttle.warning("plain", "100 % full")
    wanted = [{"method": "Get", "reason": "no 50 % key"}, {"method": "List", "reason": "none", "left_out": 2}]
    assert [{name: line[name] for name in ("method", "reason", "left_out") if name in line} for line in kept.objects][
        :2
    ] == wanted
    assert {line["message"] for line in kept.objects} == {"auth refused", "100 % full"}
    assert kept.text[1].endswith("auth refused method=List reason=none (and 2 more like this)")


def test_no_line_of_the_package_has_a_pair_twice_or_one_that_hides_a_field_of_json() -> None:
    sys.path.insert(0, "docs")
    try:
        lines = load_program("docs/messages.py").log_lines()
    finally:
        sys.path.remove("docs")
    assert len(lines) > 100
    for line in lines:
        values = tuple("v" for _ in range(line.message.count("…")))
        said = facts_of(
            logging.LogRecord("x", 0, "", 0, line.message.replace("%", "%%").replace("…", "%s"), values, None)
        )
        pairs = line.message.count("=…") + line.message.count("='…'")
        assert len(said.facts) == pairs, line
        assert not said.facts.keys() & {"time", "level", "logger", "message", "exception", "stack"}, line


def test_a_secret_is_masked_in_both_formats_and_a_tuple_is_a_value(kept: Kept) -> None:
    logger.info("moved point=%s token=%s", (1, 2), "hidden")
    assert kept.objects[0]["point"] == "(1, 2)"
    assert kept.objects[0]["token"] == "***"
    assert "hidden" not in kept.text[0]


def test_no_log_line_of_the_package_has_a_pair_that_is_masked() -> None:
    from docs.messages import log_lines

    pairs = {name for line in log_lines() for name in re.findall(r"(?:^|\s)([a-z][a-z0-9_]*)=", line.message)}
    assert [name for name in sorted(pairs) if is_secret(name)] == []
