"""The file of API keys: a TOML file with a table for each key."""

import hashlib
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from a2a_grpc.auth.tables import Table, parse, read_text
from a2a_grpc.config import ConfigurationError, hint_at

TABLE = "key"
PREFIX = "a2a_"
"""The beginning of each key that this package makes. Secret scanners know keys by it, and no JWT begins so."""
MAX_NAME_CHARS = 128
ID_CHARS = 8

_KEY = re.compile(PREFIX + r"[0-9a-f]{64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Key:
    """What the file says of one key.

    Attributes:
        name: The name of the caller. Several keys may have one name; their callers are one caller.
        digest: The SHA-256 digest of the key, 64 hexadecimal digits.
        tenants: The tenants whose requests the key allows; None for all tenants.
        scopes: The rights of the caller.
        not_after: The Unix time in seconds from which on the key is not valid; None if it does not end.
        created: The Unix time in seconds at which the key was made; None if that is not known.
    """

    name: str
    digest: str
    tenants: frozenset[str] | None = None
    scopes: frozenset[str] = frozenset()
    not_after: float | None = None
    created: float | None = None

    @property
    def id(self) -> str:
        """The first digits of the digest, with which commands name the key."""
        return self.digest[:ID_CHARS]

    def to_toml(self) -> str:
        """Return the table of this key."""
        lines = [f"[[{TABLE}]]", f"name = {_quoted(self.name)}", f'sha256 = "{self.digest}"']
        if self.tenants is not None:
            lines.append(f"tenants = {_list(self.tenants)}")
        if self.scopes:
            lines.append(f"scopes = {_list(self.scopes)}")
        for name, time in (("created", self.created), ("not_after", self.not_after)):
            if time is not None:
                lines.append(f"{name} = {datetime.fromtimestamp(time, UTC):%Y-%m-%dT%H:%M:%SZ}")
        return "\n".join(lines) + "\n"


def new_secret() -> str:
    """Return a new key, with 256 bits of randomness."""
    return PREFIX + secrets.token_hex(32)


def digest_of(secret: str) -> str:
    """Return the SHA-256 digest of a key, as the file holds it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def read(path: Path) -> list[Key]:
    """Return the keys of a file, in their order.

    Raises:
        ConfigurationError: The file cannot be read, or is wrong. The error names the file, the table and the key.
    """
    return keys_of(path, parse(path, read_text(path)))


def keys_of(path: Path, tables: dict[str, Any]) -> list[Key]:
    """Return the keys among the tables of a file. Other tables are left alone, unless they look like a misspelt one."""
    for name in tables:
        if name != TABLE and hint_at(name, [TABLE]):
            raise ConfigurationError(f"{path}: the table '{name}' is unknown{hint_at(name, [TABLE])}")
    entries = tables.get(TABLE, [])
    if not isinstance(entries, list):
        raise ConfigurationError(f"{path}: [{TABLE}] must be written [[{TABLE}]], since there may be several keys")
    keys: dict[str, Key] = {}
    for number, entry in enumerate(entries, 1):
        key = _key(path, number, entry)
        if key.digest in keys:
            raise ConfigurationError(f"{path}: [[{TABLE}]] {number} ('{key.name}'): the key is in the file twice")
        keys[key.digest] = key
    return list(keys.values())


def _key(path: Path, number: int, entry: object) -> Key:
    place = f"[[{TABLE}]] {number}"
    name = entry.get("name") if isinstance(entry, dict) else None
    if isinstance(name, str) and name.isprintable() and len(name) <= MAX_NAME_CHARS and not is_key(name):
        place += f" ('{name}')"
    table = Table(path, place, entry, ("name", "sha256", "tenants", "scopes", "created", "not_after"))
    name, digest = table.needed_text("name"), table.needed_text("sha256")
    if problem := name_problem(name):
        raise table.wrong(f"name {problem}")
    if not _DIGEST.fullmatch(digest.lower()):  # its value may be a key
        raise table.wrong("sha256 must have the 64 hexadecimal digits of the key's SHA-256 digest")
    tenants, scopes = table.texts("tenants", may_be_empty_text=True), table.texts("scopes") or ()
    for scope in scopes:
        if scope_problem(scope):
            raise table.wrong(f"scopes has '{scope}', which {scope_problem(scope)}")
    return Key(
        name=name,
        digest=digest.lower(),
        tenants=None if tenants is None else frozenset(tenants),
        scopes=frozenset(scopes),
        not_after=table.time("not_after"),
        created=table.time("created"),
    )


def is_key(text: str) -> bool:
    """Return True if a text looks like a key that this package has made."""
    return _KEY.fullmatch(text.strip()) is not None


def name_problem(name: str) -> str:
    """Return what is wrong with the name of a key, as the end of a sentence that begins with "name"; "" if nothing."""
    if is_key(name):
        return "is a key itself; give the name of the caller"
    if not name or name != name.strip() or not name.isprintable():
        return "must be a text of printable characters, without spaces around it"
    if len(name) > MAX_NAME_CHARS:
        return f"has {len(name)} characters; the limit is {MAX_NAME_CHARS}"
    return ""


def tenant_problem(tenant: str) -> str:
    """Return what is wrong with a tenant, as the end of a sentence; "" if nothing is."""
    return "" if tenant.isprintable() else "has characters that are not printable"


def scope_problem(scope: str) -> str:
    """Return what is wrong with a scope, as the end of a sentence; "" if nothing is (RFC 6749, section 3.3)."""
    is_scope = scope and scope.isascii() and scope.isprintable() and not set(scope) & set(' "\\')
    return "" if is_scope else "is not one scope: a scope has no spaces, quotes or backslashes; give each by itself"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string of printable characters is a TOML string


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_quoted, sorted(texts)))}]"
