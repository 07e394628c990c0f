"""Accepted calls are begun in turns."""

import asyncio
from typing import Any

from a2a_grpc.rpc.traffic import RESET_BYTES, Traffic
from a2a_grpc.rpc.turns import AT_ONCE, LOOK_CALLS, READ_ROUNDS, Turns


def turns(traffic: Traffic | None = None, *, max_line: int = 1000) -> tuple[Turns, list[Any]]:
    begun: list[Any] = []
    loop = asyncio.get_running_loop()
    waiting = Turns(loop, lambda peer, name, call: begun.append(call), traffic=traffic or Traffic(), max_line=max_line)
    return waiting, begun


async def all_begun(waiting: Turns) -> None:
    await waiting.wait()
    for _ in range(READ_ROUNDS):
        await asyncio.sleep(0)


async def test_a_single_call_is_begun_at_once() -> None:
    waiting, begun = turns()
    waiting.add("a", "/x", 1)
    assert begun == [1]
    await all_begun(waiting)
    waiting.add("a", "/x", 2)
    assert begun == [1, 2]
    await all_begun(waiting)


async def test_connections_take_turns_and_calls_of_one_stay_in_order() -> None:
    waiting, begun = turns()
    for number in range(100):
        waiting.add("flood", "/x", ("flood", number))
    waiting.add("good", "/x", ("good", 0))
    await all_begun(waiting)
    assert len(begun) == 101
    assert begun.index(("good", 0)) <= 3
    assert [call for call in begun if call[0] == "flood"] == [("flood", number) for number in range(100)]


async def test_connections_of_which_a_call_was_answered_have_every_second_turn() -> None:
    traffic = Traffic()
    waiting, begun = turns(traffic)
    for peer in ("good", "bad"):
        traffic.account(peer)
        traffic.answered(peer)
    traffic.charge("bad", RESET_BYTES)
    traffic.answered("gone")  # an account that is forgotten is not made again
    assert not traffic.is_proven("gone")
    assert not traffic.is_proven("bad")
    for number in range(40):
        waiting.add(f"new-{number}", "/x", "new")
        waiting.add("bad", "/x", "bad")
    for _ in range(20):
        waiting.add("good", "/x", "good")
    await all_begun(waiting)
    assert len(begun) == 100
    assert begun[:41].count("good") == 20


async def test_a_quick_round_doubles_what_the_next_round_begins_up_to_a_limit() -> None:
    traffic = Traffic()
    traffic.account("a")
    traffic.answered("a")
    waiting, begun = turns(traffic)
    counts = []
    for number in range(200):
        waiting.add("a", "/x", number)
    while len(begun) < 200:
        before = len(begun)
        await asyncio.sleep(0)
        counts.append(len(begun) - before)
    assert counts[:5] == [1, 2, 4, 8, 16], "one while many come, then twice as many in each round"
    assert max(counts) == AT_ONCE


async def test_calls_of_connections_that_are_not_proven_wait_until_the_metadata_of_the_last_ones_were_read() -> None:
    waiting, begun = turns()
    counts = []
    for number in range(200):
        waiting.add("a", "/x", number)
    while len(begun) < 200:
        before = len(begun)
        await asyncio.sleep(0)
        counts.append(len(begun) - before)
    started = counts.index(1)
    assert counts[started : started + 12 : READ_ROUNDS] == [1, 2, 4, 8]
    assert max(counts) == AT_ONCE
    assert sum(map(bool, counts)) <= len(counts[started:]) / READ_ROUNDS + 1


async def test_a_proven_connection_does_not_wait_for_the_metadata_of_others() -> None:
    traffic = Traffic()
    traffic.account("good")
    traffic.answered("good")
    waiting, begun = turns(traffic)
    for number in range(10):
        waiting.add("new", "/x", ("new", number))
    waiting.add("good", "/x", ("good", 0))
    await asyncio.sleep(0)
    assert begun == [("new", 0), ("good", 0)]
    await all_begun(waiting)


async def test_the_guard_is_asked_to_look_however_many_calls_come_in_a_round() -> None:
    waiting, begun = turns()
    looks = []
    waiting.on_many = lambda: looks.append(len(begun))
    for number in range(3 * LOOK_CALLS):
        waiting.add("a", "/x", number)
    assert len(looks) == 3
    await all_begun(waiting)


async def test_calls_of_connections_that_are_gone_are_dropped() -> None:
    waiting, begun = turns()
    for peer in ("first", "gone", "open"):
        for number in range(3):
            waiting.add(peer, "/x", (peer, number))
    waiting.drop({"first", "open"})
    waiting.only(lambda peer: peer != "gone")
    waiting.add("gone", "/x", ("gone", 9))
    await all_begun(waiting)
    assert {peer for peer, _ in begun} == {"first", "open"}
    waiting.only(None)
    waiting.add("gone", "/x", ("gone", 10))
    await all_begun(waiting)
    assert begun[-1] == ("gone", 10)


async def test_calls_that_must_have_been_reset_are_dropped_and_charged() -> None:
    traffic = Traffic()
    waiting, begun = turns(traffic, max_line=10)
    for number in range(31):
        waiting.add("a", "/x", number)
    await all_begun(waiting)
    assert begun == [0, *range(21, 31)]
    assert traffic.account("a").charged == 20 * RESET_BYTES
