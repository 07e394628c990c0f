"""The page of requirements and their tests, from docs/requirements.toml and the marks `covers` in tests/.

The tests are read, not run. A mark is a decorator of a test or of a class, part of one, or in `pytestmark` of a file.
Its ids are literal texts.
"""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.covers import GROUPS, NOT_COVERED

ROOT = Path(__file__).resolve().parent.parent
SHOWN = 2
"""How many tests a row names."""
FIRST = ("spec", "guarantees", "regressions")
"""Folders whose tests come first in a row."""

START = """\
# Requirements and their tests

This page lists the requirements of the A2A specification, the guarantees of this package, and the mistakes that it must
not repeat, each with the tests that cover it. A test names its requirements in a mark:

<!-- played by: tests/docs/test_traceability.py -->
```python
@covers("CANC-8", "G8", "P5")
async def test_every_stream_gets_the_canceled_event() -> None: ...
```

Run the tests of one requirement with `make test ARGS='--covers CANC-8'`. The ids and their words are in
`docs/requirements.toml`. A file without the name of a test stands for all tests of the file.
"""


@dataclass(frozen=True, slots=True)
class Marked:
    """A test that has the mark, or a whole file."""

    path: Path
    test: str | None


def marked_tests() -> dict[str, list[Marked]]:
    """Return the tests of each requirement, in the order of files and lines."""
    found: defaultdict[str, list[Marked]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("*.py")):
        text = path.read_text()
        if "covers(" in text and path.name != "covers.py":
            for ids, test in marks_of(ast.parse(text)):
                for id in ids:
                    found[id].append(Marked(path.relative_to(ROOT), test))
    return found


def marks_of(module: ast.Module) -> Iterator[tuple[list[str], str | None]]:
    """Yield the ids of each mark of a file, with the name of its test or class, or None for the mark of the file."""
    for node in ast.walk(module):
        match node:
            case ast.Assign(targets=[ast.Name(id="pytestmark")], value=value) if node in module.body:
                yield ids_in(value), None
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield [id for decorator in node.decorator_list for id in ids_in(decorator)], node.name


def ids_in(expression: ast.expr) -> list[str]:
    """Return the ids of every `covers(…)` in an expression. Raise ValueError if one is not a literal text."""
    return [
        literal(argument)
        for call in ast.walk(expression)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "covers"
        for argument in call.args
    ]


def literal(argument: ast.expr) -> str:
    match argument:
        case ast.Constant(value=str(id)):
            return id
    raise ValueError(f"covers({ast.unparse(argument)}): write the id as a literal text")


def traceability_page() -> str:
    """Return the page: a table for each group of requirements."""
    tests = marked_tests()
    sections = [START]
    for title, requirements in GROUPS.items():
        rows = [f"| {id} | {words} | {tests_of(id, tests[id])} |\n" for id, words in requirements.items()]
        sections.append(f"## {title}\n\n| Id | Requirement | Tests |\n|---|---|---|\n{''.join(rows)}")
    return "\n".join(sections)


def tests_of(id: str, tests: list[Marked]) -> str:
    """Return the first tests of a requirement by name, and the files of the others; or the reason why it has none."""
    if not tests:
        return f"none: {NOT_COVERED[id]}"
    ordered = sorted(dict.fromkeys(tests), key=lambda marked: (rank_of(marked), marked.path))
    links = [link(marked.path, f"`{marked.test}`" if marked.test else "") for marked in ordered[:SHOWN]]
    others = Counter(marked.path for marked in ordered[SHOWN:])
    if others:
        links.append(f"{others.total()} more in {', '.join(link(path) for path in others)}")
    return ", ".join(links)


def rank_of(marked: Marked) -> tuple[bool, int]:
    """Return the place of a test in its row: whole files, then the folders that are about requirements."""
    folder = marked.path.parts[1]
    return marked.test is not None, FIRST.index(folder) if folder in FIRST else len(FIRST)


def link(path: Path, name: str = "") -> str:
    return f"[{name or path.relative_to('tests')}](../{path})"
