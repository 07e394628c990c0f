"""Many agents by name: from tasks, from threads, over one connection each."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from a2a_grpc import Client, ClientManager, Message, Task, connect, text_of
from a2a_grpc.client import AgentCardError, UnreachableError
from a2a_grpc.config import ConfigurationError
from tests.client.local_agents import GUARD_S, Passage, Sleeper, client_of, descriptors, observer
from tests.client.peers import Page, Site, silent_port
from tests.covers import covers
from tests.harness import Served, eventually, serving
from tests.ports import free_port


@pytest.fixture
async def passage(served: Served) -> AsyncIterator[Passage]:
    """A counted way to the scripted agent."""
    async with Passage(served.server.grpc_address) as way:
        yield way


def echoed(reply: Task | Message) -> str:
    assert isinstance(reply, Task)
    return text_of(reply)


def all_closed(passage: Passage) -> Callable[[], None]:
    def check() -> None:
        assert passage.open == 0

    return check


# -- names


@covers("S1-43")
async def test_a_registered_agent_is_there_by_its_name(served: Served) -> None:
    async with ClientManager() as agents:
        agents.register("echo", served.server.grpc_address)
        assert echoed(await agents.get("echo").send("hello")) == "hello"
        assert await agents.agent("echo").run("hello") == "hello"
        assert agents.agent("echo").name == "echo"


@covers("S1-43")
def test_names_come_in_the_order_of_registration() -> None:
    agents = ClientManager()
    for name in ("poet", "critic", "baker"):
        agents.register(name, "127.0.0.1:1")
    assert agents.names == ["poet", "critic", "baker"]


@covers("S1-43")
@pytest.mark.parametrize("way", ["get", "agent", "blocking"])
async def test_an_unknown_name_is_refused_and_the_text_lists_the_known_ones(way: str) -> None:
    async with ClientManager() as agents:
        with pytest.raises(ConfigurationError, match=r"'poet'.*none"):
            getattr(agents, way)("poet")
        agents.register("critic", "127.0.0.1:1")
        agents.register("baker", "127.0.0.1:2")
        with pytest.raises(ConfigurationError, match=r"'poet'.*critic, baker"):
            getattr(agents, way)("poet")


@covers("S1-43")
def test_a_name_means_one_target() -> None:
    agents = ClientManager()
    agents.register("poet", "127.0.0.1:1")
    agents.register("poet", "127.0.0.1:1")
    with pytest.raises(ConfigurationError, match=r"'poet' is registered as '127\.0\.0\.1:1'"):
        agents.register("poet", "127.0.0.1:2")
    assert agents.names == ["poet"]


def test_a_target_that_cannot_be_is_not_registered() -> None:
    agents = ClientManager()
    with pytest.raises(ConfigurationError, match="gprc"):
        agents.register("poet", "gprc://agents.example")
    assert agents.names == []


def test_a_setting_that_does_not_exist_is_refused_when_the_manager_is_made() -> None:
    with pytest.raises(TypeError, match="timeout_seconds: no such setting"):
        ClientManager(timeout_seconds=3)
    with pytest.raises(ConfigurationError, match="timeout_s"):
        ClientManager(timeout_s=-1)


async def test_the_settings_are_those_of_every_client(served: Served) -> None:
    async with ClientManager(tenant="acme") as agents, client_of(served, tenant="acme") as acme:
        agents.register("echo", served.server.grpc_address)
        await agents.get("echo").send("hello")
        assert len([task async for task in acme.list()]) == 1


# -- one connection


@covers("S1-43")
async def test_two_names_of_one_target_share_its_connection(passage: Passage) -> None:
    async with ClientManager() as agents:
        agents.register("one", passage.address)
        agents.register("two", passage.address)
        texts = [f"text {number}" for number in range(20)]
        names = ["one", "two"] * 10
        runs = [agents.agent(name).run(text) for name, text in zip(names, texts, strict=True)]
        assert await asyncio.gather(*runs) == texts
        assert agents.get("one") is agents.get("two")
        assert (passage.taken, passage.open) == (1, 1)
    await eventually(all_closed(passage))


async def test_different_targets_have_a_connection_each(served: Served) -> None:
    address = served.server.grpc_address
    async with Passage(address) as one, Passage(address) as two, ClientManager() as agents:
        agents.register("one", one.address)
        agents.register("two", two.address)
        for name in ("one", "two", "one"):
            assert await agents.agent(name).run(name) == name
        assert (one.taken, two.taken) == (1, 1)


# -- threads


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What each of so many threads gave, working at the same time; an error is raised."""
    results: list[Any] = [None] * count
    together = threading.Barrier(count)

    def run(number: int) -> None:
        together.wait()
        try:
            results[number] = work(number)
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GUARD_S)
        assert not thread.is_alive()
    return results


@covers("S1-43")
async def test_threads_without_event_loops_share_one_connection_and_one_thread(passage: Passage) -> None:
    async with ClientManager() as agents:
        agents.register("one", passage.address)
        agents.register("two", passage.address)

        def work(number: int) -> str:
            agent = agents.blocking(["one", "two"][number % 2])
            return echoed(agent.send(f"text {number}"))

        results = await asyncio.to_thread(in_threads, 12, work)
        assert results == [f"text {number}" for number in range(12)]
        assert passage.taken == 1
        portals = [thread for thread in threading.enumerate() if thread.name == "a2a-grpc:portal"]
        assert len(portals) == 1
    assert [thread for thread in threading.enumerate() if thread.name == "a2a-grpc:portal"] == []
    await eventually(all_closed(passage))


@covers("S1-43")
async def test_each_event_loop_has_a_client_of_its_own(passage: Passage) -> None:
    async with ClientManager() as agents:
        agents.register("echo", passage.address)
        here = agents.get("echo")

        def work(number: int) -> tuple[str, bool]:
            async def run() -> tuple[str, bool]:
                client = agents.get("echo")
                texts = await asyncio.gather(*(agents.agent("echo").run(f"{number}") for _ in range(3)))
                await client.close()
                return "".join(texts), client is here

            return asyncio.run(run())

        results = await asyncio.to_thread(in_threads, 4, work)
        assert results == [(f"{number}" * 3, False) for number in range(4)]
        assert passage.taken == 4
        assert await agents.agent("echo").run("here") == "here"
        assert passage.taken == 5


@covers("S1-43")
async def test_closing_closes_the_clients_of_loops_that_run_in_other_threads(passage: Passage) -> None:
    agents, used, leave = ClientManager(), threading.Event(), threading.Event()
    agents.register("echo", passage.address)

    async def work() -> None:
        await agents.get("echo").send("hello")
        used.set()
        await asyncio.to_thread(leave.wait)

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    try:
        await asyncio.to_thread(used.wait)
        assert passage.open == 1
        await agents.close()
        await eventually(all_closed(passage))
        assert thread.is_alive()
    finally:
        leave.set()
        await asyncio.to_thread(thread.join)


@covers("S1-43")
async def test_closing_closes_the_clients_of_loops_that_have_ended(passage: Passage) -> None:
    agents = ClientManager()
    agents.register("echo", passage.address)

    def work(number: int) -> str:
        return echoed(asyncio.run(sent()))

    async def sent() -> Task | Message:
        return await agents.get("echo").send("hello")

    assert await asyncio.to_thread(in_threads, 3, work) == ["hello"] * 3
    await agents.close()
    await eventually(all_closed(passage))


@covers("S1-43")
async def test_a_manager_does_not_keep_the_clients_of_loops_that_have_ended(passage: Passage) -> None:
    """A program that calls `asyncio.run` for each piece of work keeps no connection for each."""
    async with ClientManager() as agents:
        agents.register("echo", passage.address)

        async def sent() -> Task | Message:
            return await agents.get("echo").send("hello")

        for _ in range(5):
            await asyncio.to_thread(in_threads, 1, lambda _: asyncio.run(sent()))

        def few() -> None:
            assert passage.open <= 1

        await eventually(few)
        assert passage.taken == 5


@covers("S1-43")
async def test_registering_and_getting_from_many_threads_gives_one_client_for_each_target() -> None:
    agents = ClientManager()

    def work(number: int) -> Any:
        agents.register(f"agent {number % 3}", f"127.0.0.1:{1 + number % 3}")
        return agents.blocking(f"agent {number % 3}")

    try:
        clients = await asyncio.to_thread(in_threads, 24, work)
        assert len(set(map(id, clients))) == 3
        assert sorted(agents.names) == ["agent 0", "agent 1", "agent 2"]
    finally:
        await agents.close()


# -- closing


async def test_closing_closes_what_it_opened_and_nothing_else(served: Served, passage: Passage) -> None:
    async with Passage(served.server.grpc_address) as other, connect(other.address) as mine:
        await mine.send("before")
        async with ClientManager() as agents:
            agents.register("echo", passage.address)
            await agents.get("echo").send("hello")
            await asyncio.to_thread(agents.blocking("echo").send, "hello")
            assert passage.open == 2
        await eventually(all_closed(passage))
        assert other.open == 1
        assert echoed(await mine.send("after")) == "after"
        assert other.taken == 1


async def test_closing_a_manager_leaves_the_tasks_at_work() -> None:
    sleeper = Sleeper()
    async with serving(sleeper.agent) as served, client_of(served) as client:
        async with ClientManager() as agents:
            agents.register("sleeper", served.server.grpc_address)
            task = await agents.get("sleeper").start("sleep")
            assert isinstance(task, Task)
            await eventually(lambda: started(sleeper))
        assert sleeper.canceled == []
        assert (await client.cancel(task.id)).id == task.id


def started(sleeper: Sleeper) -> None:
    assert sleeper.started


async def test_a_manager_may_be_closed_twice_and_without_use() -> None:
    agents = ClientManager()
    await agents.close()
    await agents.close()


@pytest.mark.parametrize("way", ["get", "agent", "blocking"])
async def test_a_closed_manager_opens_nothing_any_more(way: str) -> None:
    """A thread that comes late to a program that ends would wait for ever on a connection that nobody closes."""
    async with ClientManager() as agents:
        agents.register("poet", "127.0.0.1:1")
    with pytest.raises(RuntimeError, match="the manager is closed"):
        getattr(agents, way)("poet")
    assert _portals() == 0


@covers("S0-22")
async def test_a_manager_leaves_no_descriptor_and_no_thread(served: Served) -> None:
    async def used() -> None:
        async with ClientManager() as agents:
            agents.register("echo", served.server.grpc_address)
            await agents.get("echo").send("hello")
            await asyncio.to_thread(agents.blocking("echo").send, "hello")

    await used()
    await asyncio.sleep(0)
    threads, before = _portals(), descriptors()
    for _ in range(3):
        await used()

    def nothing_left() -> None:
        assert _portals() == threads == 0
        assert descriptors() <= before

    await eventually(nothing_left)


def _portals() -> int:
    return sum(thread.name == "a2a-grpc:portal" for thread in threading.enumerate())


# -- discovery


@covers("S1-45")
async def test_what_is_discovered_can_be_used_by_its_name() -> None:
    async with serving(observer(), http_listen="127.0.0.1:0") as served, ClientManager() as agents:
        assert served.server.http_url
        [found] = await agents.discover([served.server.http_url])
        assert (found.url, found.error) == (served.server.http_url, None)
        assert found.card is not None
        assert (found.card.name, agents.names) == ("Observer", ["Observer"])
        assert echoed(await agents.get("Observer").send("hello", metadata={"skill": "shout"})) == "HELLO"


@covers("S1-45")
async def test_failures_are_reported_in_the_order_of_the_urls_and_nothing_is_raised() -> None:
    async with serving(observer(), http_listen="127.0.0.1:0") as served, silent_port() as silent:
        async with Site(Page(b"nothing here", status=404)) as missing, Site(Page(b"<html>")) as no_card:
            async with Site(Page.card(description=None)) as incomplete, ClientManager() as agents:
                good, refused = served.server.http_url, f"http://127.0.0.1:{free_port()}"
                assert good
                urls = [
                    refused, good, f"http://{silent}", missing.url, no_card.url, incomplete.url,
                    served.server.grpc_address, "gprc://x", "/none.json",
                ]  # fmt: skip
                found = await agents.discover(urls, timeout_s=3.0)
                names = agents.names
    assert [one.url for one in found] == urls
    assert [one.card.name if one.card else None for one in found] == [
        None, "Observer", *[None] * 3, "Elsewhere", *[None] * 3
    ]  # fmt: skip
    assert [type(one.error) for one in found] == [
        UnreachableError, type(None), UnreachableError, AgentCardError, AgentCardError, type(None),
        ConfigurationError, ConfigurationError, AgentCardError,
    ]  # fmt: skip
    words = ["nothing listens", "None", "within 3 s", "404", "not JSON", "None", "is an address", "gprc",
             "none.json"]  # fmt: skip
    assert [word in str(one.error) for word, one in zip(words, found, strict=True)] == [True] * 9
    assert names == ["Observer", "Elsewhere"]


@covers("S1-45")
async def test_all_urls_are_asked_at_the_same_time() -> None:
    """Each site answers only once all of them have been asked."""
    sites = [Site(Page.card(name=f"agent {number}")) for number in range(6)]
    answer = asyncio.Event()
    async with ClientManager() as agents:
        async with sites[0], sites[1], sites[2], sites[3], sites[4], sites[5]:
            for site in sites:
                site.held = answer
            discovering = asyncio.create_task(agents.discover([site.url for site in sites], timeout_s=30))

            def all_asked() -> None:
                assert [len(site.requests) for site in sites] == [1] * 6

            await eventually(all_asked)
            assert not discovering.done()
            answer.set()
            found = await discovering
        assert [one.card.name if one.card else "" for one in found] == [f"agent {number}" for number in range(6)]
        assert agents.names == [f"agent {number}" for number in range(6)]


@covers("S1-45")
async def test_silent_urls_take_their_time_together_and_not_one_after_the_other() -> None:
    """Forty at two seconds each would be eighty seconds in a row."""
    async with silent_port() as silent, ClientManager() as agents:
        async with asyncio.timeout(60):
            found = await agents.discover([f"http://{silent}/{number}" for number in range(40)], timeout_s=2.0)
    assert [type(one.error) for one in found] == [UnreachableError] * 40


@covers("S1-45")
async def test_a_name_that_is_taken_stays_whose_it_is() -> None:
    async with serving(observer(), http_listen="127.0.0.1:0") as served, ClientManager() as agents:
        assert served.server.http_url
        agents.register("Observer", "127.0.0.1:1")
        [found] = await agents.discover([served.server.http_url])
        assert found.card is not None
        assert agents.get("Observer").target == "127.0.0.1:1"


@covers("S1-45")
async def test_roots_that_cannot_be_read_are_a_failure_like_any_other() -> None:
    async with ClientManager(ca_cert="/none/roots.pem") as agents:
        [found] = await agents.discover([f"https://127.0.0.1:{free_port()}"])
    assert found.card is None
    assert "/none/roots.pem" in str(found.error)


@covers("S1-45")
async def test_of_no_urls_there_is_no_result() -> None:
    async with ClientManager() as agents:
        assert await agents.discover([]) == []


async def test_a_client_of_a_manager_is_a_client_like_any_other(served: Served) -> None:
    async with ClientManager() as agents:
        agents.register("echo", served.server.grpc_address)
        client: Client = agents.get("echo")
        task = await client.send("hello")
        assert isinstance(task, Task)
        assert await client.get(task.id) == task
        assert [one.id async for one in client.list()] == [task.id]
