"""The site of docs/ can be built, and shows what GitHub shows."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.harness import ROOT

PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
STRUCTURE = re.compile(r"<(li|ul|ol|table|tr|td|h[1-4]|pre|blockquote)[ >]")


@pytest.mark.long
def test_the_site_shows_what_github_shows_and_loads_nothing_from_other_servers(tmp_path: Path) -> None:
    """`make site` fails for a page that is not in the navigation, and for a link or an anchor that does not exist."""
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    github = MarkdownIt("commonmark", {"html": True}).enable("table")
    for name in PAGES:
        html = (tmp_path / name).with_suffix(".html").read_text()
        assert re.findall(r'<(?:link|script|img)[^>]*(?:href|src)="(?:https?:)?//[^>]*', html) == [], name
        body = html.partition('itemprop="articleBody"')[2].partition("<footer>")[0]
        expected = github.render((ROOT / "docs" / name).read_text())
        assert Counter(STRUCTURE.findall(body)) == Counter(STRUCTURE.findall(expected)), name
