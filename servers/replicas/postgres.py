"""Run a temporary PostgreSQL from the system's programs, in a directory that is removed at the end."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any


@asynccontextmanager
async def postgres() -> AsyncIterator[str]:
    """Yield the URL of an empty database, which is gone at the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="replicas-"))
    # It refuses to run as root; Debian's packages bring a user.
    options: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL}
    if os.geteuid() == 0:
        options |= {"user": "postgres", "group": "postgres", "extra_groups": []}
        shutil.chown(folder, "postgres", "postgres")
    port = free_port()
    try:
        initdb = [program("initdb"), "--auth=trust", "--username=demo", "--no-sync", "data"]
        await asyncio.to_thread(subprocess.run, initdb, check=True, **options)
        settings = [f"--unix_socket_directories={folder}", "--listen_addresses=127.0.0.1", f"--port={port}"]
        server = await asyncio.create_subprocess_exec(
            program("postgres"), "-D", "data", *settings, stderr=subprocess.DEVNULL, **options
        )
        try:
            is_ready = [program("pg_isready"), "--host=127.0.0.1", f"--port={port}", "--quiet"]
            while (await (await asyncio.create_subprocess_exec(*is_ready)).wait()) != 0:
                if server.returncode is not None:
                    raise OSError("PostgreSQL does not start")
                await asyncio.sleep(0.05)
            yield f"postgresql://demo@127.0.0.1:{port}/postgres"
        finally:
            if server.returncode is None:
                server.send_signal(signal.SIGINT)  # a fast shutdown
            await server.wait()
    finally:
        shutil.rmtree(folder)


def program(name: str) -> str:
    """Return the path of a program of PostgreSQL. Raise OSError, which says what to install."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(map(str, reversed(folders))))
    if found is None:
        raise OSError(f"there is no '{name}' here; install postgresql, or give --store postgresql://…")
    return found


def free_port() -> int:
    """Return a port that no process listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
