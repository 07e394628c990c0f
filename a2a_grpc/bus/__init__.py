"""How followers learn that a log has grown: the `Bus` in this process, chosen by URL."""

from a2a_grpc.bus.local import LocalBus, Topic
from a2a_grpc.bus.open import open_bus

__all__ = ["LocalBus", "Topic", "open_bus"]
