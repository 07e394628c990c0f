"""Read docstrings: their sections, and what a class has to document.

The form is Google's: a summary line, prose, then sections such as `Args:`, whose entries are indented by 4. A class
lists the parameters of its constructor in `Args:`. Its `Attributes:` are the other public ones, without properties.
"""

import ast
import inspect
import re
import textwrap
from dataclasses import dataclass, fields

SECTION = re.compile(r"(Args|Attributes|Examples?|Raises|Returns|Yields):")
"""The heading of a section."""
ENTRY = re.compile(r"(\*{0,2}[\w.]+(?:, [\w.]+)*): ?")
"""The beginning of an entry."""


@dataclass(frozen=True, slots=True)
class Docstring:
    """The pieces of a docstring.

    Attributes:
        summary: The first paragraph, in one line.
        text: The paragraphs between the summary and the first section.
        sections: The text of each section by its heading, such as `Returns`, without its indent.
    """

    summary: str
    text: str
    sections: dict[str, str]

    def entries(self, section: str) -> dict[str, str]:
        """Return the entries of a section such as `Args` in order: the text of each by its name, in one line.

        Raises:
            ValueError: A line of the section belongs to no entry.
        """
        found: dict[str, list[str]] = {}
        for line in self.sections.get(section, "").splitlines():
            if (entry := ENTRY.match(line)) is not None:
                lines = found[entry[1]] = [line[entry.end() :]]
            elif not found or (line and not line.startswith(" ")):
                raise ValueError(f"{section}: no entry begins like this: {line!r}")
            else:
                lines.append(line.strip())
        return {name: " ".join(lines).strip() for name, lines in found.items()}


def parse(docstring: str) -> Docstring:
    """Return the pieces of a docstring."""
    lines = inspect.cleandoc(docstring).splitlines()
    sections: dict[str, list[str]] = {}
    text: list[str] = []
    here = text
    for line in lines:
        if (heading := SECTION.fullmatch(line)) is not None:
            here = sections.setdefault(heading[1], [])
        elif line and not line.startswith(" ") and here is not text:
            raise ValueError(f"text after a section: {line!r}")
        else:
            here.append(line)
    summary, _, prose = "\n".join(text).partition("\n\n")
    return Docstring(
        " ".join(summary.split()),
        prose.strip(),
        {name: textwrap.dedent("\n".join(kept)).strip() for name, kept in sections.items()},
    )


def attributes(kind: type) -> list[str]:
    """Return the names of the public attributes that a class itself has, without methods and properties, in order.

    These are fields of a dataclass or NamedTuple, class attributes, and what `__init__` assigns to `self`. The fields
    of a dataclass include those of its bases, since the constructor takes them.
    """
    inherited = {name for base in kind.__mro__[1:-1] for name in attributes(base)}
    own = vars(kind)
    is_dataclass = "__dataclass_fields__" in own
    names = [item.name for item in fields(kind)] if is_dataclass else list(own.get("_fields", ()))
    inherited -= set(names)
    names += own.get("__annotations__", {})
    names += [name for name, value in own.items() if not callable(value) and not _is_descriptor(value)]
    if inspect.isfunction(own.get("__init__")) and not is_dataclass:
        names += _assigned(own["__init__"])
    return [
        name
        for name in dict.fromkeys(names)
        if not name.startswith("_") and name not in inherited and not isinstance(own.get(name), property)
    ]


def parameters(function: object) -> list[str]:
    """Return the names of the parameters of a function or class as `Args:` has them, without `self`."""
    stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}
    found = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    return [stars.get(one.kind.name, "") + one.name for one in found if one.name != "self"]


def _is_descriptor(value: object) -> bool:
    return isinstance(value, (property, classmethod, staticmethod)) or inspect.ismemberdescriptor(value)


def _assigned(function: object) -> list[str]:
    """Return the attributes of `self` that the body of an `__init__` assigns, in order."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))  # type: ignore[arg-type]
    except (OSError, SyntaxError):
        return []
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    ]
    return [node.attr for node in sorted(found, key=lambda node: (node.lineno, node.col_offset))]
