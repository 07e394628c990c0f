"""Open a bus by its URL."""

import logging
import os
import re
import socket

from a2a_grpc.bus.local import LocalBus
from a2a_grpc.bus.protocol import Bus
from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.sqlite_file import sqlite_file
from a2a_grpc.libpq import is_postgres
from a2a_grpc.masking import mask_url

logger = logging.getLogger("a2a_grpc.bus")

MACHINE_AT = re.compile(r"machine:(?://)?(/[^/].*)")
HAS_UNIX_SOCKETS = os.name == "posix" and hasattr(socket, "AF_UNIX")


def open_bus(url: str, store_url: str = "memory:") -> Bus:
    """Return the bus of a URL. It is not started yet.

    - `local:` wakes within one process.
    - `machine:` wakes the processes of one user that have the same SQLite file as their store. `machine:/DIRECTORY`
      chooses the directory for the sockets. By default it is in $XDG_RUNTIME_DIR, or among the temporary files.
    - `postgresql://…` wakes all processes that have a bus on the same database.
    - `auto`, or an empty URL, chooses the bus that fits the store.

    Raises:
        ConfigurationError: The URL names no bus, the bus does not fit the store, or a driver is missing.
    """
    if url in ("", "auto"):
        return _fitting(store_url)
    if url in ("local:", "local://"):
        return LocalBus()
    if url in ("machine:", "machine://") or MACHINE_AT.fullmatch(url):
        return _machine_bus(url, store_url)
    if is_postgres(url):
        return _postgres_bus(url)
    raise ConfigurationError(f"bus is '{mask_url(url)}'; it must be auto, local:, machine: or postgresql://…")


def _fitting(store_url: str) -> Bus:
    if is_postgres(store_url):
        return _postgres_bus(store_url)
    if sqlite_file(store_url) and HAS_UNIX_SOCKETS:
        try:
            return _machine_bus("auto", store_url)
        except ConfigurationError as error:  # one process needs no other bus, and several poll
            logger.warning("processes on this store cannot wake each other, so they poll it error=%s", error)
    return LocalBus()


def _machine_bus(url: str, store_url: str) -> Bus:
    if not HAS_UNIX_SOCKETS:
        raise ConfigurationError(f"bus is '{url}'; this platform has no unix sockets, use local:")
    file = sqlite_file(store_url)
    if not file:
        raise ConfigurationError(f"bus is '{url}'; it needs a store in an SQLite file, not '{mask_url(store_url)}'")
    from a2a_grpc.bus.directory import machine_directories
    from a2a_grpc.bus.machine import MachineBus

    chosen = MACHINE_AT.fullmatch(url)
    return MachineBus(*machine_directories(file, chosen[1] if chosen else ""))


def _postgres_bus(url: str) -> Bus:
    try:
        from a2a_grpc.bus.postgres import PostgresBus  # the driver is in an extra
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise ConfigurationError(
            f"bus is '{mask_url(url)}'; it needs asyncpg: pip install \"a2a-grpc[postgres]\""
        ) from error
    return PostgresBus(url)
