"""How followers learn that a log has grown: the `Bus`, in this process or between processes, chosen by URL."""

from a2a_grpc.bus.local import LocalBus
from a2a_grpc.bus.open import open_bus
from a2a_grpc.bus.protocol import Bus
from a2a_grpc.bus.topic import Topic

__all__ = ["Bus", "LocalBus", "Topic", "open_bus"]
