"""Reading of TOML files whose mistakes are reported by file, table and key."""

import logging
import os
import stat
import tomllib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from a2a_grpc.config import ConfigurationError, hint_at
from a2a_grpc.regular import check_regular, read_regular

logger = logging.getLogger("a2a_grpc.auth")

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def state_of(path: Path) -> os.stat_result:
    """Return the state of a file. Raise ConfigurationError if it does not exist, or reading it might never end."""
    try:
        return check_regular(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None


def warn_if_writable(path: Path, mode: int) -> None:
    """Write a warning to the log if other users can write a file, and so can let callers in."""
    mode = stat.S_IMODE(mode)
    if os.name == "posix" and mode & OTHERS_WRITE:
        logger.warning(
            "other users can write a file of credentials file=%s mode=%04o do='chmod 600 %s'", path, mode, path
        )


def read_text(path: Path) -> str:
    """Return the text of a file. Raise ConfigurationError if it cannot be read, is too large or is empty."""
    try:
        text = read_regular(path).decode()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: cannot be read: it is not UTF-8") from None
    if not text:
        raise ConfigurationError(f"{path}: the file is empty")
    return text


def parse(path: Path, text: str) -> dict[str, Any]:
    """Return the tables of a TOML file. Raise ConfigurationError if the text is not TOML."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # The text of the file is in the attributes of the error, so the error goes no further.
        raise ConfigurationError(f"{path}: is not TOML: {error}") from None


class Table:
    """One table of a file. Errors name the file, the table, the key and the value.

    Args:
        path: The file.
        name: The table as the file writes it, for example "[keys]".
        values: The contents of the table.
        known: The keys that the table may have.

    Raises:
        ConfigurationError: The table is not a table, or has an unknown key. The value of an unknown key is not shown,
            since it may be a secret.
    """

    def __init__(self, path: Path, name: str, values: object, known: Collection[str]) -> None:
        self.path = path
        self.name = name
        if not isinstance(values, Mapping):
            raise ConfigurationError(f"{path}: {name} must be a table")
        self._values: Mapping[str, Any] = values
        for key in values:
            if key not in known:
                raise self.wrong(f"the key '{key}' is unknown{hint_at(key, known) or f'; known: {listed(known)}'}")

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def wrong(self, problem: str) -> ConfigurationError:
        """Return the error that says what is wrong with this table."""
        return ConfigurationError(f"{self.path}: {self.name}: {problem}")

    def must_be(self, key: str, wanted: str) -> ConfigurationError:
        """Return the error for the value of a key that is not what is wanted."""
        return self.wrong(f"{key} is {shown(self._values[key])}; it must be {wanted}")

    def text(self, key: str) -> str | None:
        """Return a text of at least one character, or None if the table does not have the key."""
        value = self._values.get(key)
        if value is not None and not (isinstance(value, str) and value and value.isprintable()):
            raise self.must_be(key, "a text of printable characters")
        return value

    def needed_text(self, key: str) -> str:
        """Return a text. Raise ConfigurationError if the table does not have the key."""
        value = self.text(key)
        if value is None:
            raise self.wrong(f"the key '{key}' is missing")
        return value

    def texts(self, key: str, *, may_be_empty_text: bool = False) -> tuple[str, ...] | None:
        """Return a list of one or more texts, or None if the table does not have the key."""
        value = self._values.get(key)
        if value is None:
            return None
        is_list = isinstance(value, list) and all(isinstance(item, str) and item.isprintable() for item in value)
        if not is_list or not value or not (may_be_empty_text or all(value)):
            raise self.must_be(key, 'a list of texts, for example ["one", "two"]')
        return tuple(value)

    def texts_by_name(self, key: str) -> dict[str, tuple[str, ...]] | None:
        """Return lists of texts by name, or None if the table does not have the key."""
        if key not in self._values:
            return None
        inner = Table(self.path, f"[{self.name.strip('[]')}.{key}]", self._values[key], _Any())
        return {name: inner.texts(name, may_be_empty_text=True) or () for name in inner._values}

    def flag(self, key: str) -> bool | None:
        """Return true or false, or None if the table does not have the key."""
        value = self._values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.must_be(key, "true or false")
        return value

    def number(self, key: str) -> float | None:
        """Return a number of 0 or more, or None if the table does not have the key."""
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise self.must_be(key, "a number of 0 or more")
        return float(value)

    def time(self, key: str) -> float | None:
        """Return a Unix time in seconds, or None if the table does not have the key."""
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise self.must_be(key, "a time with its zone and without quotes, for example 2027-01-31T00:00:00Z")
        return value.timestamp()


class _Any(Collection[str]):
    """The known keys of a table that may have any key."""

    def __contains__(self, key: object) -> bool:
        return True

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


def shown(value: object) -> str:
    """Return a value of a TOML file for an error, in one short line."""
    text = f"'{value}'" if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def listed(names: Collection[str]) -> str:
    """Return names for an error, in alphabetical order."""
    return ", ".join(sorted(names))


def refuse_unknown_tables(path: Path, tables: Mapping[str, object], known: Sequence[str]) -> None:
    """Raise ConfigurationError for the first table, or key outside of a table, that a file may not have."""
    for name, value in tables.items():
        if name not in known:
            what = "table" if isinstance(value, Mapping | list) else "key"
            raise ConfigurationError(
                f"{path}: the {what} '{name}' is unknown; known tables: {listed(known)}{hint_at(name, known)}"
            )
