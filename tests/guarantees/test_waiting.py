"""Who waits for a place or a lock and is canceled at the very moment that it is given to somebody."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from a2a_grpc.engine.locks import KeyLocks
from a2a_grpc.engine.priority import Priority
from a2a_grpc.engine.slots import Slots
from a2a_grpc.store import Scope

Giving = Callable[[], None]


async def place() -> tuple[Callable[[], Awaitable[object]], Giving, Callable[[], bool]]:
    """A place that is taken: how to get it, how to give it up, whether nobody has or wants it."""
    slots = Slots(1, 10)
    first = slots.try_acquire(Scope("", ""))
    assert first is not None
    places = [first]

    async def get() -> None:
        place = slots.line_up(Scope("", ""), Priority.NORMAL)
        await place.wait()
        places.append(place)

    return get, lambda: places.pop().release(), lambda: slots.taken == 0


async def lock() -> tuple[Callable[[], Awaitable[object]], Giving, Callable[[], bool]]:
    """The same of a lock."""
    locks = KeyLocks()
    holding = locks.holding("key")
    await holding.__aenter__()
    return locks.holding("key").__aenter__, holding.release, lambda: not locks.holding("key").locked()


@pytest.mark.parametrize("what", [place, lock])
@pytest.mark.parametrize("is_canceled_first", [True, False])
async def test_a_waiter_canceled_as_its_turn_comes_takes_nothing_and_the_next_one_is_given_it(
    what: Callable[[], Awaitable[tuple[Callable[[], Awaitable[object]], Giving, Callable[[], bool]]]],
    is_canceled_first: bool,
) -> None:
    get, give_up, is_free = await what()
    first, second = asyncio.ensure_future(get()), asyncio.ensure_future(get())
    await asyncio.sleep(0)
    for step in (first.cancel, give_up) if is_canceled_first else (give_up, first.cancel):
        step()
    async with asyncio.timeout(30):
        await second
    with pytest.raises(asyncio.CancelledError):
        await first
    give_up()
    assert is_free()
