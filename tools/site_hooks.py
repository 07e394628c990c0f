"""Change each page before mkdocs reads it, so that the site shows what GitHub shows. `mkdocs.yml` names this file.

- A heading gets the anchor that GitHub gives it.
- A link to a file outside `docs/` leads to the repository.
- The comments that say how a block is tested are left out.
"""

import posixpath
import re
import sys
from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pygments.formatters import HtmlFormatter

sys.path.insert(0, str(Path(__file__).parent.parent))

from tools.anchors import HEADING, headings, slugs

FENCE = r"^```(?:.|\n)*?^```$"
COMMENT = re.compile(rf"{FENCE}|(?P<found><!--(?:.|\n)*?-->\n)", re.MULTILINE)
TITLE = re.compile(rf"{FENCE}|(?P<found>{HEADING.pattern})", re.MULTILINE)
TARGET = re.compile(rf"{FENCE}|`[^`\n]*`|(?<=\])\((?P<found>[^)\s]+)\)", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the style sheet that colors code."""
    files.append(File.generated(config, "colors.css", content=HtmlFormatter().get_style_defs(".highlight")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the text of a page as mkdocs has to read it."""
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))
    repository = f"{config.repo_url}/blob/main/"

    def linked(target: str) -> str:
        path = posixpath.normpath(posixpath.join(folder, target))
        on_site = re.match(r"#|[a-z]+:", target) or re.match(r"docs/[^#]*\.md(#|$)", path)
        return f"({target if on_site else repository + path})"

    markdown = _replaced(COMMENT, markdown, lambda _: "")
    anchors = iter(slugs(headings(markdown)))
    markdown = _replaced(TITLE, markdown, lambda title: f"{title} {{: #{next(anchors)} }}")
    return _replaced(TARGET, markdown, linked)


def _replaced(pattern: re.Pattern[str], text: str, replace: Callable[[str], str]) -> str:
    """Return a text with other text in place of what the group `found` of a pattern matches."""
    return pattern.sub(lambda match: match[0] if match["found"] is None else replace(match["found"]), text)
