"""nginx, HAProxy and Envoy with the files of deploy/, before replicas: only addresses and certificates are others."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import trustme

from a2a_grpc import Client, connect
from tests.balancers import CONFIGURATIONS, running
from tests.harness import ROOT
from tests.ports import free_address

DEPLOY = ROOT / "deploy"
TIMEOUTS = {
    "nginx": ("grpc_read_timeout 1h", "grpc_send_timeout 1h"),
    "haproxy": ("timeout client 1h", "timeout server 1h"),
    "envoy": ("stream_idle_timeout: 3600s",),
}
"""The places in the files that say after how long a silence a stream is cut."""


class Front:
    """The address of a proxy that ends TLS, and what trusts its certificate."""

    def __init__(self, address: str, certificates: Path) -> None:
        self.address = address
        self.ca_cert = certificates / "ca.pem"

    def connect(self, **settings: Any) -> Client:
        """Return a client with its defaults."""
        return connect(f"grpcs://{self.address}", ca_cert=str(self.ca_cert), **settings)

    def channel(self) -> grpc.aio.Channel:
        """Return a plain channel, as generated code uses it."""
        return grpc.aio.secure_channel(self.address, grpc.ssl_channel_credentials(self.ca_cert.read_bytes()))


def issue(folder: Path) -> None:
    """Write a certificate for this machine, in the files that the configurations name, and its CA."""
    ca = trustme.CA()
    certificate = ca.issue_cert("127.0.0.1", "localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "tls.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    certificate.private_key_pem.write_to_path(folder / "tls.key")
    ca.cert_pem.write_to_path(folder / "ca.pem")


@asynccontextmanager
async def deployed(
    kind: str, replicas: dict[str, str], folder: Path, *, cut_after_s: int | None = None
) -> AsyncIterator[Front]:
    """Run a proxy of deploy/ before replicas, gRPC addresses with their HTTP addresses.

    The file has three replicas. Those that are left over stay at ports where nothing listens. `cut_after_s` are seconds
    of silence after which the proxy cuts a stream, instead of those of the file.
    """
    folder.mkdir(exist_ok=True)
    issue(folder)
    address = free_address()
    moved = {
        "bind :443": f"bind {address}",
        "listen 443": f"listen {address}",
        "0.0.0.0:443": address,
        "/etc/a2a-agent/": f"{folder}/",
    }
    if os.geteuid():
        moved |= {"    user haproxy\n": "", "    group haproxy\n": ""}  # only root may become another user
    places = [*replicas.items(), *((free_address(), free_address()) for _ in range(3 - len(replicas)))]
    for number, (listen, http_listen) in enumerate(places, start=1):
        moved |= {f"127.0.0.1:5006{number}": listen, f"127.0.0.1:806{number}": http_listen}
        moved[f"port 806{number}"] = f"port {http_listen.rpartition(':')[2]}"
    if cut_after_s is not None:
        text = (DEPLOY / CONFIGURATIONS[kind]).read_text()
        for place in TIMEOUTS[kind]:
            assert place in text
            moved[place] = f"{place.rpartition(' ')[0]} {cut_after_s}s"
    async with running(kind, DEPLOY / CONFIGURATIONS[kind], moved, address):
        yield Front(address, folder)
