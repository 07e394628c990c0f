"""Check that the text of the project is plain English: `make prose`.

The rules are those of CONTRIBUTING.md, as far as a program can check them:

- The first line of a function's docstring begins with a verb in the imperative, and has no colon that means "return".
- A sentence has at most `MAX_WORDS` words.
- No word of `DIALECT` stands in a docstring, a comment, a help text, the message of an exception or a log, or a page.

Code spans, code blocks, link targets and text in double quotes are not checked. Each finding names its file and line,
and says what to write instead. Without arguments the program checks the files of `COVERED`.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

MAX_WORDS = 30

COVERED = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "benchmarks/*.md",
    "benchmarks/*.py",
    "a2a_grpc/*.py",
    "a2a_grpc/agent/*.py",
    "a2a_grpc/auth/*.py",
    "a2a_grpc/bus/*.py",
    "a2a_grpc/cli/*.py",
    "a2a_grpc/client/*.py",
    "a2a_grpc/database/*.py",
    "a2a_grpc/engine/*.py",
    "a2a_grpc/listening/*.py",
    "a2a_grpc/log/*.py",
    "a2a_grpc/parts/*.py",
    "a2a_grpc/push/*.py",
    "a2a_grpc/registry/*.py",
    "a2a_grpc/rpc/*.py",
    "a2a_grpc/sentinel/*.py",
    "a2a_grpc/server/*.py",
    "a2a_grpc/store/*.py",
    "a2a_grpc/store/contract/*.py",
    "a2a_grpc/store/sql/*.py",
    "a2a_grpc/store/sql/migrations/*.py",
    "a2a_grpc/store/sql/migrations/versions/*.py",
    "a2a_grpc/store/sql/statements/*.py",
    "clients/*.py",
    "clients/python-stubs/*.py",
    "servers/*.py",
    "servers/replicas/*.md",
    "servers/replicas/*.py",
    "tools/*.py",
)
"""Files and patterns that are checked. The list grows until the whole project is on it."""

DIALECT = {
    r"(?:who|what|which|where)(?:so)?ever|however(?!,)": "name the thing or person: 'any X', 'each X', 'every X that'",
    r"(?:some|no|any|every)(?:body|one)(?: else)?": "name the person or the program: caller, client, reader, task",
    r"but for": "except for",
    r"save for": "except for",
    r"told": "notified, given, reported, or the verb that says what happened",
    r"anew": "again",
    r"surely": "say what happens, without 'surely'",
    r"elsewhere": "say where: in another process, at another server",
    r"whence|hence|thus|hitherto|where(?:in|by|upon|of)|there(?:in|of|upon|with)|here(?:in|by|of)": "a plainer word",
    r"lest": "so that … not",
    r"be?falls?|befell": "happens to",
    r"beside": "next to, in addition to, compared with",
    r"(?:heal|bury|doubt)(?:s|ed|ing)?|buried": "poll, expire, invalidate: the word of the field",
    r"becom(?:es?|ing) of|became of": "what happens to",
    r"(?:none|true|false|empty|only|except|but|even|not|unless|also|same|0),? where": "if (conditions), or when (time)",
    r"where (?:nobody|this|that|it|they|there|he|she) (?:is|are|does|do|has|have|can|cannot|may|was|were|will)\b"
    r"(?! (?:stored|kept|found|written|described|explained|running|needed))": "if (conditions), or when (time)",
    r"(?:for|of|by|from|to|with|than) who": "name the person or the program: caller, client, reader, task",
    r"as long as nobody": "while no other X",
    r"one's|of one's own": "your, or its",
}
"""Words of the project's former dialect, as patterns, each with what to write instead."""

PATTERNS = [
    (re.compile(r"\b(?:{})\b".format(words.replace(" ", r"\s+")), re.IGNORECASE), instead)
    for words, instead in DIALECT.items()
]

NOT_VERBS = """
    a all an another any as at both but by each either every everything false first for from how if in into it its last
    like more most neither no none not nothing of on once one only other our over some same something such that the
    their then there these they this those to true two until what when where whether which while who whose why with
    without yes you your
"""
"""Words that a first line in the imperative does not begin with."""

NO_THIRD_PERSON = (
    "access address bias bypass compress cross discuss dismiss express focus guess pass press process stress"
)
NO_GERUND = "bring ping ring sing spring string"

SECTION = re.compile(r"(Args|Attributes|Examples?|Guarantees|Raises|Returns|Yields):")
"""The heading of a section in a docstring."""
ENTRY = re.compile(r"\s*\*{0,2}[\w.]+: ")
"""The beginning of an entry of a section, which is a name of the code."""
TITLE = re.compile(r"#{1,4} ")
ROW = re.compile(r"\||[^.!?]*\S {2,}\S")
"""A row of a table, with bars or with columns of spaces."""
CELL = re.compile(r"(?:[^| ]| (?! ))+")
ABBREVIATIONS = re.compile(r"\b(?:e\.g|i\.e|etc|vs|cf|approx|No)\.")
SENTENCE_END = re.compile(r"[.!?][\"')*_]*(?=\s|$)")
WORD = re.compile(r"[\w…][\w…'’.,/:@+=%-]*")
ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)]) +")
CODE_SPAN = re.compile(r"(`+)(?!`)(?:.|\n(?!\s*\n))+?(?<!`)\1(?!`)")
QUOTED = re.compile(r"“[^”]*”|(?<![\w\"])\"(?=\S)(?:[^\"\n]|\n(?!\s*\n))*?\"(?!\w)")
LINK_TARGET = re.compile(r"(?<=\])\((?:[^()\s]|\([^()\s]*\))*\)|<https?://[^>\s]+>|https?://[^\s)>]+")
HTML_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
FENCE = re.compile(r"^(?P<fence>```+|~~~+).*?^(?P=fence)", re.MULTILINE | re.DOTALL)
DIRECTIVE = re.compile(r"#\s*(?:type:|noqa|fmt:|pragma|ruff:|mypy:|!|-\*-)")


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A place in a file that breaks a rule."""

    path: str
    line: int
    wrong: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.wrong}; write: {self.instead}"


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a file, with the line that it begins on."""

    line: int
    text: str

    def line_of(self, offset: int) -> int:
        """Return the line of the file for an offset in the text."""
        return self.line + self.text.count("\n", 0, offset)


def check_file(path: Path) -> list[Finding]:
    """Return what breaks a rule in a Markdown page or a Python module, in order of lines."""
    name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
    check = check_page if path.suffix == ".md" else check_module
    return sorted(set(check(name, path.read_text())))


def check_page(path: str, source: str) -> Iterator[Finding]:
    """Yield what breaks a rule in the source of a Markdown page."""
    text = _blanked(HTML_COMMENT, _blanked(FENCE, source))
    yield from _check_text(path, Text(1, text))


def check_module(path: str, source: str) -> Iterator[Finding]:
    """Yield what breaks a rule in docstrings, in comments, and in the texts of settings, options and messages."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if docstring := _docstring(node):
                    yield from _check_first_line(path, docstring, _is_attribute(node))
                    yield from _check_text(path, docstring)
            case ast.ClassDef() | ast.Module():
                for text in _documentation(node):
                    yield from _check_text(path, text)
            case ast.Call(func=ast.Name("setting"), args=[_, ast.Constant(str() as text) as constant, *_]):
                yield from _check_text(path, Text(constant.lineno, text))
            case ast.keyword(arg="help" | "epilog" | "short_help", value=ast.Constant(str() as text) as constant):
                yield from _check_text(path, Text(constant.lineno, text))
            case ast.Raise(exc=ast.Call(args=[message, *_])):
                yield from _check_message(path, message)
            case ast.Call(func=ast.Attribute(value=ast.Name("logger")), args=[message, *_]):
                yield from _check_message(path, message)
            case ast.Call(func=ast.Name("Violation"), args=[_, message]):
                yield from _check_message(path, message)
    for comment in _comments(source):
        yield from _check_text(path, comment)


def _check_message(path: str, message: ast.expr) -> Iterator[Finding]:
    match message:
        case ast.Constant(str() as text):
            yield from _check_text(path, Text(message.lineno, text))
        case ast.JoinedStr(values=pieces):
            texts = [piece.value if isinstance(piece, ast.Constant) else "_" for piece in pieces]
            yield from _check_text(path, Text(message.lineno, "".join(map(str, texts))))


def _docstring(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module) -> Text | None:
    if node.body and (found := _string(node.body[0])):
        return found
    return None


def _documentation(node: ast.ClassDef | ast.Module) -> Iterator[Text]:
    """Yield the docstring of a class or module, and the strings that document its attributes."""
    for statement in node.body:
        if found := _string(statement):
            yield found
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            yield from (text for inner in statement.body[1:] if (text := _string(inner)))


def _string(statement: ast.stmt) -> Text | None:
    match statement:
        case ast.Expr(ast.Constant(str() as text) as constant):
            return Text(constant.lineno, text)
    return None


def _is_attribute(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return True for a property, whose documentation may be a noun phrase."""
    return any("property" in ast.unparse(decorator) for decorator in node.decorator_list)


def _check_first_line(path: str, docstring: Text, is_attribute: bool) -> Iterator[Finding]:
    first = docstring.text.strip().partition("\n\n")[0]
    line = docstring.line_of(len(docstring.text) - len(docstring.text.lstrip()))
    begins = "the first line begins with '{}'"
    if first.startswith("Whether "):
        yield Finding(path, line, begins.format("Whether"), "'Return True if', or 'True if' for a property")
    elif not is_attribute and (wrong := _no_imperative(first)):
        yield Finding(path, line, begins.format(wrong), "a verb in the imperative, such as 'Return'")
    sentence = _masked(SENTENCE_END.split(first, maxsplit=1)[0])
    if not is_attribute and not first.startswith(("Return ", "Yield ")) and re.search(r":\s", sentence):
        instead = "a sentence that begins with 'Return', or two sentences"
        yield Finding(path, line, "the first sentence has a colon", instead)


def _no_imperative(first: str) -> str:
    """Return the words by which a first line is not in the imperative, "" if it seems to be."""
    found = re.match(r"([A-Za-z][\w-]*)( of\b)?", first)
    if found is None:
        return ""
    word = found[1].lower()
    if (
        word in NOT_VERBS.split()
        or (word.endswith("s") and word not in NO_THIRD_PERSON.split())
        or (word.endswith("ing") and word not in NO_GERUND.split())
    ):
        return found[1]
    return found[0] if found[2] else ""


def _check_text(path: str, text: Text) -> Iterator[Finding]:
    masked = _masked(text.text)
    for start, block in _blocks(masked):
        yield from _check_words(path, text, start, block)
        yield from _check_length(path, text, start, block)


def _check_words(path: str, text: Text, start: int, block: str) -> Iterator[Finding]:
    unquoted = _blanked(QUOTED, block)
    for pattern, instead in PATTERNS:
        for found in pattern.finditer(unquoted):
            said = " ".join(found[0].split())
            yield Finding(path, text.line_of(start + found.start()), f"'{said}'", instead)
    for found in re.finditer(r"(?:^|(?<=[.!?] ))\s*(Who|Where|What|Whose)\b(?![^.!?]*\?)", block):
        if found[1] == "Where" and re.match(r"\s*Where\b[^.!?]{0,70}:?$", block[found.start() :].rstrip()):
            continue  # a heading
        if found[1] in ("Who", "Where"):
            instead = "if (conditions), when (time)" if found[1] == "Where" else "name the person or the program"
            yield Finding(
                path, text.line_of(start + found.start(1)), f"a sentence that begins with '{found[1]}'", instead
            )


def _check_length(path: str, text: Text, start: int, block: str) -> Iterator[Finding]:
    begin = 0
    plain = ABBREVIATIONS.sub(lambda found: found[0].replace(".", "_"), block)
    for end in [*(found.end() for found in SENTENCE_END.finditer(plain)), len(plain)]:
        words = len(WORD.findall(plain[begin:end]))
        if words > MAX_WORDS:
            line = text.line_of(start + begin + len(plain[begin:end]) - len(plain[begin:end].lstrip()))
            yield Finding(path, line, f"a sentence of {words} words", f"sentences of at most {MAX_WORDS} words")
        begin = end


def _blocks(text: str) -> Iterator[tuple[int, str]]:
    """Yield the paragraphs, items, titles and table cells of a text, each with its offset. Skip indented code."""
    margin = _margin(text)
    section = ""
    begin, end, block_indent = -1, -1, 0
    offset = 0
    for line in [*text.splitlines(keepends=True), "\n"]:
        content = line.strip()
        indent = 0 if offset == 0 else len(line) - len(line.lstrip()) - margin
        heading, title, row = SECTION.fullmatch(content), TITLE.match(content), ROW.match(content)
        is_item = bool(ITEM.match(line)) or (bool(section) and indent == 4)
        if begin >= 0 and (not content or heading or title or row or is_item or indent < block_indent):
            yield begin, text[begin:end]
            begin = -1
        if content and indent == 0:
            section = heading[1] if heading else ""
        is_code = (begin < 0 and indent >= 4 and not is_item) or section.startswith("Example")
        if title:
            yield offset, line
        elif row and not is_code:
            yield from ((offset + cell.start(), cell[0]) for cell in CELL.finditer(line))
        elif content and not heading and not is_code:
            if begin < 0:
                entry = ENTRY.match(line) if section and indent == 4 else None
                begin, block_indent = offset + (entry.end() if entry else 0), indent
            end = offset + len(line)
        offset += len(line)


def _margin(text: str) -> int:
    """Return the least indent of the lines after the first."""
    indents = [len(line) - len(line.lstrip()) for line in text.splitlines()[1:] if line.strip()]
    return min(indents, default=0)


def _comments(source: str) -> Iterator[Text]:
    """Yield the comments of a module. Lines that follow each other at the same column are one text."""
    lines: list[tuple[int, int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or DIRECTIVE.match(token.string):
            continue
        row, column = token.start
        said = " " + token.string[1:]
        alone = not token.line[:column].strip()
        if lines and not (alone and lines[-1][0] == row - 1 and lines[-1][1] == column):
            yield Text(lines[0][0], "\n".join(line.strip() for *_, line in lines))
            lines = []
        lines.append((row, column, said))
    if lines:
        yield Text(lines[0][0], "\n".join(line.strip() for *_, line in lines))


def _masked(text: str) -> str:
    """Return a text of the same length whose code spans are one word and whose link targets are blank."""
    text = CODE_SPAN.sub(lambda found: re.sub(r"[^\n]", "_", found[0]), text)
    return _blanked(LINK_TARGET, text)


def _blanked(pattern: re.Pattern[str], text: str) -> str:
    """Return a text of the same length with spaces in place of what a pattern matches."""
    return pattern.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def covered(patterns: Iterable[str] = COVERED) -> list[Path]:
    """Return the files that the patterns name, in order."""
    return [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]


def main(arguments: list[str]) -> int:
    """Print each finding in the given files, or in the covered ones. Return 1 if there are any, 2 for a wrong file."""
    paths = [path for name in arguments for path in _files(Path(name))] if arguments else covered()
    if wrong := [path for path in paths if path.suffix not in (".md", ".py") or not path.is_file()]:
        print(f"{wrong[0]}: no Markdown page and no Python module", file=sys.stderr)
        return 2
    findings = [finding for path in paths for finding in check_file(path.resolve())]
    for finding in findings:
        print(finding)
    if findings:
        print(f"{len(findings)} findings in {len({finding.path for finding in findings})} of {len(paths)} files")
    return 1 if findings else 0


def _files(path: Path) -> list[Path]:
    return sorted(found for found in path.rglob("*") if found.suffix in (".py", ".md")) if path.is_dir() else [path]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
