"""Links between the pages, and from the pages to files of the repository, lead somewhere. The site has every page."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.pages import PAGES, blocks
from tests.harness import ROOT
from tools.anchors import headings, slugs

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)

PLAYED = ("run", "run with", "serve", "call of serve", "handler", "in a handler", "client", "test")
HOW = {
    "": ("prints", "drawing", "not run", "file", "haproxy", "nginx", "log line", "played by"),
    "python": (*PLAYED, "file", "not run", "played by"),
}
"""What a comment before a block has to say, by the language of the block."""
SITE = sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, on GitHub and on the site."""
    return set(slugs(headings(page.read_text())))


def broken(page: Path) -> list[str]:
    """Return the relative links of a page that name no file, or no heading of a page."""
    wrong = []
    for link in LINK.findall(CODE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", [*PAGES, ROOT / "benchmarks" / "README.md"], ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_has_the_marks_of_a_merge(page: Path) -> None:
    assert re.findall(r"^(?:<<<<<<<|=======|>>>>>>>)(?: .*)?$", page.read_text(), re.MULTILINE) == []


def pages_of(entry: Any) -> list[str]:
    """Return the pages that an entry of the navigation names, in order."""
    if isinstance(entry, str):
        return [entry]
    return [page for inner in (entry.values() if isinstance(entry, dict) else entry) for page in pages_of(inner)]


def test_the_navigation_of_the_site_has_each_page_once() -> None:
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert sorted(pages_of(navigation)) == SITE, "give the page a place in `nav` of mkdocs.yml"


def test_the_first_page_of_the_site_has_a_link_to_each_other_page() -> None:
    links = {link.partition("#")[0] for link in LINK.findall(CODE.sub("", (ROOT / "docs" / "index.md").read_text()))}
    assert set(SITE) - links == {"index.md"}, "describe the page in docs/index.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_a_page_says_how_it_is_tested(page: Path) -> None:
    """The player refuses other blocks, but most pages are played by `make test-all` only."""
    wrong = [
        f"{page.name}:{block.line}: {block.kind} after {block.how!r}"
        for block in blocks(page)
        if block.verb not in HOW.get(block.kind, (block.verb,)) or (block.verb == "not run" and not block.name)
    ]
    assert wrong == [], "see the docstring of tests/docs/pages.py"
