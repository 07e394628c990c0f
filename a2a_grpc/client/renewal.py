"""Notice that the certificates of a client were replaced."""

import logging
import time

from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.watched import LOOK_EVERY_S, Watched

logger = logging.getLogger("a2a_grpc.client")


class Renewal:
    """The TLS files of a client: its certificate, its key, and the roots that it trusts.

    The files are looked at when a call begins, once in `LOOK_EVERY_S` at most. Without files nothing is looked at.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._paths = [path for path in (settings.ca_cert, settings.client_cert, settings.client_key) if path]
        self._watched = Watched(*self._paths)
        self._look_at = time.monotonic() + LOOK_EVERY_S
        self._logged = ""

    def is_due(self, *, at_once: bool = False) -> bool:
        """Return True if the files differ from those in use. After that, call `used` or `failed`.

        With `at_once` the files are looked at in any case.
        """
        if not self._paths or (time.monotonic() < self._look_at and not at_once):
            return False
        self._look_at = time.monotonic() + LOOK_EVERY_S
        return self._watched.has_changed()

    def used(self) -> None:
        """Note that a channel uses the files as they were at the last look, or later."""
        self._watched.use()
        self._logged = ""
        logger.info("TLS files read again files=%s", ",".join(self._paths))

    def failed(self, error: Exception) -> None:
        """Note that the files cannot be used. The next look tries again. The log has a line for each new reason."""
        if str(error) != self._logged:
            self._logged = str(error)
            logger.warning("TLS files not read again, the former ones remain in use: error=%s", error)
