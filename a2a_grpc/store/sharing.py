"""A name for a store, the same in every process that can use the same store."""

import hashlib
import json
import os
import platform
import uuid
from pathlib import Path

from a2a_grpc.address import is_loopback

PORTS = {"postgresql": "5432", "mysql": "3306"}
NAME_CHARS = 32


def shared_name(url: str) -> str:
    """Return a name for the store of a URL. Return "" if no other process can use the store.

    Two processes get the same name only if their URLs name the same store: the same file on the same machine, or the
    same database. A database that two URLs name differently has two names. The name holds no random part, and no
    user or password can be read from the name.

    Args:
        url: The URL of a store.

    Raises:
        ConfigurationError: The URL names no store.
    """
    if url.partition(":")[0] == "memory":
        return ""
    from a2a_grpc.database.urls import DatabaseUrl  # imports SQLAlchemy

    database = DatabaseUrl.parse(url)
    if database.dialect == "sqlite":
        file = Path(database.path).resolve()
        try:
            folder = file.parent.stat()
        except OSError:
            return ""
        return _hashed(["sqlite", _machine(), folder.st_dev, folder.st_ino, file.name])
    named = database.engine_url
    default = f":{PORTS[database.dialect]}"
    said = [database.dialect, [_where(host.lower().removesuffix(default)) for host in database.hosts], named.database]
    if database.dialect == "postgresql":
        said += [database.schema] if database.schema else ["", named.username]  # the search path may name the user
    socket = named.query.get("unix_socket", "")
    return _hashed([*said, _where(str(socket)) if socket else ""])


def _hashed(said: list[object]) -> str:
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:NAME_CHARS]


def _where(host: str) -> list[object]:
    """Return what tells a host from others: a loopback address is another one on each machine."""
    if host.startswith("/"):
        folder = os.stat(host) if os.path.exists(host) else None
        return [host, _machine(), *((folder.st_dev, folder.st_ino) if folder else ())]
    if not host or is_loopback(host.partition(":")[0]) or host.startswith("["):
        return [host, _machine(), _network()]
    return [host]


def _machine() -> str:
    """Return what tells this machine from others, until it starts again."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"{platform.node()} {uuid.getnode()}"


def _network() -> int:
    """Return what tells the network of this container from that of others on the same machine; 0 if unknown."""
    try:
        return os.stat("/proc/self/ns/net").st_ino
    except OSError:
        return 0
