"""The queries of a registry: the entries with a name, and those that are looked for."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Integer,
    Select,
    Subquery,
    Text,
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from a2a_grpc.database.columns import now_us
from a2a_grpc.registry.entry import Entry, Found, Key, Place, Search
from a2a_grpc.registry.schema import agent, card, word
from a2a_grpc.registry.words import Indexed

_KEY = (agent.c.name, agent.c.instance, agent.c.sentinel)
_LIVE = agent.c.until_us > now_us()
_LIVE_AT_ONCE = agent.c.until_us > select(now_us()).scalar_subquery()
"""As `_LIVE`, but the clock is read once and not for each entry. It is for statements that wait for no locks."""
_COLUMNS = (
    *(agent.c.id, *_KEY, agent.c.owner, agent.c.url, agent.c.tenant, agent.c.store, agent.c.replaces),
    *(agent.c.skills, agent.c.tags),
)
_AT = (
    select(*_COLUMNS, card.c.card, card.c.body)
    .outerjoin(card, card.c.id == agent.c.id)
    .where(_LIVE, agent.c.name == bindparam("of_name"))
    .order_by(*_KEY)
)
_AFTER_KEY = ("after_name", "after_instance", "after_sentinel")
"""The parameters for the key of the entry after which a page begins."""
LAST = "\U0010ffff"
"""The last code point: a word that begins with a text is before the text with it."""


class contains(FunctionElement[bool]):
    """True if the first text contains the second one, exactly."""

    type = Boolean()
    inherit_cache = True


@compiles(contains)
def _contains(element: contains, compiler: SQLCompiler, **options: Any) -> str:
    function = "strpos" if compiler.dialect.name == "postgresql" else "instr"
    whole, part = element.clauses
    return f"({function}({compiler.process(whole, **options)}, {compiler.process(part, **options)}) > 0)"


def at(connection: Connection, name: str) -> list[Entry]:
    """Return the entries with a name."""
    return [_entry(row, row.body or b"") for row in connection.execute(_AT, {"of_name": name})]


def find(connection: Connection, search: Search, after: Place | None, limit: int) -> list[Found]:
    """Return the entries that are looked for, after a place."""
    query = _page_query(
        len(search.words), len(search.tags), bool(search.skill), search.tenants is not None, after is not None
    )
    given: dict[str, Any] = {"size": limit, "skill": f"\n{search.skill}\n"}
    given |= {f"word_{number}": word for number, word in enumerate(search.words)}
    given |= {f"end_{number}": word + LAST for number, word in enumerate(search.words)}
    given |= {f"tag_{number}": f"\n{tag}\n" for number, tag in enumerate(search.tags)}
    if search.tenants is not None:
        given["tenants"] = sorted(search.tenants)
    if after is not None:
        given |= {"after_matched": after.matched, **dict(zip(_AFTER_KEY, after.key, strict=True))}
    rows = connection.execute(query, given).all()
    return [
        Found(Place(int(row.matched), entry.key), entry) for row, entry in zip(rows, map(_entry, rows), strict=True)
    ]


@lru_cache(256)
def _page_query(words: int, tags: int, has_skill: bool, has_tenants: bool, is_after: bool) -> "Select[Any]":
    """Return the query for a page of entries with their cards, for so many words and tags.

    A query is made once, since making it takes longer than the database takes to answer it.
    """
    matched: ColumnElement[int] = literal(0)
    query = select(*_COLUMNS).where(_LIVE_AT_ONCE, *_conditions(tags, has_skill, has_tenants))
    if words:
        matches = _matches(words)
        matched = matches.c.matched
        query = query.join(matches, matches.c.id == agent.c.id)
    query = query.add_columns(matched.label("matched"))
    if is_after:
        after_key = tuple_(*_KEY) > tuple_(*map(bindparam, _AFTER_KEY))
        count = bindparam("after_matched", type_=Integer)
        query = query.where(or_(matched < count, and_(matched == count, after_key)) if words else after_key)
    order = (matched.desc(), *_KEY) if words else _KEY
    page = query.order_by(*order).limit(bindparam("size", type_=Integer)).subquery("page")
    whole = select(page, card.c.card).outerjoin(card, card.c.id == page.c.id)
    return whole.order_by(page.c.matched.desc(), page.c.name, page.c.instance, page.c.sentinel)


def _matches(words: int) -> Subquery:
    """Return how many of the words each entry matches: the entries that have a word with one of the beginnings."""
    ones = [
        select(word.c.id, literal(number).label("asked"))
        .where(word.c.word >= bindparam(f"word_{number}"), word.c.word < bindparam(f"end_{number}"))
        .distinct()
        for number in range(words)
    ]
    found = union_all(*ones).subquery()
    return select(found.c.id, func.count().label("matched")).group_by(found.c.id).subquery()


def _conditions(tags: int, has_skill: bool, has_tenants: bool) -> Iterable[ColumnElement[bool]]:
    if has_skill:
        yield contains(agent.c.skills, bindparam("skill", type_=Text()))
    for number in range(tags):
        yield contains(agent.c.tags, bindparam(f"tag_{number}", type_=Text()))
    if has_tenants:
        yield agent.c.tenant.in_(bindparam("tenants", expanding=True))


def _entry(row: Any, body: bytes = b"") -> Entry:
    """Return the entry of a row that has the card."""
    return Entry(
        key=Key(row.name, row.instance, row.sentinel),
        owner=row.owner,
        url=row.url,
        tenant=row.tenant,
        store=row.store,
        replaces=row.replaces,
        card=row.card or b"",
        body=body,
        indexed=Indexed(_parted(row.skills), _parted(row.tags)),
    )


def _parted(text: str) -> frozenset[str]:
    return frozenset(filter(None, text.split("\n")))
