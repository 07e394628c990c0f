"""Where the processes of one machine meet that share a database file."""

import hashlib
import os
import tempfile
from pathlib import Path

from a2a_grpc.config import ConfigurationError

MAX_PATH_BYTES = 103
"""Of the address of a socket, on the strictest of the platforms."""
SOCKET_BYTES = 24
"""Room in it for what a socket is called in its directory."""


def machine_directory(database: str) -> Path:
    """A directory for the sockets of this user's processes: the same one for every path to a database file.

    It is in the user's runtime directory, which nobody else can write to, or among the temporary files; processes with
    different ones do not meet. Raises ConfigurationError where there is neither.
    """
    parent = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    is_ours = parent.is_absolute() and parent.is_dir() and parent.stat().st_uid == os.getuid()
    if not is_ours or not os.access(parent, os.W_OK):
        try:
            parent = Path(tempfile.gettempdir())
        except FileNotFoundError as error:
            raise ConfigurationError("the bus finds no directory that it can write to: set XDG_RUNTIME_DIR") from error
    meant = f"{os.getuid()}:{os.path.realpath(database)}"
    name = "a2a-grpc-" + hashlib.blake2b(os.fsencode(meant), digest_size=10).hexdigest()
    if len(os.fsencode(parent / name)) + SOCKET_BYTES > MAX_PATH_BYTES:
        parent = Path("/tmp")
    return parent / name
