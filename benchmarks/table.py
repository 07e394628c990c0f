"""The tables of README.md, from what bench.py has written.

    python benchmarks/table.py benchmarks/results.json [BEFORE.json] [--again AGAIN.json] [--more FILE…]

Prints Markdown: the targets with the measured figures, those of a second run and of an earlier commit, then all
workloads. `--more` adds the workloads of further runs, for example of `bench.py --only`.
"""

import argparse
import json
from pathlib import Path

from bench import ALL, BARE, GO, MEMORY, SDK, Row, latency, shown


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("before", type=Path, nargs="?")
    parser.add_argument("--again", type=Path)
    parser.add_argument("--more", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    results = json.loads(options.results.read_text())
    for path in options.more:
        further = json.loads(path.read_text())
        results["rows"] += further["rows"]
        results["goals"] += further["goals"]
    before = json.loads(options.before.read_text()) if options.before else {}
    again = json.loads(options.again.read_text()) if options.again else {}
    print(told(results))
    print()
    print("\n".join(reached(results, again, before)))
    print()
    print("\n".join(workloads(results)))
    if before:
        print(f"\n{told(before)}\n")
        print("\n".join(workloads(before)))


def told(results: dict) -> str:
    """Return the machine and the versions in one line."""
    return "; ".join(f"{key} {value}" for key, value in results["machine"].items()) + "."


def reached(results: dict, again: dict, before: dict) -> list[str]:
    """Return the lines of the table of goals and limits."""
    others = [medians(again), medians(before)]
    heads = ("Workload", "ratio of", "target", "measured", "spread", "second run", "before")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for goal in results["goals"]:
        low, high = goal["spread"]
        found = marked(goal["is"], goal["is"] >= goal["least"])
        was = " | ".join(number(other.get((goal["what"], goal["of"]))) for other in others)
        lines.append(
            f"| {goal['what']} | {goal['of']} | ≥ {goal['least']:.2f} | {found} | {low:.2f}–{high:.2f} | {was} |"
        )
    for limit in results.get("limits", ()):
        found = marked(limit["is"], limit["is"] <= limit["most"])
        was = " | ".join(number(other.get((limit["what"], None))) for other in others)
        lines.append(f"| {limit['what']} | | ≤ {limit['most']:.2f} | {found} | | {was} |")
    return lines


def medians(results: dict) -> dict[tuple[str, str | None], float]:
    """Return the medians of the goals and limits, by workload and what it is a ratio of."""
    return {
        (each["what"], each.get("of")): each["is"] for part in ("goals", "limits") for each in results.get(part, ())
    }


def marked(value: float, is_reached: bool) -> str:
    return f"**{value:.2f}**" if is_reached else f"{value:.2f}"


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def workloads(results: dict) -> list[str]:
    """Return the lines of the table of all workloads, with the medians of rates, ratios and latencies."""
    rows = [Row.of(plain) for plain in results["rows"]]
    names = [name for name in ALL if any(name in row.figures for row in rows)]
    others = [name for name in (BARE, SDK, GO) if name in names]
    heads = [*names, *(f"memory / {other}" for other in others), "p50 / p99 of bare, ms", "of memory, ms"]
    lines = ["| Workload | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for row in rows:
        name, unit = row.workload.name, row.workload.unit
        cells = [shown(row, each) for each in names]
        cells += [number(ratio[0]) if (ratio := row.ratio(MEMORY, other)) else "" for other in others]
        cells += [latency(row, each) for each in (BARE, MEMORY)]
        lines.append(f"| {name if unit == 'calls/s' else f'{name}, {unit}'} | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
