"""The tables of docs/agent.md are complete and have the defaults of the code."""

import inspect
import re
from dataclasses import fields

from a2a_grpc import Agent, Turn
from a2a_grpc.agent import Answer
from a2a_grpc.engine import EngineSettings
from a2a_grpc.rpc import TransportSettings
from a2a_grpc.server import RequestLimits, ServerSettings
from tests.harness import ROOT

PAGE = (ROOT / "docs" / "agent.md").read_text()
DEFAULTS = {
    item.name: item.default
    for kind in (ServerSettings, EngineSettings, TransportSettings, RequestLimits)
    for item in fields(kind)
}
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20}
FOR_THIS_PROJECT = {"new_call_id", "recorded_questions", "talk"}
"""What `RemoteAgent` needs of a turn."""


def table(heading: str) -> str:
    """Return the first table whose header row begins with this cell."""
    return PAGE.partition(f"\n| {heading} |")[2].partition("\n\n")[0]


def first_cells(heading: str) -> str:
    return "\n".join(re.findall(r"^\| (.*?) \|", table(heading), re.MULTILINE))


def test_each_argument_of_an_agent_and_of_a_skill_has_a_row() -> None:
    for heading, function in (("`Agent(…)`", Agent.__init__), ("`@agent.skill(…)`", Agent.skill)):
        for name in inspect.signature(function).parameters:
            assert name == "self" or f"`{name}`" in first_cells(heading), name


def test_each_attribute_of_a_turn_and_of_an_answer_is_named() -> None:
    public = {name for name in vars(Turn) if not name.startswith("_")}
    public |= {"skill", "message", "context_id", "principal", "attempt"}
    for name in public - FOR_THIS_PROJECT:
        assert re.search(rf"\bturn\.{name}\b", PAGE), name
    for name in ("message", "metadata", "data"):
        assert hasattr(Answer, name) or name in Answer.__annotations__
        assert f"`answer.{name}`" in PAGE, name


def test_each_limit_of_the_page_is_the_default() -> None:
    rows = re.findall(r"^\| `--([a-z-]+)` \| ([\d,]+)(?: (MiB))?", table("Setting"), re.MULTILINE)
    assert len(rows) == table("Setting").count("\n| `--")
    text = " ".join(PAGE.split())
    in_text = re.findall(r"(\d[\d,]*)(?: (KiB|MiB|days))?(?: [a-zA-Z]+)* \(`--([a-z-]+)`\)", text)
    found = [*rows, *((name, number, unit) for number, unit, name in in_text)]
    assert len(found) > 20
    for name, number, unit in found:
        shown = int(number.replace(",", "")) * (86_400 if unit == "days" else UNITS.get(unit, 1))
        assert shown == DEFAULTS[name.replace("-", "_")], name
