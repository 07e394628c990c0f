"""A process that is one of the workers of a server: its orders, its events, and the end of its supervisor."""

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from a2a_grpc.loglines.pseudonyms import VARIABLE as LOG_KEY
from a2a_grpc.loglines.pseudonyms import log_key
from a2a_grpc.loglines.stalled import takes_more

Reporter = Callable[[str, Mapping[str, Any]], None]
"""A function that reports an event, for example "ready", with its values."""

VARIABLE = "A2A_GRPC_WORKER"
"""The variable with the orders of a worker. Processes that the worker starts do not inherit it."""


@dataclass(frozen=True, slots=True)
class Orders:
    """The orders that a supervisor gives to a worker.

    Attributes:
        line: The file descriptor of a socket to the supervisor. The worker writes its events to this socket, each as
            a line of JSON. The socket is closed when the supervisor ends.
        settings: Settings that count before all others.
        drain_s: The time in seconds that the worker has to drain.
    """

    line: int
    settings: dict[str, Any]
    drain_s: float

    def environment(self) -> dict[str, str]:
        """Return the environment variables of the worker."""
        return {**os.environ, VARIABLE: json.dumps(asdict(self)), LOG_KEY: log_key()}


class Worker:
    """This process, if it is a worker.

    Guarantees:

    - If the supervisor ends, this process drains as after SIGTERM. It ends after `Orders.drain_s` at the latest.
    """

    def __init__(self, orders: Orders) -> None:
        self.settings = orders.settings
        self._drain_s = orders.drain_s
        self._line = socket.socket(fileno=orders.line)
        self._line.set_inheritable(False)
        # A thread, because an agent that is loading, or that blocks the event loop, would delay a task of the loop.
        threading.Thread(target=self._watch, name="a2a-grpc-supervisor", daemon=True).start()

    @classmethod
    def of_environment(cls) -> "Worker | None":
        """Return this process as a worker, or None if the environment has no orders."""
        orders = os.environ.pop(VARIABLE, None)
        return None if orders is None else cls(Orders(**json.loads(orders)))

    def report(self, event: str, values: Mapping[str, Any]) -> None:
        """Send an event to the supervisor, if it still runs."""
        with suppress(OSError):
            self._line.sendall(json.dumps({"event": event, **values}).encode() + b"\n")

    def _watch(self) -> None:
        with suppress(OSError):
            while self._line.recv(1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self._drain_s)
        os._exit(1)


def report_if_read(report: Reporter, event: str, values: Mapping[str, Any]) -> None:
    """Report an event. If standard output is a pipe that is closed, or that nothing reads, nothing is reported."""
    with suppress(OSError):
        if takes_more(sys.stdout):
            report(event, values)
