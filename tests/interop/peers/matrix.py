"""The table of docs/interop.md: what passed, between whom."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.interop.peers.checks import CHECKS
from tests.interop.peers.deviations import NOTES
from tests.interop.peers.peers import OURS, Peer

BEGIN, END = "<!-- matrix -->", "<!-- end of matrix -->"
PASSED = "✓"

Pair = tuple[Peer, Peer]


@dataclass
class Matrix:
    """What came of each scenario of each pair: PASSED, or the numbers of notes."""

    cells: dict[Pair, dict[str, str]] = field(default_factory=dict)
    programs: list[str] = field(default_factory=list)
    """Those made of stubs that printed the transcript."""

    def put(self, pair: Pair, scenario: str, outcome: str) -> None:
        self.cells.setdefault(pair, {})[scenario] = outcome

    def lines(self) -> list[str]:
        """A line for each pair, for a terminal."""
        shown = [f"{name:<40} prints the transcript of the Python client" for name in self.programs]
        for (client, server), outcomes in self.cells.items():
            passed = sum(outcome == PASSED for outcome in outcomes.values())
            notes: dict[str, list[str]] = {}
            for name, mark in outcomes.items():
                if mark != PASSED:
                    notes.setdefault(mark, []).append(name)
            others = "".join(f"; note {mark}: {', '.join(names)}" for mark, names in notes.items())
            line = f"{titled(client)} → {titled(server)}"
            shown.append(f"{line:<40} {passed:>2} of {len(CHECKS)} as specified{others}")
        return shown

    def markdown(self) -> str:
        rows = [
            ["client", "server", *CHECKS],
            ["---"] * (2 + len(CHECKS)),
            *([titled(client), titled(server), *row(outcomes)] for (client, server), outcomes in self.cells.items()),
        ]
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
        told = sorted({int(mark) for outcomes in self.cells.values() for mark in outcomes.values() if mark != PASSED})
        return "\n\n".join([table, "\n".join(f"{number}. {NOTES[number]}" for number in told)])


def row(outcomes: Mapping[str, str]) -> list[str]:
    return [outcomes.get(name, "") for name in CHECKS]


def titled(peer: Peer) -> str:
    if peer.address:
        return "ours, at a sentinel"
    return "ours" if peer is OURS else f"{peer.package} {peer.version}"


def split(page: str) -> tuple[str, str, str]:
    """What stands before the matrix, the matrix, what stands after it."""
    before, _, rest = page.partition(BEGIN)
    table, _, after = rest.partition(END)
    return before, table.strip("\n"), after


def put_into(path: Path, matrix: str) -> None:
    before, _, after = split(path.read_text())
    path.write_text(f"{before}{BEGIN}\n{matrix}\n{END}{after}")
