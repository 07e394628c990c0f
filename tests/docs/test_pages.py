"""Every page of the documentation, played: what a page tells its reader to do works, and prints what the page shows."""

from pathlib import Path

import pytest

from tests.docs.pages import DATABASE, PAGES, Player
from tests.harness import ROOT
from tests.tools import MissingProgram, skip_without

QUICK = ("README.md",)
TOOLS = {"stubs.md": ("grpcurl", "buf"), "operations.md": ("grpcurl",), "extensions.md": ("grpcurl",)}
"""Programs in bin/ that a page runs. Without them the test is skipped; in CI it fails."""


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=page.name, marks=[] if page.name in QUICK else [pytest.mark.long]) for page in PAGES],
)
@pytest.mark.first
def test_a_page_does_what_it_says(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    for tool in TOOLS.get(page.name, ()):
        if not (ROOT / "bin" / tool).exists():
            skip_without(MissingProgram(tool, f"make {tool}"))
    database = request.getfixturevalue("postgres_url") if DATABASE in page.read_text() else ""
    with Player(tmp_path, database) as player:
        assert player.play(page) == []
