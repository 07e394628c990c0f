"""The transactions on the tables of a registry."""

from collections.abc import Collection, Iterable, Sequence
from enum import Enum, auto
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
    delete,
    func,
    literal,
    or_,
    select,
    text,
    tuple_,
    union_all,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from a2a_grpc.database.columns import now_us
from a2a_grpc.registry.entry import Entry, Found, Key, Place, Search
from a2a_grpc.registry.schema import LOCK, agent, card, word
from a2a_grpc.registry.schema import secret as secret_table
from a2a_grpc.registry.words import Indexed

_NAME_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 4202025003))")
"""What lets one transaction at a time add an entry with a name, on PostgreSQL."""

_KEY = (agent.c.name, agent.c.instance, agent.c.sentinel)
_LIVE = agent.c.until_us > now_us()
_LIVE_AT_ONCE = agent.c.until_us > select(now_us()).scalar_subquery()
"""As `_LIVE`, but the clock is read once and not for each entry. It is for statements that wait for no locks."""
_COLUMNS = (
    *(agent.c.id, *_KEY, agent.c.owner, agent.c.url, agent.c.tenant, agent.c.store, agent.c.replaces),
    *(agent.c.skills, agent.c.tags),
)
_OTHER_AGENT = and_(
    *(agent.c.sentinel != "", agent.c.instance != bindparam("of_instance")),
    or_(agent.c.store == "", agent.c.store != bindparam("of_store")),
)
"""What `Entry.excludes` says of attached agents with one name."""
_IS_ATTACHED = bindparam("is_attached", type_=Boolean)
_REFUSES = (
    select(agent.c.owner)
    .where(_LIVE, agent.c.name == bindparam("of_name"))
    .where(or_(agent.c.owner != bindparam("of_owner"), and_(agent.c.replaces, _IS_ATTACHED, _OTHER_AGENT)))
    .limit(1)
)
_REPLACED = select(agent.c.id, *_KEY).where(
    *(_LIVE, agent.c.name == bindparam("of_name"), agent.c.owner == bindparam("of_owner"), _OTHER_AGENT)
)
_AT = (
    select(*_COLUMNS, card.c.card, card.c.body)
    .outerjoin(card, card.c.id == agent.c.id)
    .where(_LIVE, agent.c.name == bindparam("of_name"))
    .order_by(*_KEY)
)
_THERE = select(agent.c.id).where(_LIVE, agent.c.id.in_(bindparam("ids", expanding=True))).with_for_update()
_RENEW = (
    agent.update()
    .where(agent.c.id.in_(bindparam("ids", expanding=True)))
    .values(until_us=now_us() + bindparam("lease_us"))
)
_AFTER_KEY = ("after_name", "after_instance", "after_sentinel")
"""The parameters for the key of the entry after which a page begins."""
LAST = "\U0010ffff"
"""The last code point: a word that begins with a text is before the text with it."""
_ENDED = agent.c.until_us <= now_us()


class contains(FunctionElement[bool]):
    """True if the first text contains the second one, exactly."""

    type = Boolean()
    inherit_cache = True


@compiles(contains)
def _contains(element: contains, compiler: SQLCompiler, **options: Any) -> str:
    function = "strpos" if compiler.dialect.name == "postgresql" else "instr"
    whole, part = element.clauses
    return f"({function}({compiler.process(whole, **options)}, {compiler.process(part, **options)}) > 0)"


class Added(Enum):
    """What has become of an entry that was to be added."""

    NEW = auto()
    AGAIN = auto()
    TAKEN = auto()
    FULL = auto()
    REPLACED = auto()


def add_all(connection: Connection, entries: Sequence[Entry], lease_us: int, room: int) -> dict[Entry, Added]:
    """Add entries, or replace those that are there. Only as many new ones are added as there is room for."""
    outcomes: dict[Entry, Added] = {}
    for entry in sorted(entries, key=lambda entry: entry.key):  # names are locked in one order, so nothing deadlocks
        outcomes[entry] = outcome = add(connection, entry, lease_us, room > 0)
        room -= outcome is Added.NEW
    return outcomes


def add(connection: Connection, entry: Entry, lease_us: int, has_room: bool) -> Added:
    """Add an entry, or replace the one that is there. A new one is added only if the store has room."""
    key, (skills, tags, words) = entry.key, entry.indexed
    if connection.dialect.name == "postgresql":
        connection.execute(_NAME_LOCK, {"name": key.name})
    if (owner := connection.scalars(_REFUSES, {**_names(entry), "is_attached": entry.is_attached}).first()) is not None:
        return Added.TAKEN if owner != entry.owner else Added.REPLACED
    id = key.digest(entry.owner)
    is_new = not _remove(connection, [id])
    if is_new and not has_room:
        return Added.FULL
    connection.execute(
        agent.insert().values(
            id=id,
            name=key.name,
            instance=key.instance,
            sentinel=key.sentinel,
            owner=entry.owner,
            until_us=now_us() + lease_us,
            url=entry.url,
            tenant=entry.tenant,
            store=entry.store,
            replaces=entry.replaces,
            skills=_joined(skills),
            tags=_joined(tags),
        )
    )
    if words:
        connection.execute(word.insert(), [{"word": one, "id": id} for one in words.split()])
    if entry.card:
        connection.execute(card.insert().values(id=id, card=entry.card, body=entry.body))
    return Added.NEW if is_new else Added.AGAIN


def replace(connection: Connection, entry: Entry, lease_us: int, room: int) -> tuple[Added, list[Key]]:
    """Add the entry of an agent that takes the place of others. Return the keys of their entries, now removed."""
    if connection.dialect.name == "postgresql":
        connection.execute(_NAME_LOCK, {"name": entry.name})
    others = connection.execute(_REPLACED, _names(entry)).all()
    keys = [Key(row.name, row.instance, row.sentinel) for row in others]
    _remove(connection, [row.id for row in others])
    outcome = add(connection, entry, lease_us, room + len(others) > 0)
    return outcome, keys


def secret(connection: Connection, new: bytes) -> bytes:
    """Return the secret of the store. The first caller sets it."""
    if connection.dialect.name == "postgresql":
        connection.execute(LOCK)
    found = connection.scalars(select(secret_table.c.secret)).first()
    if found is None:
        connection.execute(secret_table.insert().values(id=1, secret=new))
    return bytes(new if found is None else found)


def renew(connection: Connection, ids: Sequence[bytes], lease_us: int) -> frozenset[bytes]:
    """Begin the leases of entries again. Return the ids of those that are there."""
    there = frozenset(connection.scalars(_THERE, {"ids": sorted(ids)}))
    if there:
        connection.execute(_RENEW, {"ids": sorted(there), "lease_us": lease_us})
    return there


def remove(connection: Connection, id: bytes) -> bool:
    """Remove an entry. Return False if it is not there."""
    is_there = connection.execute(_THERE, {"ids": [id]}).first() is not None
    _remove(connection, [id])
    return is_there


def sweep(connection: Connection) -> int:
    """Remove the entries whose leases have ended. Return the number of entries that are left."""
    if ended := list(connection.scalars(select(agent.c.id).where(_ENDED).with_for_update(skip_locked=True))):
        for first in range(0, len(ended), 500):
            _remove(connection, ended[first : first + 500])
    return connection.scalar(select(func.count()).select_from(agent)) or 0


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


def _remove(connection: Connection, ids: Sequence[bytes]) -> int:
    """Remove entries with their cards. Return how many there were."""
    removed = connection.execute(delete(agent).where(agent.c.id.in_(ids))).rowcount
    connection.execute(delete(card).where(card.c.id.in_(ids)))
    connection.execute(delete(word).where(word.c.id.in_(ids)))
    return removed


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


def _names(entry: Entry) -> dict[str, str]:
    return {
        "of_name": entry.name, "of_owner": entry.owner, "of_instance": entry.key.instance, "of_store": entry.store
    }  # fmt: skip


def _joined(names: Collection[str]) -> str:
    return "\n".join(["", *sorted(names), ""]) if names else ""


def _parted(text: str) -> frozenset[str]:
    return frozenset(filter(None, text.split("\n")))
