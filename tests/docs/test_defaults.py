"""The defaults that a page names behind an option are those of the settings."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from tests.docs.pages import PAGES
from tests.test_surface import SETTINGS

DEFAULTS = {"--" + item.name.replace("_", "-"): item.default for kind in SETTINGS for item in fields(kind)}
SIZES = {"MiB": 1 << 20, "KiB": 1 << 10}
NAMED = re.compile(r"`(--[a-z-]+)`(?:,? \(| \| )([\d,.]+)(?: (MiB|KiB)(?: less ([\d,]+) bytes)?)?")
"""An option with a number in parentheses behind it, or in the next column of a table."""


def number(text: str) -> float:
    return float(text.replace(",", ""))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_defaults_that_a_page_names_are_those_of_the_settings(page: Path) -> None:
    wrong = [
        f"{option} is {DEFAULTS[option]}, not {found[0]}"
        for found in NAMED.finditer(page.read_text())
        if (option := found[1]) in DEFAULTS
        and DEFAULTS[option] != number(found[2]) * SIZES.get(found[3], 1) - number(found[4] or "0")
    ]
    assert wrong == []
