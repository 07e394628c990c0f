"""The defaults that a page names behind an option are those of the settings."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from a2a_grpc.sentinel.settings import SentinelSettings
from tests.docs.pages import PAGES
from tests.test_surface import SETTINGS


def defaults(*kinds: Any) -> dict[str, Any]:
    return {"--" + item.name.replace("_", "-"): item.default for kind in kinds for item in fields(kind)}


DEFAULTS = defaults(*SETTINGS)
OF_PAGE = {"sentinel.md": DEFAULTS | defaults(SentinelSettings)}
"""The defaults of a page about a command that has options of the same names."""
SIZES = {"MiB": 1 << 20, "KiB": 1 << 10}
NAMED = re.compile(r"`(--[a-z-]+)`(?:,? \(| \| )([\d,.]+)(?: (MiB|KiB)(?: less ([\d,]+) bytes)?)?")
"""An option with a number in parentheses behind it, or in the next column of a table."""


def number(text: str) -> float:
    return float(text.replace(",", ""))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_defaults_that_a_page_names_are_those_of_the_settings(page: Path) -> None:
    known = OF_PAGE.get(page.name, DEFAULTS)
    wrong = [
        f"{option} is {known[option]}, not {found[0]}"
        for found in NAMED.finditer(page.read_text())
        if (option := found[1]) in known
        and known[option] != number(found[2]) * SIZES.get(found[3], 1) - number(found[4] or "0")
    ]
    assert wrong == []
