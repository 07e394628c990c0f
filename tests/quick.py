"""Rules that give the mark `long` to many tests at once, so that `make test` ends within five minutes; and the order.

- A test that has a store as a parameter runs on one store in `make test`, on all of them in `make test-all`. Tests take
  turns: one runs on memory, another one on SQLite or PostgreSQL.
- Of the tests that need MariaDB, and of those that need Redis, `make test` runs one: each process of pytest that runs
  such a test starts a server.
- A contract is a class of tests that every store passes. `make test` runs all of it on memory and on SQLite, and one in
  three of its tests on PostgreSQL.
- Tests with the mark `direct` do not run through a sentinel. Of a test with parameters, one version does: the versions
  differ in what the server does, and the way is the same.
- Of a test with the mark `few`, `make test` runs so many versions as the mark says; one if it says nothing.

In `make test-all` the full form of a test contains the quick one, which is left out. Tests with the mark `first` begin
first, as a long test that begins at the end has the machine for itself.
"""

import math
import zlib
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import pytest

Version = TypeVar("Version")
STORES = ("memory", "memory:", "sqlite", "postgres", "mariadb")
"""Values of the parameter."""
PARAMETERS = ("store", "store_url", "shared_url", "empty_url", "process_url", "url")
"""Names of the parameter."""
RARE = ({"mariadb_url", "mariadb_store", "mariadb_server"}, {"redis_url", "redis_server"})
"""Fixtures of the servers that one test of `make test` starts."""
AT_SENTINEL = "through a sentinel"
"""A part of the names of the tests that the fixture `any_way` runs through a sentinel."""
CONTRACT_SHARE = 3
"""One in so many tests of a contract on PostgreSQL is in `make test`."""
LONG_TIMEOUT_S = 900
"""How long a test with the mark `long` may take, if it does not say so itself."""


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before and after pytest leaves out the tests that have the mark
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    mark_long(items)
    yield
    full = {form_of(item) for item in items if form_of(item)[1:] == ("full",)}
    doubled = [item for item in items if form_of(item)[1:] == ("quick",) and (form_of(item)[0], "full") in full]
    config.hook.pytest_deselected(items=doubled)
    items[:] = slow_first([item for item in items if item not in set(doubled)], workers_of(config))


def mark_long(items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if not (item.get_closest_marker("direct") and AT_SENTINEL in item.name)]
    once_through_a_sentinel(items)
    rare = {item for servers in RARE for item in one_with(servers, items)}
    leave_out(item for item in items if is_contract_on_postgres(item) and place_of(item.name) % CONTRACT_SHARE)
    one_store_each(item for item in items if item not in rare)
    few_versions(item for item in items if not item.get_closest_marker("long"))
    for item in items:
        if item.get_closest_marker("long") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LONG_TIMEOUT_S))


def form_of(item: pytest.Item) -> tuple[str, ...]:
    """Return what both forms of a test with the fixture `full` have in common, and which form this is."""
    given: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
    if "full" not in given:
        return (item.nodeid,)
    test, _, ids = item.nodeid.partition("[")
    rest = [each for each in ids.rstrip("]").split("-") if each not in ("quick", "full")]
    return f"{test} {rest}", "full" if given["full"] else "quick"


def workers_of(config: pytest.Config) -> int:
    """Return how many processes of pytest share the tests."""
    given: dict[str, int] = getattr(config, "workerinput", {})
    return given.get("workercount", 1)


def slow_first(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """Return tests in an order in which each worker begins with its part of those that have the mark `first`.

    pytest-xdist gives each worker an equal piece of the list, and takes from the end of a piece for others.
    """
    slow = deque(item for item in items if item.get_closest_marker("first"))
    rest = deque(item for item in items if not item.get_closest_marker("first"))
    ordered: list[pytest.Item] = []
    for left in range(workers, 0, -1):
        size = (len(slow) + len(rest)) // left
        begin = min(size, math.ceil(len(slow) / left))
        ordered += [*(slow.popleft() for _ in range(begin)), *(rest.popleft() for _ in range(size - begin))]
    return ordered


def once_through_a_sentinel(items: list[pytest.Item]) -> None:
    """Leave one version of each test that the fixture `any_way` runs through a sentinel; drop the others."""
    versions: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if AT_SENTINEL in item.name and "any_way" in getattr(item, "fixturenames", ()):
            versions[item.nodeid.partition("[")[0]].append(item)
    dropped = {item for test, found in versions.items() for item in found if item is not turn_of(test, found)}
    items[:] = [item for item in items if item not in dropped]


def one_with(servers: set[str], items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Leave one of the tests that need one of these servers. Return all of them."""
    found = [item for item in items if servers & set(getattr(item, "fixturenames", ()))]
    quick = [item for item in found if not item.get_closest_marker("long")]
    kept = min(quick, key=lambda item: place_of(item.nodeid), default=None)
    leave_out(item for item in found if item is not kept)
    return found


def is_contract_on_postgres(item: pytest.Item) -> bool:
    """Return True if a class inherits this test, and the test takes PostgreSQL."""
    tests: type | None = getattr(item, "cls", None)
    name: str = getattr(item, "originalname", "")
    return tests is not None and name not in vars(tests) and "postgres_shared" in getattr(item, "fixturenames", ())


def one_store_each(items: Iterable[pytest.Item]) -> None:
    """Leave each test on one of its stores."""
    versions: defaultdict[str, dict[str, pytest.Item]] = defaultdict(dict)
    for item in items:
        if found := store_of(item):
            same, store = found
            versions[same][store] = item
    for same, by_store in versions.items():
        kept = turn_of(same, [store for store in by_store if store != "mariadb"] or list(by_store))
        leave_out(item for store, item in by_store.items() if store != kept)


def few_versions(items: Iterable[pytest.Item]) -> None:
    """Leave so many versions as the mark says, evenly spread, of each test that has the mark `few`."""
    versions: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    counts: dict[str, int] = {}
    for item in items:
        if few := item.get_closest_marker("few"):
            test = item.nodeid.partition("[")[0]
            versions[test].append(item)
            (counts[test],) = few.args or (1,)
    for test, found in versions.items():
        kept = {place * len(found) // counts[test] for place in range(counts[test])}
        leave_out(item for place, item in enumerate(found) if place not in kept)


def leave_out(items: Iterable[pytest.Item]) -> None:
    """Give tests the mark that `make test` leaves out."""
    for item in items:
        item.add_marker(pytest.mark.long)


def store_of(item: pytest.Item) -> tuple[str, str] | None:
    """Return what all versions of a test have in common, and the store of this one.

    Return None if the test has no such parameter.
    """
    given: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
    for name in PARAMETERS:
        store = given.get(name)
        if isinstance(store, str) and store in STORES:
            test, _, ids = item.nodeid.partition("[")
            return f"{test} {[each for each in ids.rstrip(']').split('-') if each != store]}", store
    return None


def turn_of(same: str, versions: Sequence[Version]) -> Version:
    """Return the version of a test whose turn it is: always the same one of a test, and not always the first."""
    return versions[place_of(same) % len(versions)]


def place_of(name: str) -> int:
    """Return a number that is spread evenly over names, and is the same in every process."""
    return zlib.crc32(name.encode())
