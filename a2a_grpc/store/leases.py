"""The replicas of one process, and the tasks that they hold."""

from collections.abc import Callable
from itertools import islice

from a2a_grpc.store.values import TaskKey


class Leases:
    """Keeps which replicas are alive, and which tasks each of them holds. `Coordination` documents the methods."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}  # of each replica that is alive
        self._held: dict[str, set[TaskKey]] = {}

    def __contains__(self, replica: str) -> bool:
        """Return True if the replica is alive."""
        return replica in self._until

    def join(self, replica: str, lease_s: float) -> None:
        self._until[replica] = self._clock() + lease_s

    def renew(self, replica: str, lease_s: float) -> bool:
        if replica not in self._until:
            return False
        now = self._clock()
        was_late = self._until[replica] < now
        self._until[replica] = now + lease_s
        for lapsed in [other for other, until in self._until.items() if until < now and not was_late]:
            self.leave(lapsed)
        return True

    def leave(self, replica: str) -> None:
        self._until.pop(replica, None)
        if not self._held.get(replica):
            self._held.pop(replica, None)

    def move(self, key: TaskKey, former: str, replica: str) -> None:
        """Record that a task goes from one replica to another one. "" stands for none."""
        if former:
            held = self._held[former]
            held.discard(key)
            if not held and former not in self._until:
                del self._held[former]
        if replica:
            self._held.setdefault(replica, set()).add(key)

    def orphaned(self, limit: int) -> list[TaskKey]:
        dead = (keys for replica, keys in self._held.items() if replica not in self._until)
        return list(islice((key for keys in dead for key in keys), limit))

    def claimed_by(self, replica: str) -> list[TaskKey]:
        return list(self._held.get(replica, ()))

    def clear(self) -> None:
        self._until.clear()
        self._held.clear()
