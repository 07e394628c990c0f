"""What a store of entries guarantees, on each kind of store."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.event import listen, remove

from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import PermissionDeniedError, ResourceExhaustedError
from a2a_grpc.registry import (
    Entry,
    EntryStore,
    Key,
    OccupiedError,
    Place,
    ReplacedError,
    Search,
    open_entries,
    queries,
    statements,
)
from a2a_grpc.registry.sql import SqlEntries
from a2a_grpc.registry.words import asked, indexed
from a2a_grpc.wire import AgentCard, AgentSkill
from tests.databases import postgres_connection
from tests.harness import eventually


def card(name: str, description: str = "", *skills: tuple[str, str]) -> bytes:
    """A card with skills, each an id and its tags."""
    read = [AgentSkill(id=id, name=id, description="", tags=tags.split()) for id, tags in skills]
    return AgentCard(name=name, description=description, skills=read).SerializeToString()


def entry(name: str, instance: str = "i", *, owner: str = "", tenant: str = "", of: bytes = b"") -> Entry:
    made = Entry(key=Key(name, instance), owner=owner, url=f"http://{name}.example", tenant=tenant)
    return made.with_card(of)


def without_words(one: Entry) -> Entry:
    """The entry as every store returns it: the words are for searches only."""
    return replace(one, indexed=one.indexed._replace(words=""))


@pytest.fixture(params=["sqlite", "postgresql"])
def sql_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/sentinel.db"
    return str(request.getfixturevalue("postgres_url"))


async def names(store: EntryStore, **search: object) -> list[str]:
    return [found.entry.name for found in await store.find(Search(**search), limit=100)]  # type: ignore[arg-type]


async def test_an_entry_is_returned_as_it_was_added(entries: EntryStore) -> None:
    added = entry("poet", owner="o", tenant="t", of=card("Poet", "Writes verse.", ("write", "Poetry verse")))
    attached = Entry(key=Key("a@b", "i", "127.0.0.1:8000"), tenant="a@b")
    await entries.add(added)
    await entries.add(attached)
    assert list(map(without_words, await entries.at("poet"))) == [without_words(added)]
    everything = [without_words(found.entry) for found in await entries.find(Search(), limit=10)]
    assert everything == [attached, without_words(added)]
    assert attached.is_attached
    assert await entries.at("nobody") == []


async def test_a_second_add_replaces_the_entry_with_the_same_key(entries: EntryStore) -> None:
    await entries.add(entry("poet", of=card("Poet", "", ("write", ""))))
    await entries.add(entry("poet", of=card("Poet", "", ("sing", ""))))
    assert (await names(entries, skill="write"), await names(entries, skill="sing")) == ([], ["poet"])


async def test_a_name_belongs_to_the_owner_of_its_entries(entries: EntryStore) -> None:
    await entries.add(entry("poet", owner="first"))
    with pytest.raises(PermissionDeniedError, match="belongs to another principal"):
        await entries.add(entry("poet", "other", owner="second"))
    key = Key("poet", "i")
    assert not await entries.renew(key, "second")
    assert not await entries.remove(key, "second")
    assert [found.owner for found in await entries.at("poet")] == ["first"]
    assert await entries.remove(key, "first")
    await entries.add(entry("poet", owner="second"))


async def test_of_two_owners_that_add_a_name_at_once_one_gets_the_name(entries: EntryStore) -> None:
    async def add(owner: str) -> bool:
        try:
            await entries.add(entry("poet", owner, owner=owner))
        except PermissionDeniedError:
            return False
        return True

    outcomes = await asyncio.gather(*(add(f"owner-{number}") for number in range(8)))
    assert outcomes.count(True) == 1
    assert len(await entries.at("poet")) == 1


async def test_processes_of_one_agent_have_an_entry_each(entries: EntryStore) -> None:
    for instance in ("b", "a"):
        await entries.add(entry("poet", instance))
    assert [found.key.instance for found in await entries.at("poet")] == ["a", "b"]


async def test_an_entry_ends_with_its_lease_and_a_renewal_begins_the_lease_again(url: str) -> None:
    long, short = open_entries(url, lease_s=60), open_entries(url, lease_s=2.0)
    store = short
    await short.open()
    await long.open()
    await store.add(entry("gone"))
    await store.add(entry("kept"))
    if url != "memory:":  # the two share the database
        assert await long.renew(Key("kept", "i"), "")
    else:
        short.lease_s = 60
        assert await short.renew(Key("kept", "i"), "")

    async def is_gone() -> None:
        assert await names(store) == ["kept"]

    await eventually(is_gone)
    assert not await store.renew(Key("gone", "i"), "")
    assert not await store.remove(Key("gone", "i"), "")
    await store.add(entry("gone", owner="another"))  # the name is free again
    await short.close()
    await long.close()


async def test_a_search_by_skill_and_tags_finds_entries_that_have_all(entries: EntryStore) -> None:
    await entries.add(entry("a", of=card("A", "", ("translate", "French German"), ("convert", "units"))))
    await entries.add(entry("b", of=card("B", "", ("translate", "french"))))
    await entries.add(entry("c", of=card("C", "", ("translate-all", "french_like"))))
    assert await names(entries, skill="translate") == ["a", "b"]
    assert await names(entries, skill="Translate") == []
    assert await names(entries, tags=("french",)) == ["a", "b"]
    assert await names(entries, tags=("french", "german")) == ["a"]
    assert await names(entries, skill="translate", tags=("units",)) == ["a"]
    assert await names(entries, tags=("%",)) == []


async def test_a_search_by_words_begins_with_the_entry_that_has_most_of_them(entries: EntryStore) -> None:
    await entries.add(entry("a", of=card("Weather", "Tells the weather of any city.")))
    await entries.add(entry("b", of=card("Translator", "Translates English to French.")))
    await entries.add(entry("c", of=card("Linguist", "", ("french_lessons", "teaching"))))
    assert await names(entries, words=asked("Please translate this to FRENCH")) == ["b", "c"]
    assert await names(entries, words=asked("french")) == ["b", "c"]
    assert await names(entries, words=asked("lessons")) == ["c"]
    assert await names(entries, words=asked("100% _")) == []
    found = await entries.find(Search(words=("french", "translat", "english")), limit=1)
    assert found[0].place == Place(3, Key("b", "i"))
    rest = await entries.find(Search(words=("french", "translat", "english")), limit=5, after=found[0].place)
    assert [one.entry.name for one in rest] == ["c"]


async def test_a_search_in_a_database_is_one_statement_that_is_made_once(sql_url: str) -> None:
    """To make the statement for five words took longer than the database took to answer it."""
    store = open_entries(sql_url, lease_s=60)
    await store.open()
    assert isinstance(store, SqlEntries)
    for name, about in (("a", "alpha beta gamma"), ("b", "beta gamma"), ("c", "gamma delta"), ("d", "none")):
        await store.add(entry(name, of=card(name, about, ("skill", "tag"))))
    executed: list[str] = []

    def find(connection: Connection, *words: str) -> list[tuple[int, str, bytes]]:
        def note(*about: Any) -> None:
            executed.append(about[2])

        listen(connection, "before_cursor_execute", note)
        found = queries.find(connection, Search(words=words, tags=("tag",)), None, 10)
        remove(connection, "before_cursor_execute", note)
        return [(one.place.matched, one.entry.name, one.entry.card) for one in found]

    cards = {name: (await store.at(name))[0].card for name in "abc"}
    queries._page_query.cache_clear()
    first = await store._read(find, "alpha", "beta", "gam")
    assert first == [(3, "a", cards["a"]), (2, "b", cards["b"]), (1, "c", cards["c"])]
    assert await store._read(find, "delta", "al", "gamma") == [
        (2, "a", cards["a"]), (2, "c", cards["c"]), (1, "b", cards["b"])
    ]  # fmt: skip
    assert len(executed) == 2
    assert executed[0] == executed[1]
    assert queries._page_query.cache_info().misses == 1
    assert "> (SELECT " in executed[0], "the clock is read once, not for each of thousands of entries"
    await store.close()


async def test_every_store_has_the_same_order(url: str, entries: EntryStore) -> None:
    reference, choose = open_entries("memory:", lease_s=60), Random(5)
    words = ["ab", "abc", "b", "ba", "c", "ç", "ca"]
    for number in range(40):
        one = entry(f"{choose.choice('Zaé')}{number}", of=card("x", " ".join(choose.choices(words, k=3))))
        await entries.add(one)
        await reference.add(one)
    for size in (1, 3, 5):
        search, place = Search(words=tuple(dict.fromkeys(choose.choices(words, k=size)))), None
        while page := await reference.find(search, limit=7, after=place):
            assert [one.place for one in await entries.find(search, limit=7, after=place)] == [
                one.place for one in page
            ]
            place = page[-1].place


async def test_pages_are_in_order_without_gaps_and_repeats(entries: EntryStore) -> None:
    expected = ["B", "a", "a-1", "a.b", "ab", "ä", "ﬀ", "z"]
    for name in reversed(expected):
        await entries.add(entry(name, of=card(name, "common text")))
    for search in (Search(), Search(words=("common",))):
        read: list[str] = []
        place: Place | None = None
        while page := await entries.find(search, limit=3, after=place):
            read += [found.entry.name for found in page]
            place = page[-1].place
        assert read == sorted(expected)


async def test_a_caller_finds_only_entries_of_its_tenants(entries: EntryStore) -> None:
    await entries.add(entry("a", tenant="one"))
    await entries.add(entry("b", tenant="two"))
    await entries.add(entry("c"))
    assert await names(entries, tenants=frozenset(["two", "three"])) == ["b"]
    assert await names(entries, tenants=frozenset()) == []


async def test_renewals_at_the_same_time_are_answered_one_by_one(entries: EntryStore) -> None:
    for number in range(20):
        await entries.add(entry(f"agent-{number}"))
    asked = [entries.renew(Key(f"agent-{number}", "i"), "") for number in range(25)]
    assert await asyncio.gather(*asked) == [True] * 20 + [False] * 5


async def test_a_store_has_no_more_entries_than_it_may(url: str) -> None:
    store = open_entries(url, max_entries=2)
    await store.open()
    await store.add(entry("a"))
    await store.add(entry("b"))
    await store.add(entry("b"))
    with pytest.raises(ResourceExhaustedError, match="2 entries"):
        await store.add(entry("c"))
    await store.close()


async def test_sentinels_that_share_a_database_have_one_registry(url: str) -> None:
    if url == "memory:":
        return
    first, second = open_entries(url), open_entries(url)
    await first.open()
    await second.open()
    await first.add(entry("poet"))
    assert await names(second) == ["poet"]
    assert await second.remove(Key("poet", "i"), "")
    await second.close()
    await first.close()
    assert (await open_and_list(url)) == []


async def test_sentinels_that_share_a_database_have_one_secret(url: str) -> None:
    first, second = open_entries(url), open_entries(url)
    await asyncio.gather(first.open(), second.open())
    secrets = await asyncio.gather(*(store.secret() for store in (first, second) * 5))
    await asyncio.gather(first.close(), second.close())
    assert all(len(secret) == 32 for secret in secrets)
    assert len(set(secrets)) == (2 if url == "memory:" else 1)


async def test_an_entry_names_the_task_store_of_its_agent(entries: EntryStore) -> None:
    await entries.add(Entry(key=Key("poet@acme", "i", "a:1"), store="s"))
    assert [one.store for one in await entries.at("poet@acme")] == ["s"]


async def test_the_json_of_a_card_is_returned_byte_for_byte(entries: EntryStore) -> None:
    body = b'{ "name": "Poet",  "later": [1.0, "\\u00e9"] }'
    await entries.add(Entry(key=Key("poet@acme", "i", "a:1")).with_card(card("Poet"), body))
    assert [(one.body, one.card) for one in await entries.at("poet@acme")] == [(body, card("Poet"))]


def attached_entry(instance: str, *, replaces: bool = False, store: str = "", owner: str = "o") -> Entry:
    key = Key("poet@acme", instance, f"sentinel-{instance}:1")
    return Entry(key=key, owner=owner, store=store, replaces=replaces)


async def test_an_agent_that_replaces_removes_the_entries_of_others_which_do_not_come_back(entries: EntryStore) -> None:
    first, second = attached_entry("a"), attached_entry("b", replaces=True)
    shares = attached_entry("c", replaces=True, store="s")
    await entries.add(first)
    assert await entries.replace(second) == [first.key]
    assert not await entries.renew(first.key, "o")
    with pytest.raises(ReplacedError):
        await entries.add(first)
    await entries.add(second)  # its card has changed
    assert await entries.replace(shares) == [second.key]
    with pytest.raises(ReplacedError):
        await entries.add(second)
    await entries.add(attached_entry("d", store="s"))
    assert [one.key.instance for one in await entries.at("poet@acme")] == ["c", "d"]


async def test_an_agent_of_another_owner_replaces_nothing(entries: EntryStore) -> None:
    await entries.add(attached_entry("a"))
    with pytest.raises(PermissionDeniedError):
        await entries.replace(attached_entry("b", replaces=True, owner="other"))
    assert [one.key.instance for one in await entries.at("poet@acme")] == ["a"]


async def test_of_agents_that_replace_one_another_at_the_same_time_the_last_one_stays(entries: EntryStore) -> None:
    ones = [attached_entry(str(number), replaces=True) for number in range(5)]
    await asyncio.gather(*(entries.replace(one) for one in ones))
    [left] = await entries.at("poet@acme")
    for one in ones:
        if one.key != left.key:
            with pytest.raises(ReplacedError):
                await entries.add(one)


def attached_for(age_s: float, instance: str = "") -> Entry:
    """The entry of an agent that was attached some seconds ago."""
    return replace(attached_entry(instance or str(age_s)), since=time.monotonic() - age_s)


async def test_an_entry_that_waited_for_its_store_is_as_old_as_its_agent(entries: EntryStore) -> None:
    first = attached_for(2.0, "first")
    await entries.add(attached_for(1.0, "second"))
    await entries.add(first)
    assert [one.key.instance for one in await entries.at("poet@acme")] == ["first"]


async def test_of_agents_that_exclude_one_another_the_one_that_was_attached_first_stays(entries: EntryStore) -> None:
    """They were attached to several sentinels while the store was down, and are written in any order."""
    young, old, middle = (attached_for(age) for age in (10.0, 100.0, 50.0))
    await entries.add(young)
    await entries.add(old)
    for refused in (young, middle):
        with pytest.raises(OccupiedError):
            await entries.add(refused)
    assert not await entries.renew(young.key, "o")
    await entries.add(replace(old, since=old.since - 1))  # its card has changed
    await entries.add(replace(attached_for(200.0, "c"), store="s"))
    assert [one.key.instance for one in await entries.at("poet@acme")] == ["c"]
    await entries.add(replace(attached_for(1.0, "d"), store="s"))
    await entries.add(attached_entry("c", store="s"))  # another tunnel of the same process
    assert [one.key.instance for one in await entries.at("poet@acme")] == ["c", "d"]


async def test_entries_that_are_added_at_once_are_judged_as_those_that_are_added_in_turn(entries: EntryStore) -> None:
    ages = [5.0, 40.0, 7.0, 90.0, 20.0]
    asked = [entries.add(attached_for(age)) for age in ages]
    ends = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(end) for end in ends] == [type(None), type(None), OccupiedError, type(None), OccupiedError]
    assert [one.key.instance for one in await entries.at("poet@acme")] == ["90.0"]


async def test_many_entries_are_added_with_as_few_statements_as_a_few(sql_url: str) -> None:
    """500 registrations took a busy PostgreSQL more than the five seconds for which an agent waits."""
    store = open_entries(sql_url, lease_s=60)
    await store.open()
    assert isinstance(store, SqlEntries)

    def add(connection: Connection, entries: list[Entry]) -> int:
        executed: list[str] = []

        def note(*about: Any) -> None:
            executed.append(about[2])

        listen(connection, "before_cursor_execute", note)
        statements.add_all(connection, entries, 60_000_000, 1000)
        remove(connection, "before_cursor_execute", note)
        return len(executed)

    made = [entry(f"agent-{number}", of=card("A", "some words", ("skill", "tag"))) for number in range(300)]
    few, many = await store._write(add, made[:3]), await store._write(add, made[3:])
    assert few == many
    assert len(await store.find(Search(words=("words",)), limit=1000)) == 300
    await store.close()


async def test_renewals_of_all_entries_return_those_that_are_there(entries: EntryStore) -> None:
    for number in range(3):
        await entries.add(entry(f"agent-{number}", owner="o"))
    asked = [(Key(f"agent-{number}", "i"), "o") for number in range(5)]
    assert await entries.renew_all([*asked, (Key("agent-0", "i"), "other")]) == set(asked[:3])
    assert await entries.renew_all([]) == set()


async def open_and_list(url: str) -> list[str]:
    store = open_entries(url)
    await store.open()
    found = await names(store)
    await store.close()
    return found


async def test_tables_of_a_newer_version_are_refused_and_of_a_former_one_made_new(postgres_url: str) -> None:
    assert await open_and_list(postgres_url) == []
    async with postgres_connection(postgres_url) as connection:
        await connection.execute("UPDATE a2a_registry_version SET version = 0")
        await connection.execute("ALTER TABLE a2a_registry_agent DROP COLUMN tags")
    assert await open_and_list(postgres_url) == []
    async with postgres_connection(postgres_url) as connection:
        await connection.execute("UPDATE a2a_registry_version SET version = 1000")
    with pytest.raises(ConfigurationError, match="version 1000, which is newer"):
        await open_and_list(postgres_url)


WRONG = ["", "redis://host", "mysql://user@host/db", "sqlite:///no/such/folder/x.db", "memory:x"]


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_store_that_cannot_be_used_is_a_configuration_error(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="store is"):
        await open_entries(wrong).open()


def test_bytes_that_are_no_card_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no AgentCard"):
        indexed("a", b"\xff\xff")
