"""Share an amount fairly among the connected peers."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

from a2a_grpc.deadlines import Deadlines


class Shares:
    """Gives parts of a total to peers, and takes the parts back.

    Guarantees:

    - All peers together hold at most `total`, and one peer at most `per_peer`. A larger part is given if nothing else
      is held.
    - A peer for which `is_limited` returns True gets nothing while half of the total is held.
    - Of the peers that wait, the peer that holds least is served first. The parts of one peer are given in order.
    """

    def __init__(self, total: int, per_peer: int, *, is_limited: Callable[[str], bool] = lambda peer: False) -> None:
        self._is_limited = is_limited
        self.total = total
        self.per_peer = per_peer
        self.held = 0
        self._by_peer: dict[str, int] = {}
        self._waiting: dict[str, deque[tuple[int, asyncio.Future[bool]]]] = {}
        self._deadlines: Deadlines[asyncio.Future[bool]] = Deadlines(_too_late)

    @property
    def is_wanted(self) -> bool:
        """True while a peer waits."""
        return bool(self._waiting)

    @property
    def wanted(self) -> int:
        """The smallest of the parts that the waiting peers need next. 0 if no peer waits."""
        return min((line[0][0] for line in self._waiting.values()), default=0)

    def held_by(self, peer: str) -> int:
        return self._by_peer.get(peer, 0)

    def take(self, peer: str, size: int) -> bool:
        """Take a part at once. Return False if there is no room, or if other calls of the peer wait."""
        if peer in self._waiting or not self._fits(peer, size):
            return False
        self._give(peer, size)
        return True

    async def wait(self, peer: str, size: int, timeout_s: float) -> bool:
        """Wait for a part. Return False if there was no room in time (see `Deadlines`)."""
        place: tuple[int, asyncio.Future[bool]] = size, asyncio.get_running_loop().create_future()
        self._waiting.setdefault(peer, deque()).append(place)
        given = place[1]
        self._deadlines.add(given, timeout_s)
        is_given = False
        try:
            is_given = await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled() and given.result():
                self.give_back(peer, size)
            raise
        finally:
            self._deadlines.remove(given)
            if not is_given and place in self._waiting.get(peer, ()):
                self._leave(peer, place)
        return is_given

    def enlarge(self, peer: str, by: int) -> None:
        """Make a part larger that is held, even if there is no room."""
        self._give(peer, by)

    def give_back(self, peer: str, size: int) -> None:
        """Give a part back, or some of it. Then serve the peers that wait."""
        self.held -= size
        left = self._by_peer[peer] - size
        if left:
            self._by_peer[peer] = left
        else:
            del self._by_peer[peer]
        if self._waiting:
            self.serve()

    def _fits(self, peer: str, size: int) -> bool:
        if not self.held:
            return True
        if 2 * (self.held + size) > self.total and self._is_limited(peer):
            return False
        own = self._by_peer.get(peer, 0)
        return self.held + size <= self.total and (not own or own + size <= self.per_peer)

    def _give(self, peer: str, size: int) -> None:
        self.held += size
        self._by_peer[peer] = self._by_peer.get(peer, 0) + size

    def serve(self) -> None:
        """Give parts to the peers that wait, as far as there is room.

        While many peers wait, most calls give one part, so the search ends with the first peer that gets one.
        """
        while self._waiting and self.held < self.total:
            for peer in self._by_need():
                size, given = place = self._waiting[peer][0]
                if given.done():  # its call was canceled, or waited too long
                    self._leave(peer, place)
                    break
                if self._fits(peer, size):
                    self._give(peer, size)
                    given.set_result(True)
                    self._leave(peer, place)
                    break
            else:
                return

    def _by_need(self) -> Iterator[str]:
        """Yield the peers that wait: first those that hold nothing, then the others, those that hold least first."""
        holding = []
        for peer in self._waiting:
            if peer in self._by_peer:
                holding.append(peer)
            else:
                yield peer
        yield from sorted(holding, key=self.held_by)

    def _leave(self, peer: str, place: "tuple[int, asyncio.Future[bool]]") -> None:
        line = self._waiting[peer]
        line.remove(place)
        if not line:
            del self._waiting[peer]


def _too_late(given: "asyncio.Future[bool]") -> None:
    """Continue the call of a peer without its part."""
    if not given.done():
        given.set_result(False)
