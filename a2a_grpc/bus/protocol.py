"""Define what a bus is, which wakes the listeners of a key after a change."""

from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias

from a2a_grpc.bus.topic import Topic

Key: TypeAlias = str | tuple[str, ...]
"""What listeners listen to: the key of a task, or a name."""


class Bus(Protocol):
    """A means to wake listeners because there may be something new. It is used in one event loop.

    Guarantees:

    - A wake carries nothing, never blocks and never raises.
    - A wake of a key reaches its listeners in this process at once, in every state of the bus.
    - A wake reaches listeners in other processes soon, without polling, and invalidates what they know. It may be lost
      or doubled on the way there, so each listener also polls now and then.
    - A key without listeners costs nothing except the wake itself.
    """

    @property
    def is_healthy(self) -> bool:
        """True while wakes of other processes arrive."""

    async def start(self) -> None:
        """Begin to wake other processes, and to be woken by them. A bus that is out of reach now is reached later.

        Raises:
            ConfigurationError: The bus cannot be used as it is configured.
        """

    async def stop(self) -> None:
        """Send the wakes that wait, within seconds. After that, neither wake other processes nor be woken by them."""

    def wake(self, key: Key) -> None:
        """Wake the listeners of a key, in this process and in others."""

    def wake_all(self) -> None:
        """Wake the listeners of every key in this process, so that they read the store again."""

    def listen(self, key: Key) -> AbstractContextManager[Topic]:
        """Return a block that listens to a key, and gives its topic."""

    def __len__(self) -> int:
        """Return the number of keys that have listeners in this process."""
