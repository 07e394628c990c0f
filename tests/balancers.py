"""Real load balancers before replicas and before a sentinel, with the configurations that servers/ has for them."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.harness import ROOT, eventually
from tests.ports import free_address
from tests.tools import find, need

CONFIGURATIONS = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "envoy": "envoy.yaml"}
ADDRESS = re.compile(r"[\d.]+:\d+")
SEPARATE = ("--concurrency", "1", "--disable-hot-restart")
"""Options of Envoy: without them two processes on one machine take each other for a restart."""


@asynccontextmanager
async def balancer(kind: str, replicas: dict[str, str]) -> AsyncIterator[str]:
    """Run a balancer with its checked-in configuration; give its address.

    `replicas` are gRPC addresses with their HTTP addresses. The configuration has three; those that are left over stay
    at ports where nothing listens.
    """
    address = free_address()
    places = [*replicas.items(), *((free_address(), free_address()) for _ in range(3 - len(replicas)))]
    moved = {"127.0.0.1:50051": address, "127.0.0.1:8080": free_address()}
    for number, (listen, http_listen) in enumerate(places, start=1):
        moved |= {f"127.0.0.1:5006{number}": listen, f"127.0.0.1:806{number}": http_listen}
    async with running(kind, ROOT / "servers/replicas" / CONFIGURATIONS[kind], moved, address):
        yield address


@asynccontextmanager
async def before_sentinel(kind: str, sentinel: str, *, timeout_s: int | None = None) -> AsyncIterator[str]:
    """Run a proxy before a sentinel with its checked-in configuration; give its address.

    `timeout_s` are seconds without data after which the proxy cuts a stream, instead of its defaults.
    """
    address = free_address()
    moved = {"127.0.0.1:9000": address, "127.0.0.1:8000": sentinel}
    if timeout_s is not None:
        shorter = ("grpc_read_timeout", "grpc_send_timeout", "client_body_timeout")
        moved["client_max_body_size 0;"] = " ".join(
            ["client_max_body_size 0;", *(f"{n} {timeout_s}s;" for n in shorter)]
        )
        moved |= {f"timeout {side} 50s": f"timeout {side} {timeout_s}s" for side in ("client", "server")}
        moved["stream_idle_timeout: 300s"] = f"stream_idle_timeout: {timeout_s}s"
    async with running(kind, ROOT / "servers/attached" / CONFIGURATIONS[kind], moved, address):
        yield address


@asynccontextmanager
async def running(kind: str, configuration: Path, moved: dict[str, str], address: str) -> AsyncIterator[None]:
    """Run a proxy until the block ends, with other text in the places of its configuration that `moved` names."""
    need(kind)
    moved = moved | {in_envoy(old): in_envoy(new) for old, new in moved.items() if ADDRESS.fullmatch(old)}
    text = re.sub("|".join(map(re.escape, moved)), lambda found: moved[found[0]], configuration.read_text())
    with TemporaryDirectory() as folder:
        path = Path(folder, configuration.name)
        path.write_text(text)
        options = {
            "nginx": ["-p", folder, "-c", str(path)],
            "haproxy": ["-db", "-f", str(path)],
            "envoy": ["-c", str(path), "--log-level", "warning", *SEPARATE],
        }[kind]
        with Path(folder, "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                find(kind, kind), *options, stdout=log, stderr=subprocess.STDOUT
            )
        try:

            async def listens() -> None:
                host, _, port = address.rpartition(":")
                try:
                    _, writer = await asyncio.open_connection(host, int(port))
                except OSError as error:
                    raise AssertionError(f"{kind} does not listen: {Path(folder, 'log').read_text()}") from error
                writer.close()

            await eventually(listens)
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def in_envoy(address: str) -> str:
    """Return HOST:PORT as a configuration of Envoy has it."""
    host, _, port = address.rpartition(":")
    return f"address: {host}, port_value: {port}"
