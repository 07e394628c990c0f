"""The mark `covers`: the requirements that a test shows. docs/traceability.md is the table of all of them.

    @covers("CANC-8", "G8", "P5")
    async def test_every_stream_gets_the_canceled_event(…) -> None: …

The ids are those of docs/requirements.toml. `pytest --covers CANC-8` runs the tests of one requirement.
"""

import tomllib
from pathlib import Path

import pytest

FACTS = tomllib.loads((Path(__file__).parent.parent / "docs" / "requirements.toml").read_text())
GROUPS: dict[str, dict[str, str]] = {group["title"]: group["requirements"] for group in FACTS["groups"]}
"""The requirements of each group: their ids, each with one line in plain words."""
REQUIREMENTS = {id: words for requirements in GROUPS.values() for id, words in requirements.items()}
NOT_COVERED: dict[str, str] = FACTS["not_covered"]
"""The requirements that no test covers, each with the reason."""


def covers(*ids: str) -> pytest.MarkDecorator:
    """Return the mark of a test that shows these requirements. Raise ValueError for an id that does not exist."""
    if unknown := [id for id in ids if id not in REQUIREMENTS]:
        raise ValueError(f"no requirement {', '.join(unknown)} in docs/requirements.toml")
    return pytest.mark.covers(*ids)


def covered_by(item: pytest.Item) -> set[str]:
    """Return the ids that a test shows, with those of its class and its file."""
    return {id for mark in item.iter_markers("covers") for id in mark.args}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--covers", metavar="ID", help="run only tests of this requirement, for example CANC-8")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted: str | None = config.getoption("--covers")
    if wanted is None:
        return
    if wanted not in REQUIREMENTS:
        raise pytest.UsageError(f"--covers {wanted}: no such requirement in docs/requirements.toml")
    config.hook.pytest_deselected(items=[item for item in items if wanted not in covered_by(item)])
    items[:] = [item for item in items if wanted in covered_by(item)]
