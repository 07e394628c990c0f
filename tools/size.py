"""Count the lines of code of each package: without blank lines, comments and docstrings.

python tools/size.py [FOLDER]
"""

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOTHING = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING,
    tokenize.ENDMARKER,
}  # fmt: skip


def lines_of(source: str) -> int:
    """Return the number of lines that hold code."""
    documented: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            documented.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NOTHING:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - documented)


def sizes(folder: Path) -> "Counter[str]":
    """Return the number of lines of each package below a folder, by its path. A module counts for its own package."""
    found: Counter[str] = Counter()
    for path in sorted(folder.rglob("*.py")):
        found[path.parent.relative_to(folder.parent).as_posix()] += lines_of(path.read_text())
    return found


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "a2a_grpc"
    if not folder.is_dir():
        sys.exit(f"Error: no such folder: {folder}")
    found = sizes(folder.resolve())
    for name, count in found.items():
        print(f"{count:7,}  {name}")
    print(f"{sum(found.values()):7,}  in all")


if __name__ == "__main__":
    main()
