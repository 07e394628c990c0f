"""What a bus is: the seam between what changes and whoever waits for changes."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias

from a2a_grpc.bus.topic import Topic

Key: TypeAlias = str | tuple[str, ...]
"""What is listened to: a task's key, or a name."""


class Bus(Protocol):
    """Tells listeners that there may be something new. Used in one event loop.

    Guarantees:

    - A wake carries nothing, never blocks and never raises.
    - A wake of a key reaches its listeners in this process at once, whatever the state of the bus.
    - It reaches those in other processes soon, without polling, and invalidates what they know. It may be lost or
      doubled on the way there. So whoever listens looks again now and then, even if nobody wakes it.
    - A key that nobody listens to costs nothing but the wake itself.
    """

    @property
    def is_healthy(self) -> bool:
        """Whether wakes of other processes arrive now."""

    async def start(self) -> None:
        """Begins to tell other processes, and to hear them. Raises ConfigurationError for a bus that cannot be used as
        it is; one that is out of reach for now is reached later."""

    async def stop(self) -> None:
        """Tells what is still to be told, within seconds; then tells and hears other processes no more."""

    def wake(self, key: Key) -> None:
        """Wakes the listeners of a key, here and in other processes."""

    def wake_all(self) -> None:
        """Wakes the listeners of every key in this process, to look for themselves."""

    def listen(self, key: Key) -> AbstractContextManager[Topic]:
        """The topic of a key, for as long as the block runs."""

    def keys(self) -> Iterable[Key]:
        """The keys that somebody in this process listens to, as they are now."""

    def __len__(self) -> int:
        """How many those are."""
