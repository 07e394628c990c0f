"""Shorten and limit gRPC's own log lines about what clients send or cut.

A kind of line is written once in a second, without traceback or payload.
"""

import asyncio
import logging
from types import TracebackType
from typing import Self

from a2a_grpc.throttle import Throttle

logger = logging.getLogger("a2a_grpc.listening")

GRPC = "grpc._cython.cygrpc"
"""The logger of grpc.aio."""

KNOWN = {
    "Invalid encoding on": "a text of gRPC, such as the metadata of a call, is not UTF-8; it is read as Latin-1",
    "ExecuteBatchError raised": "a call ended while it was being answered",
    "Failed sending error status": "a call ended while it was being refused",
    "Aborting method": "a call was open when gRPC stopped",
}
"""The beginnings of the lines that a client can cause, each with the text that is written instead."""


class QuietGrpc(logging.Filter):
    """While the block runs, lines of grpc.aio that a client can cause are rare and short. Other lines stay as they are.

    `with QuietGrpc(): …`
    """

    def __init__(self) -> None:
        super().__init__()
        self._throttle = Throttle(logger, 1.0)

    def __enter__(self) -> Self:
        logging.getLogger(GRPC).addFilter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger(GRPC).removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for a line that is written in other words, or counted."""
        if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
            self._throttle.warning("canceled", "a call was canceled before its handler started")
            return False
        for beginning, text in KNOWN.items():
            if isinstance(record.msg, str) and record.msg.startswith(beginning):
                self._throttle.warning(beginning, text)
                return False
        return True
