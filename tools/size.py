"""Count the lines of code of each package, without and with docstrings. Blank lines and comments do not count.

python tools/size.py [FOLDER]
"""

import ast
import io
import sys
import tokenize
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
NOTHING = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING,
    tokenize.ENDMARKER,
}  # fmt: skip


class Size(NamedTuple):
    """The lines of a module or of a package."""

    code: int = 0
    documented: int = 0
    """Those of `code` and those of docstrings."""

    def plus(self, other: "Size") -> "Size":
        return Size(self.code + other.code, self.documented + other.documented)


def size_of(source: str) -> Size:
    """Count the lines of a module. A line of a docstring that is blank counts as a line of the docstring."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NOTHING:
            lines.update(range(token.start[0], token.end[0] + 1))
    return Size(len(lines - docstrings), len(lines | docstrings))


def sizes(folder: Path) -> dict[str, Size]:
    """Return the size of each package below a folder, by its path. A module counts for its own package."""
    found: defaultdict[str, Size] = defaultdict(Size)
    for path in sorted(folder.rglob("*.py")):
        name = path.parent.relative_to(folder.parent).as_posix()
        found[name] = found[name].plus(size_of(path.read_text()))
    return found


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "a2a_grpc"
    if not folder.is_dir():
        sys.exit(f"Error: no such folder: {folder}")
    found = sizes(folder.resolve())
    print("   code  with docstrings")
    for name, size in found.items():
        print(f"{size.code:7,} {size.documented:7,}  {name}")
    print(
        f"{sum(size.code for size in found.values()):7,} {sum(size.documented for size in found.values()):7,}  in all"
    )


if __name__ == "__main__":
    main()
