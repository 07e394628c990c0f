"""`--replace` over several sentinels of one store: the former agent gives way wherever it is attached."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from a2a_grpc.errors import PermissionDeniedError
from a2a_grpc.principal import Principal
from a2a_grpc.sentinel import Attachment, Sentinel
from a2a_grpc.sentinel.hop import Hops
from a2a_grpc.sentinel.wire import LOOK_PATH, LookRequest
from a2a_grpc.wire import GetTaskRequest
from tests.harness import eventually, refusal
from tests.sentinel.test_attaching import attachment, by_token
from tests.sentinel.test_many import saying
from tests.sentinel.tunnels import ADDRESS, attached_raw, channel_to, ended, sentinel, stream, unary

REQUEST = GetTaskRequest(tenant=ADDRESS, id="t").SerializeToString()
SLOW: dict[str, Any] = {"registry_lease_s": 3600.0}
"""Sentinels that renew their leases after the end of the test only."""


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sentinels.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, store: str) -> str:
    return store if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


async def answers(*addresses: str) -> list[bytes]:
    """What the agent answers to a call at each of the sentinels."""
    found: list[bytes] = []
    for address in addresses:
        async with channel_to(address) as channel:
            found += (await ended(unary(channel)(REQUEST)))[0] or [b""]
    return found


async def assert_answers(expected: bytes, *addresses: str) -> None:
    """Wait until an agent answers at each of the sentinels: the store knows of it a moment after it was attached."""

    async def answered() -> None:
        assert await answers(*addresses) == [expected] * len(addresses)

    await eventually(answered, within_s=30)


async def is_replaced(agent: Attachment) -> None:
    reason = await asyncio.wait_for(agent.wait_failed(), 30)
    assert "another agent has taken the address" in str(reason)


async def test_an_agent_replaces_the_one_that_is_attached_to_another_sentinel(shared: str) -> None:
    """The sentinel of the former agent is asked to look: its leases are not renewed during the test."""
    released = asyncio.Event()

    async def waits(request: bytes, context: Any) -> None:
        await context.write(b"first")
        await released.wait()
        await context.write(b"last")

    async with sentinel(store=shared, **SLOW) as one, sentinel(store=shared, **SLOW) as other:
        async with attached_raw(waits, one.address) as (there, _), attachment(other.address, replace=True) as probe:
            call = stream(there)(REQUEST)
            assert await call.read() == b"first"
            await probe.welcome()

            async def left() -> None:
                assert one._routes.all() == []

            await eventually(left, within_s=30)
            released.set()
            assert [await call.read(), await call.read()] == [b"last", grpc.aio.EOF]
            assert await call.code() is grpc.StatusCode.OK


async def is_written(one: Sentinel) -> None:
    """Wait until the store has the entry of the agent that is attached at a sentinel."""

    async def written() -> None:
        assert len(await one.entries.at(ADDRESS)) == 1

    await eventually(written, within_s=30)


async def test_an_agent_that_was_replaced_from_another_sentinel_says_so_and_calls_go_to_the_new_one(store: str) -> None:
    async with sentinel(store=store, **SLOW) as one, sentinel(store=store, **SLOW) as other:
        async with attachment(one.address) as first:
            await first.welcome()
            await is_written(one)
            async with attached_raw(saying("second"), other.address, replace=True):
                await is_replaced(first)
                await assert_answers(b"second", one.address, other.address)
                async with attached_raw(saying("third"), one.address, replace=True):
                    await assert_answers(b"third", one.address, other.address)
                    assert other._routes.all() == []


async def test_a_sentinel_that_was_not_asked_to_look_notices_when_it_renews_its_leases(store: str) -> None:
    async with sentinel(store=store, registry_lease_s=1.0, peer_address="127.0.0.1:9") as one:
        async with sentinel(store=store) as other, attachment(one.address) as first:
            await first.welcome()
            await is_written(one)
            async with attached_raw(saying("second"), other.address, replace=True):
                await is_replaced(first)
                await assert_answers(b"second", one.address, other.address)


async def test_an_agent_of_another_principal_replaces_nothing_at_another_sentinel(store: str, tmp_path: Path) -> None:
    tokens = {}
    for name in ("ada", "bob"):
        (tmp_path / name).write_text(name)
        tokens[name] = str(tmp_path / name)
    async with sentinel((by_token,), store=store) as one, sentinel((by_token,), store=store) as other:
        async with attachment(one.address, attach_token_file=tokens["ada"]) as first:
            await first.welcome()
            await is_written(one)
            async with attachment(other.address, attach_token_file=tokens["bob"], replace=True) as foreign:
                with pytest.raises(PermissionDeniedError, match="belongs to another principal"):
                    await foreign.welcome()
            assert len(one._routes.all()) == 1


async def test_only_sentinels_of_the_store_ask_a_sentinel_to_look(store: str) -> None:
    async with sentinel(store=store) as running, channel_to(running.address) as channel:
        look: Any = channel.unary_unary(LOOK_PATH)
        request = LookRequest(address=ADDRESS).SerializeToString()
        foreign = Hops()
        foreign.use(b"x" * 32)
        other = Hops()
        other.use(await running.entries.secret())
        for mark in (foreign.mark(Principal(), ADDRESS), other.mark(Principal(), "other@fame.fabric"), ""):
            refused = await refusal(look(request, metadata=(("a2a-grpc-hop", mark),)))
            assert refused.code is grpc.StatusCode.PERMISSION_DENIED
        assert await look(request, metadata=(("a2a-grpc-hop", other.mark(Principal(), ADDRESS)),)) == b""
