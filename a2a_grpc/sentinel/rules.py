"""The rules that say which callers may attach agents at which addresses, and which may call them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Self

from a2a_grpc.arguments import checked
from a2a_grpc.auth.file import OF_SENTINELS
from a2a_grpc.auth.tables import Table
from a2a_grpc.config import ConfigurationError
from a2a_grpc.logical import FORM, is_logical
from a2a_grpc.principal import Principal
from a2a_grpc.registry import Entry
from a2a_grpc.registry.protocol import sees

EVERY = "*"
"""The pattern of all addresses."""
KEYS = ("addresses", "methods", "issuers", "subjects", "scopes")
REMEMBERED = 8192
"""The number of answers that are remembered."""

_PARTS = re.compile("[@/]")


@checked()
@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Allows certain callers certain addresses.

    A caller has to meet each condition that is given. A rule without conditions is for all callers, also for anonymous
    ones if the sentinel accepts them. A rule with conditions is for authenticated callers only.

    Attributes:
        addresses: The addresses, such as "cancellable@fame.fabric" or "*@acme". A `*` stands for any characters except
            "@" and "/". The pattern "*" alone is for all addresses.
        methods: The kinds of credentials, such as "key", "jwt" or "certificate"; empty for all.
        issuers: The issuers, as patterns with `*` for any characters; empty for all.
        subjects: The subjects, as such patterns; empty for all.
        scopes: The scopes that the caller must have, all of them.
    """

    addresses: Sequence[str]
    methods: Sequence[str] = ()
    issuers: Sequence[str] = ()
    subjects: Sequence[str] = ()
    scopes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.addresses:
            raise ConfigurationError("addresses is empty; a rule names the addresses that it allows")
        for pattern in self.addresses:
            if pattern != EVERY and not is_logical(pattern.replace("*", "x")):
                raise ConfigurationError(
                    f"addresses has '{pattern[:80]}'; it must be '*', or {FORM}, with '*' for any characters except "
                    "'@' and '/'"
                )

    def allows(self, principal: Principal, address: str) -> bool:
        """Return True if this rule allows a caller an address.

        Args:
            principal: The caller.
            address: The logical address.
        """
        return self._is_for(principal) and any(_covers(pattern, address) for pattern in self.addresses)

    def _is_for(self, principal: Principal) -> bool:
        if not (self.methods or self.issuers or self.subjects or self.scopes):
            return True
        return (
            not principal.is_anonymous
            and (not self.methods or principal.method in self.methods)
            and (not self.issuers or any(_matches(pattern, principal.issuer) for pattern in self.issuers))
            and (not self.subjects or any(_matches(pattern, principal.subject) for pattern in self.subjects))
            and principal.scopes.issuperset(self.scopes)
        )


class Rules:
    """Decides who may attach agents, and who may call them.

    Guarantees:

    - Without rules for attaching, each authenticated caller may attach an agent at each address. Without rules for
      calls, each caller that the sentinel accepts may call each agent.
    - With rules, a caller may do what one of them allows, and nothing else.
    - Credentials that cover certain tenants allow only these addresses, also if a rule names others.

    Args:
        attach: The rules for attaching agents.
        call: The rules for calls.
    """

    def __init__(self, *, attach: Sequence[Rule] = (), call: Sequence[Rule] = ()) -> None:
        self.use(attach=attach, call=call)

    def use(self, *, attach: Sequence[Rule], call: Sequence[Rule]) -> None:
        """Decide by other rules from now on. The arguments are those of the class."""
        self.attach = tuple(attach)
        self.call = tuple(call)
        self._attach_allows = lru_cache(REMEMBERED)(partial(_allow, self.attach))
        self._call_allows = lru_cache(REMEMBERED)(partial(_allow, self.call))

    async def look(self) -> None:
        """Read the rules again if they come from a file that has changed. These do not."""

    @classmethod
    def open_to_all(cls) -> Self:
        """Return the rules of a sentinel without authenticators: anonymous callers may attach and call."""
        return cls(attach=[Rule(addresses=[EVERY])])

    def may_attach(self, principal: Principal, address: str) -> bool:
        """Return True if a caller may attach an agent.

        Args:
            principal: The caller.
            address: The logical address of the agent.
        """
        if not self.attach:
            return not principal.is_anonymous and _is_covered(principal, address)
        return self._attach_allows(principal, address)

    def may_call(self, principal: Principal, address: str) -> bool:
        """Return True if a caller may call an agent.

        Args:
            principal: The caller.
            address: The logical address of the agent.
        """
        return self._call_allows(principal, address) if self.call else _is_covered(principal, address)

    def may_see(self, principal: Principal, entry: Entry) -> bool:
        """Return True if a caller sees an agent in the registry.

        Args:
            principal: The caller.
            entry: The entry of the agent.
        """
        return self.may_call(principal, entry.name) if entry.is_attached else sees(principal.tenants, entry.tenant)


def rules_in(path: Path, tables: Mapping[str, Any]) -> dict[str, tuple[Rule, ...]]:
    """Return the rules of the tables `[[attach]]` and `[[call]]` of a file, by the names of the tables.

    Args:
        path: The file.
        tables: The tables of the file, by name. Other tables are not looked at.

    Raises:
        ConfigurationError: A table is wrong.
    """
    return {name: tuple(_rules(path, name, tables.get(name, []))) for name in OF_SENTINELS}


def _rules(path: Path, name: str, entries: object) -> list[Rule]:
    if not isinstance(entries, list):
        raise ConfigurationError(f"{path}: [{name}] must be written [[{name}]], since there may be several")
    return [_rule(Table(path, f"[[{name}]] {number}", entry, KEYS)) for number, entry in enumerate(entries, 1)]


def _rule(table: Table) -> Rule:
    given = {key: texts for key in KEYS if (texts := table.texts(key)) is not None}
    if "addresses" not in given:
        raise table.wrong("the key 'addresses' is missing")
    try:
        return Rule(**given)
    except ConfigurationError as error:
        raise table.wrong(str(error)) from None


def _allow(rules: tuple[Rule, ...], principal: Principal, address: str) -> bool:
    return _is_covered(principal, address) and any(rule.allows(principal, address) for rule in rules)


def _is_covered(principal: Principal, address: str) -> bool:
    return principal.tenants is None or address in principal.tenants


def _covers(pattern: str, address: str) -> bool:
    """Return True if the pattern of an address stands for an address. A `*` does not reach into the next part."""
    if pattern == EVERY:
        return True
    patterns, parts = _PARTS.split(pattern), _PARTS.split(address)
    return len(patterns) == len(parts) and all(map(_matches, patterns, parts))


def _matches(pattern: str, text: str) -> bool:
    """Return True if a pattern stands for a text. The time does not grow with the number of `*`, as that of an
    expression would."""
    first, *others = pattern.split("*")
    if not others:
        return text == pattern
    *inner, last = others
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    place, end = len(first), len(text) - len(last)
    for piece in inner:
        found = text.find(piece, place, end)
        if found < 0:
            return False
        place = found + len(piece)
    return True
