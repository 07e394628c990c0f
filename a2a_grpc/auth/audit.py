"""The audit log: one line of JSON for each call."""

import json
import logging
import os
import queue
import stat
import sys
from datetime import UTC, datetime
from io import BufferedWriter, FileIO, TextIOWrapper
from logging.handlers import QueueHandler, QueueListener, WatchedFileHandler

from a2a_grpc.config import ConfigurationError
from a2a_grpc.principal import Principal
from a2a_grpc.throttle import Throttle

logger = logging.getLogger("a2a_grpc.auth")

PRIVATE = 0o600
STREAMS = ("/dev/stdout", "/dev/stderr")
"""Files that need not be regular, for servers whose platform collects what they print."""
MAX_WAITING = 100_000
"""Lines that may wait for the disk. A server whose disk is slower than that loses lines, and its log says so."""


class AuditLog:
    """Writes who called what, and how the call ended. It writes no content and no credentials.

    A thread writes the lines, so that a slow disk does not stop the server. The file is made with mode 0600. It may be
    renamed while the server runs (logrotate); then the next line begins a new file. Several processes may share it.
    """

    def __init__(self, path: str) -> None:
        """Open the file. Raise ConfigurationError if it cannot be written."""
        try:
            _check(path)
            file = _PrivateFile(path)
        except OSError as error:
            raise ConfigurationError(f"audit_log is '{path}'; it cannot be written: {error.strerror}") from error
        file.setFormatter(logging.Formatter("%(message)s"))
        waiting: queue.Queue[logging.LogRecord] = queue.Queue(MAX_WAITING)
        self._logger = logging.Logger("a2a_grpc.audit")
        self._logger.addHandler(_Lines(waiting))
        self._file = file
        self._listener = QueueListener(waiting, file)
        self._listener.start()

    def record(
        self, *, method: str, principal: Principal | None, task: str, outcome: str, peer: str, pseudonym: str = ""
    ) -> None:
        """Write the line of one call.

        Args:
            method: The full name of the RPC.
            principal: The caller; None if it was refused.
            task: The id of the task that the call was about; empty if it was about none.
            outcome: The gRPC status of the call, for example "OK".
            peer: The address of the caller, as gRPC names it.
            pseudonym: The text that stands for the caller in the other logs.
        """
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "method": method, "outcome": outcome}
        line |= {"task": task, "peer": peer}
        if principal is not None:
            line |= {"caller": principal.method, "issuer": principal.issuer, "subject": principal.subject}
            line |= {"actor": principal.actor, "tenant": principal.tenant}
            line["principal"] = pseudonym
        self._logger.info(json.dumps({name: value for name, value in line.items() if value}))

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._listener.stop()
        self._file.close()


class _Lines(QueueHandler):
    """Hands lines to the thread that writes them. Does not wait if the queue is full."""

    def __init__(self, waiting: "queue.Queue[logging.LogRecord]") -> None:
        super().__init__(waiting)
        self._lines = Throttle(logger)

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put a line into the queue, or say in the log that the line is lost."""
        try:
            super().enqueue(record)
        except queue.Full:
            self._lines.error("lost", "a line of the audit log was lost, because the disk is too slow")


class _PrivateFile(WatchedFileHandler):
    """A log file that is made with mode 0600, and made again if it was renamed."""

    def __init__(self, path: str) -> None:
        super().__init__(path, encoding="utf-8")
        self._lines = Throttle(logger)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line. If the file was renamed and no other one can be opened, the next line tries again."""
        try:
            super().emit(record)
        except OSError:  # it would end the thread, and with it the audit log
            self.handleError(record)

    def _open(self) -> TextIOWrapper:
        return TextIOWrapper(BufferedWriter(FileIO(self.baseFilename, "a", opener=_private)), encoding=self.encoding)

    def handleError(self, record: logging.LogRecord) -> None:
        """Say in the log that a line could not be written."""
        error = sys.exception()
        self._lines.error(
            "unwritten", "a line of the audit log could not be written file=%s error=%r", self.baseFilename, error
        )


def _check(path: str) -> None:
    """Raise ConfigurationError for a pipe, whose opening may never end, or a device, which keeps no lines."""
    if path in STREAMS or not os.path.exists(path):
        return
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ConfigurationError(f"audit_log is '{path}'; it must be a regular file, or {' or '.join(STREAMS)}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE)
