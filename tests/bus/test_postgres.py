"""Wakes through the notifications of a PostgreSQL database."""

import asyncio
import logging
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg  # type: ignore[import-untyped]
import pytest

from a2a_grpc.bus import Bus, open_bus
from a2a_grpc.bus.postgres import CHANNEL, PostgresBus
from a2a_grpc.bus.shared import MAX_WAITING
from a2a_grpc.config import ConfigurationError
from tests.bus.contract import TASK, SharedBusContract, healthy, woken
from tests.bus.process import OtherProcess
from tests.databases import Postgres, postgres_connection
from tests.harness import eventually
from tests.proxy import Proxy

LISTENING, SENDING = "a2a-grpc bus listen", "a2a-grpc bus send"
"""What the database knows the two connections of a bus as."""


def address(url: str) -> str:
    return f"{urlsplit(url).hostname}:{urlsplit(url).port}"


def by(proxy: Proxy, url: str) -> str:
    """The URL of the database behind a proxy."""
    return url.replace(address(url), proxy.address)


class TestPostgresBus(SharedBusContract):
    @pytest.fixture
    def urls(self, postgres_url: str) -> tuple[str, str]:
        return postgres_url, "memory:"

    async def test_a_bus_on_another_database_hears_nothing(self, bus: Bus, postgres_shared: str) -> None:
        other = open_bus(postgres_shared)
        await other.start()
        with bus.listen(TASK) as topic, bus.listen("end") as end:
            other.wake(TASK)
            await other.stop()
            bus.wake("end")
            await eventually(woken(end))
            assert topic.wakes == 0


@pytest.fixture
async def bus(postgres_url: str) -> AsyncIterator[Bus]:
    async with started(postgres_url) as made:
        yield made


class started:
    """A bus for a block."""

    def __init__(self, url: str, timeout_s: float = 3.0) -> None:
        self._bus = PostgresBus(url, timeout_s=timeout_s)

    async def __aenter__(self) -> PostgresBus:
        await self._bus.start()
        return self._bus

    async def __aexit__(self, *_: object) -> None:
        await asyncio.wait_for(self._bus.stop(), 30)


# -- cost


async def test_10_000_wakes_take_few_notifications_of_less_than_8_000_bytes(bus: Bus, postgres_url: str) -> None:
    payloads: list[str] = []
    async with postgres_connection(postgres_url) as spy:
        await spy.add_listener(CHANNEL, lambda *told: payloads.append(told[-1]))
        for number in range(10_000):
            bus.wake(f"t-{number}")
        await eventually(lambda: all_told(payloads, 10_000))
    assert len(payloads) <= 22
    assert max(map(len, payloads)) < 8_000


def all_told(payloads: list[str], count: int) -> None:
    assert sum(len(payload) // 16 - 1 for payload in payloads) == count


async def test_what_is_woken_while_a_notification_is_under_way_goes_into_the_next_one(postgres_url: str) -> None:
    payloads: list[str] = []
    async with Proxy(address(postgres_url)) as proxy, postgres_connection(postgres_url) as spy:
        await spy.add_listener(CHANNEL, lambda *told: payloads.append(told[-1]))
        async with started(by(proxy, postgres_url)) as bus:
            bus.wake("connected")
            await eventually(lambda: all_told(payloads, 1))
            proxy.stall()
            for number in range(100):
                bus.wake(f"t-{number}")
                await asyncio.sleep(0.001)
            proxy.resume()
            await eventually(lambda: all_told(payloads, 101))
    assert len(payloads) == 3


async def test_what_others_send_on_the_channel_does_nothing(bus: Bus, postgres_url: str) -> None:
    async with postgres_connection(postgres_url) as stranger, started(postgres_url) as other:
        with bus.listen(TASK) as topic, bus.listen("end") as end:
            for payload in ("", "hello", "ключ", "A", "AAAA", "A" * 7_999, "=" * 16, "!" * 32):
                await stranger.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)
            other.wake("end")
            await eventually(woken(end))
            assert topic.wakes == 0
            assert bus.is_healthy


# -- faults


async def test_listeners_are_woken_after_the_connection_that_listens_was_lost(
    postgres_server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with started(postgres_server.url()) as bus, started(postgres_server.url()) as other:
        with bus.listen(TASK) as topic, other.listen("back") as back:
            assert await postgres_server.terminate_connections(LISTENING) == 2
            await eventually(woken(topic))
            await eventually(healthy(bus))
            await eventually(healthy(other))
            seen = topic.wakes
            other.wake(TASK)
            await eventually(woken(topic, seen + 1))
            seen = back.wakes
            bus.wake("back")
            await eventually(woken(back, seen + 1))
    assert caplog.text.count("bus lost its connection") == 2
    assert "secret" not in caplog.text


async def test_what_is_woken_after_the_connection_that_sends_was_lost_is_told(postgres_server: Postgres) -> None:
    async with started(postgres_server.url()) as bus, started(postgres_server.url()) as other:
        with other.listen("first") as first, other.listen(TASK) as topic:
            bus.wake("first")
            await eventually(woken(first))
            assert await postgres_server.terminate_connections(SENDING) >= 1  # the other bus may not have one yet
            bus.wake(TASK)
            await eventually(woken(topic))
            assert topic.wakes <= 2  # it may be doubled
            assert bus.is_healthy


@pytest.mark.parametrize("wakes", [1, MAX_WAITING + 10])
async def test_what_is_woken_while_the_database_is_out_of_reach_is_told_later(postgres_url: str, wakes: int) -> None:
    async with Proxy(address(postgres_url)) as proxy, started(postgres_url) as other:
        async with started(by(proxy, postgres_url)) as bus:
            with other.listen("t-0") as topic, other.listen("unmeant") as unmeant:
                proxy.close()
                await eventually(healthy(bus, False))
                for number in range(wakes):
                    bus.wake(f"t-{number}")
                assert len(bus._outbox) <= MAX_WAITING
                await proxy.reopen()
                await eventually(woken(topic))
                if wakes > MAX_WAITING:
                    await eventually(woken(unmeant))
                else:
                    assert unmeant.wakes == 0


@pytest.mark.few
@pytest.mark.parametrize("how", ["restart", "kill"])
async def test_it_heals_after_the_database_was_away(postgres_server: Postgres, how: str) -> None:
    async with started(postgres_server.url()) as bus, started(postgres_server.url()) as other:
        with bus.listen("missed") as missed, other.listen(TASK) as topic:
            if how == "restart":
                await postgres_server.stop()
            else:
                await postgres_server.kill()
            await eventually(healthy(bus, False))
            await eventually(healthy(other, False))
            await postgres_server.start()
            await eventually(healthy(bus))
            await eventually(healthy(other))
            await eventually(woken(missed))
            seen = topic.wakes
            bus.wake(TASK)
            await eventually(woken(topic, seen + 1))


async def test_it_starts_while_the_database_is_away_and_is_healthy_once_it_is_there(
    postgres_server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    await postgres_server.stop()
    async with started(postgres_server.url()) as bus:
        assert not bus.is_healthy
        with bus.listen(TASK) as topic:
            bus.wake(TASK)
            assert topic.wakes == 1
        await postgres_server.start()
        await eventually(healthy(bus))
    assert caplog.text.count("bus lost its connection") == 1


async def test_it_stops_while_the_database_is_away(postgres_server: Postgres) -> None:
    async with started(postgres_server.url()) as bus:
        await postgres_server.stop()
        bus.wake(TASK)


@pytest.mark.parametrize("when", ["connected", "from the start"])
async def test_a_database_that_says_nothing_any_more_is_noticed_and_left(postgres_url: str, when: str) -> None:
    async with Proxy(address(postgres_url)) as proxy, started(postgres_url) as other:
        if when == "from the start":
            proxy.stall()
        async with started(by(proxy, postgres_url), timeout_s=0.3) as bus:
            with bus.listen(TASK) as topic, other.listen("back") as back:
                if when == "connected":
                    assert bus.is_healthy
                    proxy.stall_open()
                    await eventually(woken(topic))  # another connection was made, and it is not stalled
                else:
                    assert not bus.is_healthy
                    proxy.resume()
                await eventually(healthy(bus))
                bus.wake("back")
                await eventually(woken(back))
                seen = topic.wakes
                other.wake(TASK)
                await eventually(woken(topic, seen + 1))


async def test_it_stops_while_the_database_says_nothing(postgres_url: str) -> None:
    async with Proxy(address(postgres_url)) as proxy:
        async with started(by(proxy, postgres_url)) as bus:
            proxy.stall()
            bus.wake(TASK)


async def test_a_process_that_is_killed_disturbs_no_other(bus: Bus, postgres_url: str) -> None:
    async with OtherProcess(postgres_url) as victim, OtherProcess(postgres_url) as survivor:
        await survivor.listen(TASK)
        await victim.kill()
        bus.wake(TASK)
        assert await survivor.woken() == TASK


async def test_no_connection_is_left_after_the_stop(postgres_url: str) -> None:
    async with postgres_connection(postgres_url) as admin:

        async def connections(count: int) -> None:
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            assert await admin.fetchval(query) == count + 1

        async with started(postgres_url) as bus:
            bus.wake(TASK)
            await eventually(lambda: connections(2))
        await eventually(lambda: connections(0))


# -- the URL


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
async def test_every_form_of_its_url_works(postgres_url: str, scheme: str) -> None:
    async with started(postgres_url.replace("postgresql", scheme, 1)) as bus:
        assert bus.is_healthy


async def test_a_database_that_does_not_exist_is_refused(postgres_url: str) -> None:
    url = urlsplit(postgres_url)._replace(path="/nowhere").geturl()
    with pytest.raises(ConfigurationError, match=r'the database says: database "nowhere" does not exist') as caught:
        await open_bus(url).start()
    assert urlsplit(postgres_url).password
    assert str(urlsplit(postgres_url).password) not in str(caught.value)


async def test_a_user_that_does_not_exist_is_refused(postgres_server: Postgres) -> None:
    url = postgres_server.url().replace("tester:secret", "nobody:geheim")
    with pytest.raises(ConfigurationError, match=r"nobody:\*\*\*@.* the database says: "):
        await open_bus(url).start()


async def test_a_notification_waits_for_no_disk(bus: Bus, postgres_url: str) -> None:
    assert isinstance(bus, PostgresBus)
    async with bus._connection("test") as connection:
        assert await connection.fetchval("SHOW synchronous_commit") == "off"
        assert isinstance(connection, asyncpg.Connection)
