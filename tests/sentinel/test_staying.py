"""Staying attached: largest ages, losses that recur, several sentinels, and many agents that come back."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from a2a_grpc import connect
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import PermissionDeniedError, UnavailableError
from a2a_grpc.rpc import TransportSettings
from a2a_grpc.sentinel import Attachment, AttachSettings, Sentinel, SentinelSettings
from a2a_grpc.sentinel.reattach import RETRY_MAXIMUM_S, ReattachDelay, RecurringLoss, spread_of
from a2a_grpc.sentinel.wire import SentinelFrame, Welcome
from a2a_grpc.wire import GetTaskRequest, Task
from tests.harness import Program, eventually
from tests.ports import free_address
from tests.sentinel.test_attaching import attachment, raw_sentinel
from tests.sentinel.tunnels import ADDRESS, attached_raw, channel_to, ended, sentinel, unary

REQUEST = GetTaskRequest(tenant=ADDRESS, id="t").SerializeToString()
CLI = ("-m", "a2a_grpc")


async def slow_echo(request: bytes, context: Any) -> bytes:
    await asyncio.sleep(random.uniform(0, 0.05))
    return request


@asynccontextmanager
async def load(channel: grpc.aio.Channel, callers: int = 8) -> AsyncIterator[Counter[str]]:
    """Callers that call without a pause, and count how their calls ended, while the block runs."""
    ends: Counter[str] = Counter()
    is_over = False

    async def call() -> None:
        while not is_over:
            try:
                await unary(channel)(REQUEST)
                ends["OK"] += 1
            except grpc.aio.AioRpcError as error:
                ends[f"{error.code().name} {error.details()}"] += 1

    callings = [asyncio.create_task(call()) for _ in range(callers)]
    try:
        yield ends
    finally:
        is_over = True
        await asyncio.gather(*callings)


@pytest.mark.long
async def test_an_agent_that_attaches_again_before_its_largest_age_fails_no_call() -> None:
    async with sentinel() as running:
        async with attached_raw(slow_echo, running.address, attach_max_age_s=0.4) as (channel, _):
            seen = set(running._routes.all())
            async with load(channel) as ends:

                def renewed() -> None:
                    seen.update(running._routes.all())
                    assert len(seen) > 5

                await eventually(renewed, within_s=30)
                assert running._routes.count == 1
            assert set(ends) == {"OK"}


@pytest.mark.long
async def test_a_sentinel_has_agents_attach_again_before_their_connections_have_the_largest_age() -> None:
    transport = TransportSettings(max_connection_age_s=2, max_connection_age_grace_s=2)
    settings = SentinelSettings(listen="127.0.0.1:0", http_listen="off", drain_grace_s=0)
    async with Sentinel(settings, transport=transport) as running:
        async with attached_raw(slow_echo, running.address):
            seen = set(running._routes.all())
            async with connect(ADDRESS, sentinel=running.address) as client:

                async def renewed() -> None:
                    await client.get(ADDRESS)  # the tenant, which the echo has in the place of the id
                    seen.update(running._routes.all())
                    assert len(seen) > 3

                await eventually(renewed, within_s=30)


async def test_calls_in_progress_finish_on_the_former_tunnel() -> None:
    going = asyncio.Event()

    async def waits(request: bytes, context: Any) -> bytes:
        await going.wait()
        return request

    async with sentinel() as running:
        async with attached_raw(waits, running.address, attach_max_age_s=0.3) as (channel, _):
            first = running._routes.all()
            call = unary(channel)(REQUEST)
            await eventually(lambda: _assert(first[0].open_calls == 1))
            await eventually(lambda: _assert(running._routes.all() not in ([], first)))
            going.set()
            assert await call == REQUEST


async def _answers(channel: grpc.aio.Channel) -> None:
    """Check that an agent is attached: it is welcome at one of its sentinels before it is at the other one."""
    assert (await ended(unary(channel)(REQUEST)))[0] == [REQUEST]


def _assert(holds: bool) -> None:
    assert holds


def test_ages_that_recur_are_noticed_and_others_are_not() -> None:
    losses = RecurringLoss()
    assert [losses.lost(age) for age in (60.0, 61.5, 58.5)] == [None, None, pytest.approx(60.0)]
    assert [losses.lost(age) for age in (60.0, 60.0)] == [None, None]
    assert losses.lost(60.0) == pytest.approx(60.0)
    losses = RecurringLoss()
    assert [losses.lost(age) for age in (60.0, 66.0, 60.0, 54.0, 0.1, 0.1, 0.1)] == [None] * 7
    assert [losses.lost(age) for age in (30.0, 30.0, 0.2, 30.0)] == [None] * 4


@pytest.mark.long
async def test_a_cut_that_recurs_after_the_same_time_is_named_with_what_to_set(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def serve(requests: Any, context: Any) -> None:
        await context.read()
        await context.write(SentinelFrame(welcome=Welcome(tenant=ADDRESS, heartbeat_s=20)).SerializeToString())
        await asyncio.sleep(1.2)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "upstream timed out")

    async with raw_sentinel(serve) as address, attachment(address) as cut:
        await cut.welcome()

        def named() -> None:
            assert "after the same time again and again" in caplog.text
            assert "seconds=1.2" in caplog.text
            assert " max_age_s=0.9" in caplog.text

        await eventually(named, within_s=30)  # a busy machine may need more than three cuts


def test_a_thousand_agents_that_have_lost_a_sentinel_come_back_spread_out() -> None:
    """Counts the attempts in each tenth of a second, for a sentinel that is back after half a second."""
    back_s = 0.5
    attempts: Counter[int] = Counter()
    attached: Counter[int] = Counter()
    for _ in range(1000):
        delays = ReattachDelay()
        now_s = delays.after_loss_s(spread_of(1000), 60.0)
        attempts[int(10 * now_s)] += 1
        while now_s < back_s:
            now_s += delays.after_failure_s()
            attempts[int(10 * now_s)] += 1
        attached[int(10 * now_s)] += 1
    assert sum(attached.values()) == 1000
    assert max(attached.values()) <= 200
    assert max(attempts.values()) <= 200
    assert max(attached) < 10 * (back_s + RETRY_MAXIMUM_S)


def test_an_agent_that_is_alone_comes_back_at_once() -> None:
    assert spread_of(1) <= 0.2
    assert all(ReattachDelay().after_loss_s(0.0, 60.0) <= 0.2 for _ in range(1000))
    assert all(ReattachDelay().after_loss_s(1e9, 60.0) <= RETRY_MAXIMUM_S for _ in range(1000))


def test_the_delays_grow_also_if_each_attempt_succeeds_and_the_tunnel_is_lost_at_once() -> None:
    delays = ReattachDelay()
    assert delays.after_loss_s(0.0, 0.01) <= 0.2
    assert [delays.after_loss_s(0.0, 0.01) >= RETRY_MAXIMUM_S / 2 for _ in range(10)][-6:] == [True] * 6
    assert delays.after_loss_s(0.0, 60.0) <= 0.2
    assert delays.after_loss_s(0.0, 0.01) <= 0.2


async def test_agents_that_have_lost_their_sentinel_are_all_back_when_it_is() -> None:
    address = free_address()
    async with sentinel(listen=address) as probe:
        attachments = [
            Attachment(AttachSettings(attach=address, address=f"a-{number}@fame.fabric")) for number in range(50)
        ]
        for one in attachments:
            await one.__aenter__()
        await asyncio.gather(*(one.welcome() for one in attachments))
        assert probe._routes.count == 50
    async with sentinel(listen=address) as again:
        await eventually(lambda: _assert(again._routes.count == 50), within_s=30)
        await asyncio.gather(*(one.__aexit__(None, None, None) for one in attachments))


async def test_an_agent_at_two_sentinels_is_reached_at_both_and_the_loss_of_one_changes_nothing() -> None:
    front = Program(*CLI, "sentinel", "-o", "json", "--listen", free_address(), "--http-listen", "off")
    async with sentinel() as stays, front as lost:
        both = f"{lost.address},{stays.address}"
        async with attached_raw(slow_echo, both), channel_to(stays.address) as channel:
            await eventually(lambda: _assert(stays._routes.count == 1))
            async with channel_to(lost.address) as other:
                await eventually(lambda: _answers(other))
            tunnels = stays._routes.all()
            async with load(channel) as ends:
                before = ends.total()
                lost.process.kill()
                await lost.process.wait()
                await eventually(lambda: _assert(ends.total() > before + 100))
                async with sentinel(listen=lost.address) as again:
                    await eventually(lambda: _assert(again._routes.count == 1))
            assert set(ends) == {"OK"}
            assert stays._routes.all() == tunnels


async def test_an_agent_that_one_of_two_sentinels_refuses_stays_attached_to_the_other() -> None:
    async with sentinel(route=f"{ADDRESS}=127.0.0.1:9") as refuses, sentinel() as takes:
        async with attached_raw(slow_echo, f"{refuses.address},{takes.address}", fail_fast=True):
            async with channel_to(takes.address) as channel:
                assert await unary(channel)(REQUEST) == REQUEST
        async with attachment(f"{refuses.address},127.0.0.1:9", fail_fast=True) as nowhere:
            with pytest.raises((PermissionDeniedError, UnavailableError)):
                await nowhere.welcome()


@pytest.mark.parametrize(
    ("attach", "said"),
    [("a:1,a:1", "it names a:1 twice"), ("a:1,", "attach is 'a:1,'"), ("a:1,b:x", "attach is 'a:1,b:x'")],
)
async def test_wrong_sentinels_are_named(attach: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Attachment(AttachSettings(attach=attach, address=ADDRESS))


@pytest.mark.long
async def test_serve_attaches_to_two_sentinels() -> None:
    async with sentinel() as one, sentinel() as other:
        both = f"{one.address},{other.address}"
        async with Program.server("servers/scripted.py", "--attach", both, "--address", ADDRESS):
            for running in (one, other):
                await eventually(lambda: _assert(running._routes.count == 1))  # noqa: B023
                async with connect(ADDRESS, sentinel=running.address) as client:
                    assert isinstance(await client.send("hello"), Task)
