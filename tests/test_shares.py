"""Peers share an amount: bounded together and each, and the one that holds least is served first."""

import asyncio

from a2a_grpc.rpc.shares import Shares


async def test_all_peers_together_and_each_hold_no_more_than_their_part() -> None:
    shares = Shares(total=10, per_peer=5)
    assert shares.take("a", 3)
    assert not shares.take("a", 3)
    assert shares.take("a", 2)
    assert shares.take("b", 5)
    assert not shares.take("c", 1)
    shares.give_back("b", 5)
    assert shares.take("c", 5)
    assert shares.held == 10


async def test_a_part_that_is_larger_than_all_is_given_alone() -> None:
    shares = Shares(total=10, per_peer=5)
    assert shares.take("a", 100)
    assert not shares.take("b", 1)
    shares.give_back("a", 100)
    assert shares.take("b", 1)
    assert not shares.take("a", 100)


async def test_of_those_that_wait_the_peer_that_holds_least_is_served_first_and_each_in_order() -> None:
    shares, order = Shares(total=4, per_peer=4), list[str]()
    assert all(shares.take("greedy", 1) for _ in range(4))

    async def want(peer: str, name: str) -> None:
        assert await shares.wait(peer, 1, 10)
        order.append(name)

    async with asyncio.TaskGroup() as waiting:
        for peer, name in (("greedy", "g1"), ("greedy", "g2"), ("modest", "m1"), ("modest", "m2")):
            waiting.create_task(want(peer, name))
            await asyncio.sleep(0)
        for _ in range(4):
            shares.give_back("greedy", 1)
            for _ in range(3):
                await asyncio.sleep(0)
    assert order == ["m1", "m2", "g1", "g2"]


async def test_a_call_that_waits_too_long_or_is_canceled_leaves_its_place() -> None:
    shares = Shares(total=1, per_peer=1)
    assert shares.take("a", 1)
    assert not await shares.wait("b", 1, 0.01)
    canceled = asyncio.create_task(shares.wait("b", 1, 10))
    served = asyncio.create_task(shares.wait("b", 1, 10))
    await asyncio.sleep(0)
    canceled.cancel()
    shares.give_back("a", 1)
    assert await served
    assert shares.held_by("b") == shares.held == 1
    assert not shares.is_wanted


async def test_a_call_that_is_canceled_as_its_part_is_given_gives_the_part_back() -> None:
    shares = Shares(total=1, per_peer=1)
    assert shares.take("a", 1)
    canceled = asyncio.create_task(shares.wait("b", 1, 10))
    await asyncio.sleep(0)
    shares.give_back("a", 1)
    canceled.cancel()
    await asyncio.wait([canceled])
    assert shares.held == 0


async def test_a_limited_peer_leaves_half_to_the_others() -> None:
    limited = {"late"}
    shares = Shares(total=4, per_peer=4, is_limited=limited.__contains__)
    assert shares.take("late", 1)
    assert shares.take("late", 1)
    assert not shares.take("late", 1)
    assert shares.take("other", 2)
    waiting = asyncio.create_task(shares.wait("late", 1, 10))
    await asyncio.sleep(0)
    shares.give_back("other", 2)
    assert not waiting.done()
    limited.clear()
    shares.serve()
    assert await waiting


async def test_a_part_that_is_given_back_costs_the_same_however_many_peers_wait() -> None:
    """Agents that have lost a sentinel come back together, each on a connection of its own."""
    looks = 0

    def is_limited(peer: str) -> bool:
        nonlocal looks
        looks += 1
        return False

    shares, peers = Shares(total=2, per_peer=1, is_limited=is_limited), [f"p{number}" for number in range(200)]
    assert shares.take("first", 1)
    assert shares.take("second", 1)
    async with asyncio.TaskGroup() as waiting:
        calls = [waiting.create_task(shares.wait(peer, 1, 60)) for peer in peers]
        await asyncio.sleep(0)
        looks = 0
        shares.give_back("first", 1)
        for peer in peers[:-1]:
            shares.give_back(peer, 1)
    assert all(call.result() for call in calls)
    assert looks <= 2 * len(peers)
