"""Changes of the file of API keys: only the tables of the keys concerned change."""

import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from a2a_grpc.auth.keyfile import TABLE, Key, keys_of
from a2a_grpc.auth.tables import parse, read_text, state_of
from a2a_grpc.config import ConfigurationError, hint_at
from a2a_grpc.private import locked, write_private

HEADER = """\
# API keys. `a2a-grpc keys new NAME` adds a key, and `a2a-grpc serve --api-keys` accepts the keys of this file.
# The file holds digests, not the keys. A running server reads the file again within two seconds of a change.
"""

_ANY_TABLE = re.compile(r"\s*\[")
_KEY_TABLE = re.compile(r"""\s*\[\[\s*(?:key|"key"|'key')\s*\]\]""")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


def add(path: Path, key: Key) -> None:
    """Add a key at the end of a file. The rest of the file stays as it is. A new file has mode 0600.

    Raises:
        ConfigurationError: The file is wrong, or cannot be written.
    """
    with _changing(path):
        text = read_text(path) if path.exists() and state_of(path).st_size else HEADER
        tables = parse(path, text)
        keys_of(path, tables)  # raises if the file is wrong
        new = f"{text}{'' if text.endswith(chr(10)) else chr(10)}\n{key.to_toml()}"
        more = tomllib.loads(key.to_toml())[TABLE]
        if _parsed(new) != {**tables, TABLE: [*tables.get(TABLE, []), *more]}:
            raise ConfigurationError(f"{path}: a key cannot be added at the end of the file; add it by hand")
        write_private(path, new)


def remove(path: Path, name: str, id: str = "") -> list[Key]:
    """Remove the keys of a caller from a file, and return them. The rest of the file stays as it is.

    Args:
        path: The file.
        name: The name of the caller.
        id: The first digits of the key's digest, if only one key is to be removed.

    Raises:
        ConfigurationError: The file has no such key, or several that begin with `id`, or it cannot be written.
    """
    with _changing(path):
        text = read_text(path)
        keys = keys_of(path, parse(path, text))
        leaving = [key for key in keys if key.name == name and key.digest.startswith(id.lower())]
        _check_found(path, keys, leaving, name, id)
        for number in reversed([number for number, key in enumerate(keys) if key in leaving]):
            text = _without(path, text, number)
        write_private(path, text)
    return leaving


@contextmanager
def _changing(path: Path) -> Iterator[None]:
    """Hold the lock of a file. Raise ConfigurationError if the file cannot be written."""
    try:
        with locked(path):
            yield
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from None


def _check_found(path: Path, keys: list[Key], found: list[Key], name: str, id: str) -> None:
    if not found and id:
        ids = ", ".join(key.id for key in keys if key.name == name)
        raise ConfigurationError(f"{path}: '{name}' has no key with the id '{id}'" + (f"; it has {ids}" if ids else ""))
    if not found:
        names = sorted({key.name for key in keys})
        raise ConfigurationError(f"{path}: no key has the name '{name}'{hint_at(name, names)}")
    if id and len(found) > 1:
        raise ConfigurationError(f"{path}: {len(found)} keys of '{name}' begin with '{id}'; give more digits")


def _without(path: Path, text: str, number: int) -> str:
    """Return the text of a file without one of its keys. Comments after the last line of the key stay.

    A line that looks like the beginning of a table may be part of a text. So the result is read again. If more than the
    key is missing, the next line that looks so is tried.
    """
    expected = tomllib.loads(text)
    del expected[TABLE][number]
    lines = _LINE.findall(text)
    starts = [at for at, line in enumerate(lines) if _ANY_TABLE.match(line)]
    of_keys = [at for at in starts if _KEY_TABLE.match(lines[at])]
    for start in of_keys[number:] + of_keys[:number]:
        end = next((at for at in starts if at > start), len(lines))
        new = "".join([*lines[:start], *_comments_after(lines[start:end]), *lines[end:]])
        found = _parsed(new)
        if found is not None and {TABLE: [], **found} == expected:
            return new
    raise ConfigurationError(f"{path}: key {number + 1} cannot be removed without changing others; remove it by hand")


def _comments_after(lines: list[str]) -> list[str]:
    """Return the comments at the end of the lines of a removed table, without the empty lines before them."""
    last = max((at for at, line in enumerate(lines) if not _is_comment(line)), default=-1)
    rest = lines[last + 1 :]
    while rest and not rest[0].strip():
        rest.pop(0)
    return rest


def _is_comment(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
