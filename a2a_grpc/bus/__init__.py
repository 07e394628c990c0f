"""How followers learn that a log has grown: the `Bus`, in this process or between processes, chosen by URL.

protocol   what a bus is
open       a bus by its URL
topic      what the listeners of one key wait on
local      wakes in one process
shared     what the buses between processes share
machine    wakes between the processes of one machine
peer       their sockets
directory  the directory in which these processes meet
postgres   wakes through PostgreSQL
"""

from a2a_grpc.bus.local import LocalBus
from a2a_grpc.bus.open import open_bus
from a2a_grpc.bus.protocol import Bus
from a2a_grpc.bus.topic import Topic

__all__ = ["Bus", "LocalBus", "Topic", "open_bus"]
