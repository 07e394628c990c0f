"""The transactions that write the tables of a registry."""

import time
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, Text, bindparam, delete, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from a2a_grpc.database.columns import now_us
from a2a_grpc.registry.entry import Entry, Key
from a2a_grpc.registry.rivals import Added, refusal, rivals
from a2a_grpc.registry.schema import LOCK, agent, card, word
from a2a_grpc.registry.schema import secret as secret_table

_NAME_LOCKS = text(
    "SELECT pg_advisory_xact_lock(hashtextextended(name, 4202025003)) FROM unnest(:names) AS name"
).bindparams(bindparam("names", type_=ARRAY(Text)))
"""What lets one transaction at a time add entries with these names, on PostgreSQL."""

_LIVE = agent.c.until_us > now_us()
_OTHERS = select(
    *(agent.c.name, agent.c.instance, agent.c.sentinel, agent.c.owner, agent.c.store, agent.c.replaces),
    (now_us() - agent.c.since_us).label("age_us"),
).where(_LIVE, agent.c.name.in_(bindparam("names", expanding=True)))
_KNOWN = (
    select(agent.c.id)
    .where(agent.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(agent.c.id)  # all transactions lock rows in one order, so that none waits for another one that waits
    .with_for_update()
)
_INSERT = agent.insert().values(
    until_us=now_us() + bindparam("lease_us", type_=BigInteger),
    since_us=now_us() - bindparam("age_us", type_=BigInteger),
)
_THERE = _KNOWN.where(_LIVE)
_RENEW = (
    agent.update()
    .where(agent.c.id.in_(bindparam("ids", expanding=True)))
    .values(until_us=now_us() + bindparam("lease_us"))
)
_ENDED = agent.c.until_us <= now_us()


def add_all(connection: Connection, entries: Sequence[Entry], lease_us: int, room: int) -> dict[Entry, Added]:
    """Add entries, or replace those that are there. Only as many new ones are added as there is room for.

    The number of statements does not grow with the number of entries.
    """
    outcomes: dict[Entry, Added] = {}
    others = _locked(connection, {entry.name for entry in entries})
    known = set(connection.scalars(_KNOWN, {"ids": [_id(entry) for entry in entries]}))
    added: dict[bytes, Entry] = {}
    removed: set[bytes] = set()
    for entry in entries:
        named = others.setdefault(entry.name, [])
        id, is_new = _id(entry), _id(entry) not in known
        refused = refusal(entry, named) or (Added.FULL if is_new and room <= 0 else None)
        outcomes[entry] = refused or (Added.NEW if is_new else Added.AGAIN)
        if refused is not None:
            continue
        gone = rivals(entry, named)
        room += len(gone) - is_new
        others[entry.name] = [*(one for one in named if one not in gone and one.key != entry.key), entry]
        known.add(id)
        added[id] = entry
        for one in map(_id, gone):
            removed.add(one)
            known.discard(one)
            added.pop(one, None)
    _remove(connection, [*removed, *added])
    _insert(connection, added, lease_us)
    return outcomes


def replace(connection: Connection, entry: Entry, lease_us: int, room: int) -> tuple[Added, list[Key]]:
    """Add the entry of an agent that takes the place of others. Return the keys of their entries, now removed."""
    named = _locked(connection, {entry.name}).get(entry.name, [])
    if refusal(entry, named) is Added.TAKEN:
        return Added.TAKEN, []
    others = rivals(entry, named)
    _remove(connection, list(map(_id, others)))
    outcomes = add_all(connection, [entry], lease_us, room + len(others))
    return outcomes[entry], [other.key for other in others]


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


def _locked(connection: Connection, names: Collection[str]) -> dict[str, list[Entry]]:
    """Keep other transactions from adding entries with some names. Return the entries that have these names."""
    ordered = sorted(names)  # all transactions lock names in one order, so that none waits for itself
    if connection.dialect.name == "postgresql":
        connection.execute(_NAME_LOCKS, {"names": ordered})
    others: dict[str, list[Entry]] = {}
    rows = connection.execute(_OTHERS, {"names": ordered}).all()
    now = time.monotonic()
    for row in rows:
        key = Key(row.name, row.instance, row.sentinel)
        since = now - row.age_us / 1_000_000
        entry = Entry(key=key, owner=row.owner, store=row.store, replaces=row.replaces, since=since)
        others.setdefault(row.name, []).append(entry)
    return others


def _insert(connection: Connection, entries: dict[bytes, Entry], lease_us: int) -> None:
    """Write the rows of entries whose names are locked, and of which there are no rows."""
    if not entries:
        return
    connection.execute(_INSERT, [_row(id, entry, lease_us) for id, entry in entries.items()])
    if words := [{"word": one, "id": id} for id, entry in entries.items() for one in entry.indexed.words.split()]:
        connection.execute(word.insert(), words)
    if cards := [{"id": id, "card": entry.card, "body": entry.body} for id, entry in entries.items() if entry.card]:
        connection.execute(card.insert(), cards)


def _row(id: bytes, entry: Entry, lease_us: int) -> dict[str, Any]:
    skills, tags, _ = entry.indexed
    return {
        **entry.key._asdict(),
        "id": id,
        "owner": entry.owner,
        "lease_us": lease_us,
        "age_us": int((time.monotonic() - entry.since) * 1_000_000),
        "url": entry.url,
        "tenant": entry.tenant,
        "store": entry.store,
        "replaces": entry.replaces,
        "skills": _joined(skills),
        "tags": _joined(tags),
    }


def _id(entry: Entry) -> bytes:
    return entry.key.digest(entry.owner)


def _remove(connection: Connection, ids: Sequence[bytes]) -> None:
    """Remove entries with their cards."""
    if not ids:
        return
    for table in (agent, card, word):
        connection.execute(delete(table).where(table.c.id.in_(bindparam("ids", expanding=True))), {"ids": ids})


def _joined(names: Collection[str]) -> str:
    return "\n".join(["", *sorted(names), ""]) if names else ""
