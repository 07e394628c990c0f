"""Every page of the documentation, played: what a page tells its reader to do works, and prints what the page shows."""

from pathlib import Path

import pytest

from tests.docs.pages import PAGES, Player

QUICK = ("README.md", "agent.md", "client.md")


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=page.name, marks=[] if page.name in QUICK else [pytest.mark.long]) for page in PAGES],
)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    with Player(tmp_path) as player:
        assert player.play(page) == []
