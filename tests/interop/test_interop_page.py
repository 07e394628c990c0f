"""The page on interoperability, as far as it can be checked without the SDKs: `make interop` checks the table."""

import re

from tests.harness import ROOT
from tests.interop.peers.checks import CHECKS
from tests.interop.peers.deviations import DEVIATIONS, NOTES
from tests.interop.peers.matrix import PASSED, split

PAGE = ROOT / "docs" / "interop.md"


def test_the_notes_below_the_table_are_those_of_the_deviations() -> None:
    _, table, _ = split(PAGE.read_text())
    rows, notes = table.split("\n\n")
    cells = {cell.strip() for row in rows.splitlines()[2:] for cell in row.strip("|").split("|")[2:]}
    used = sorted(int(cell) for cell in cells - {PASSED})
    assert used == sorted({deviation.note for deviation in DEVIATIONS.values()})
    assert notes == "\n".join(f"{number}. {NOTES[number]}" for number in used)


def test_the_page_describes_every_scenario() -> None:
    before, table, _ = split(PAGE.read_text())
    described = re.findall(r"^\| ([a-z, ]+) \|", before, re.MULTILINE)
    assert [name for names in described for name in names.split(", ")] == list(CHECKS)
    assert table.splitlines()[0] == f"| client | server | {' | '.join(CHECKS)} |"
