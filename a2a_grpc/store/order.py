"""The tasks of one scope in the order of their last status, for each filter that a list may have."""

import asyncio
from bisect import bisect_left, insort
from itertools import islice
from typing import Protocol

from a2a_grpc.store.values import Position

BLOCK = 512
"""Positions in one block of a sorted list."""
MOVES_AT_ONCE = 400
"""Moves that are applied before the event loop goes on: about two milliseconds."""


class Placed(Protocol):
    """A task as far as its place in lists depends on it."""

    at_us: int
    context_id: str

    @property
    def state(self) -> int: ...


class Sorted:
    """Positions in ascending order, in blocks. An insertion moves one block only, also among many positions."""

    __slots__ = ("_blocks", "_lasts", "size")

    def __init__(self) -> None:
        self.size = 0
        self._blocks: list[list[Position]] = []
        self._lasts: list[Position] = []
        """The last position of each block."""

    def add(self, position: Position) -> None:
        self.size += 1
        if not self._blocks:
            self._blocks.append([position])
            self._lasts.append(position)
            return
        place = min(bisect_left(self._lasts, position), len(self._blocks) - 1)
        block = self._blocks[place]
        if position > block[-1]:  # what most are: a task moves to the end
            block.append(position)
        else:
            insort(block, position)
        if len(block) > 2 * BLOCK:
            self._blocks.insert(place + 1, block[BLOCK:])
            del block[BLOCK:]
            self._lasts.insert(place, block[-1])
            place += 1
        self._lasts[place] = self._blocks[place][-1]

    def remove(self, position: Position) -> None:
        self.size -= 1
        place = bisect_left(self._lasts, position)
        block = self._blocks[place]
        del block[bisect_left(block, position)]
        if block:
            self._lasts[place] = block[-1]
        else:
            del self._blocks[place], self._lasts[place]

    def rank(self, position: Position) -> int:
        """Return how many positions are before this one."""
        place = bisect_left(self._lasts, position)
        before = sum(map(len, islice(self._blocks, place)))
        return before + (bisect_left(self._blocks[place], position) if place < len(self._blocks) else 0)

    def between(self, start: int, stop: int) -> list[Position]:
        """Return the positions from one rank up to another."""
        found: list[Position] = []
        for block in self._blocks:
            if stop <= 0:
                break
            found += block[max(0, start) : stop]
            start, stop = start - len(block), stop - len(block)
        return found


class Order:
    """The lists of one scope: of all tasks, by context, by state and by both.

    An append only notes which task has moved. The moves are applied when a list is read, a bounded number at a time.
    """

    __slots__ = ("_lists", "_lock", "_placed", "moved", "tasks")

    def __init__(self) -> None:
        self.tasks = 0
        """Number of tasks in the scope."""
        self.moved: dict[str, Placed | None] = {}
        """The tasks that have moved since the moves were applied, by id; None for a task that was removed."""
        self._lists: dict[tuple[str, int], Sorted] = {}
        """By context and state; "" and 0 stand for any."""
        self._placed: dict[str, tuple[Position, str, int]] = {}
        """The place of each task in the lists, by id."""
        self._lock = asyncio.Lock()

    async def of(self, context_id: str, state: int) -> Sorted:
        """Return the list for a filter, with all moves applied. Nothing else has happened since when it returns."""
        while len(self.moved) > MOVES_AT_ONCE:
            async with self._lock:  # one reader applies moves, the others wait
                self._apply()
                await asyncio.sleep(0)
        self._apply()
        return self._lists.get((context_id, state)) or Sorted()

    def _apply(self) -> None:
        """Apply the oldest moves, at most MOVES_AT_ONCE."""
        for task_id in list(islice(self.moved, MOVES_AT_ONCE)):
            task = self.moved.pop(task_id)
            before = self._placed.pop(task_id, None)
            if before is not None:
                self._take_out(*before)
            if task is not None:
                placed = self._placed[task_id] = (Position(task.at_us, task_id), task.context_id, task.state)
                self._put_in(*placed)

    def _take_out(self, position: Position, context_id: str, state: int) -> None:
        for name in ((context_id, state), (context_id, 0), ("", state), ("", 0)):
            found = self._lists[name]
            found.remove(position)
            if not found.size:
                del self._lists[name]

    def _put_in(self, position: Position, context_id: str, state: int) -> None:
        for name in ((context_id, state), (context_id, 0), ("", state), ("", 0)):
            if (found := self._lists.get(name)) is None:
                found = self._lists[name] = Sorted()
            found.add(position)
