"""The headings of a page and their anchors, as GitHub makes them.

The site, the links of the reference and the test of links use the same anchors, so that a link works on GitHub and on
the site.
"""

import re
from collections.abc import Iterable

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#{1,6} )([^\n]+)$", re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def headings(text: str) -> list[str]:
    """Return the headings of a page in order, without code blocks."""
    return [found[2] for found in HEADING.finditer(FENCE.sub("", text))]


def slugs(names: Iterable[str]) -> list[str]:
    """Return the anchors of headings. The second heading `Part` of a page has the anchor `part-1`."""
    seen: dict[str, int] = {}
    found: list[str] = []
    for name in names:
        slug = re.sub(r"[^\w -]", "", LINK.sub(r"\1", name).lower()).replace(" ", "-")
        found.append(f"{slug}-{seen[slug]}" if slug in seen else slug)
        seen[slug] = seen.get(slug, 0) + 1
    return found
