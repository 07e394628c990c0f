"""The side of a worker: what its supervisor has ordered, how it tells it what happens, how it notices its end."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

Tell = Callable[[str, Mapping[str, Any]], None]
"""Takes an event's name with its values."""

VARIABLE = "A2A_GRPC_WORKER"
"""Holds the orders of a process that is a worker; what it starts itself does not inherit it."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What a supervisor says to a worker."""

    line: int
    """File descriptor of a socket to the supervisor: events go there, one JSON object a line. It ends with the
    supervisor."""
    settings: dict[str, Any]
    """Settings that count before all others."""
    patience_s: float
    """How long the worker may take to drain."""

    def environment(self) -> dict[str, str]:
        """The variables of the worker."""
        return {**os.environ, VARIABLE: json.dumps(asdict(self))}


class Worker:
    """This process, if it is a worker.

    Guarantees: once the supervisor is gone the process drains, as after SIGTERM, and takes no longer than it may.
    """

    def __init__(self, orders: Orders) -> None:
        self.settings = orders.settings
        self._patience_s = orders.patience_s
        self._line = socket.socket(fileno=orders.line)
        self._line.set_inheritable(False)
        # A thread, as the agent may take its time to load, and may keep the event loop busy.
        threading.Thread(target=self._watch, name="a2a-grpc-supervisor", daemon=True).start()

    @classmethod
    def of_environment(cls) -> "Worker | None":
        """This process as a worker; None if nobody has ordered it to be one."""
        orders = os.environ.pop(VARIABLE, None)
        return None if orders is None else cls(Orders(**json.loads(orders)))

    def tell(self, event: str, values: Mapping[str, Any]) -> None:
        """Tells the supervisor, if it is still there."""
        with suppress(OSError):
            self._line.sendall(json.dumps({"event": event, **values}).encode() + b"\n")

    def _watch(self) -> None:
        with suppress(OSError):
            while self._line.recv(1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self._patience_s)
        os._exit(1)
