"""The settings of a sentinel."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from a2a_grpc.address import is_wildcard, split_address
from a2a_grpc.arguments import checked
from a2a_grpc.config import ConfigurationError, documented, setting
from a2a_grpc.listening.listeners import Listener
from a2a_grpc.listening.settings import ListenSettings
from a2a_grpc.masking import mask_url

MiB = 1 << 20
OFF = "off"
"""The value of `http_listen` that switches HTTP off."""
_PLAIN = re.compile("[!-~]+")


@checked()
@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelSettings(ListenSettings):
    """Settings of a sentinel: addresses, TLS, limits of agents, calls and connections, shutdown."""

    listen: str = setting(
        "127.0.0.1:8000",
        "HOST:PORT for clients and agents; port 0 chooses a free port. Several addresses are separated by commas; "
        "HOST:PORT/tls asks for no client certificate although `tls_client_ca` is set.",
        repeated=True,
    )
    public_address: str = setting(
        "", "HOST:PORT that the cards of the agents name; by default the address that each agent has called."
    )
    http_listen: str = setting(
        "127.0.0.1:8500",
        "HOST:PORT for cards, the registry and probes over HTTP, or 'off'; port 0 chooses a free port.",
    )
    public_url: str = setting(
        "",
        "http(s):// URL at which clients reach HTTP, which catalogs name; by default the host that each request asks.",
    )
    card_max_age_s: int = setting(60, "Seconds that clients may cache the card of an agent.", minimum=0)
    route: str = setting(
        "",
        "ADDRESS=HOST:PORT of an agent that the sentinel calls itself; give the option again for more agents.",
        repeated=True,
    )
    route_card: str = setting(
        "",
        "ADDRESS=URL of the card of an agent of --route, or the path of its file, for the registry; give the option "
        "again for more agents.",
        repeated=True,
    )
    route_plaintext: bool = setting(False, "Call the agents of --route on other machines without TLS.")
    route_ca_cert: str | None = setting(
        None, "PEM file with the root certificates of the agents of --route; by default the system's roots."
    )
    route_connect_timeout_s: float = setting(
        5.0, "Seconds to reach an agent of --route, after which the call fails.", minimum=0.1
    )
    pass_credentials: bool = setting(
        False, "Pass the credentials of callers on to the agents, instead of principals that the sentinel has signed."
    )
    signing_key: str | None = setting(
        None,
        "PEM file with the Ed25519 private key that signs the principals of callers; by default a new key at each "
        "start.",
    )
    max_receive_bytes: int = setting(
        4 * MiB, "Largest size of a request, in bytes. The agents have limits of their own.", minimum=1024
    )
    max_send_bytes: int = setting(
        65 * MiB, "Largest size of a response, or of one element of a stream, in bytes.", minimum=1024
    )
    heartbeat_s: float = setting(
        20.0, "Largest time in seconds between two messages of a sentinel and an agent.", minimum=0.05, maximum=60
    )
    hold_s: float = setting(
        3600.0,
        "Seconds for which the address of an agent that has gone is held for the principal of the agent.",
        minimum=0,
    )
    store: str = setting(
        "memory:",
        "Store of the registry: memory:, sqlite:///FILE or postgresql://… (needs the extra 'postgres'); sentinels can "
        "share a database.",
    )
    peer_address: str = setting(
        "",
        "HOST:PORT at which the other sentinels of --store call this one; by default --public-address, or else "
        "--listen.",
    )
    peer_plaintext: bool = setting(False, "Call other sentinels on other machines without TLS.")
    peer_ca_cert: str | None = setting(
        None, "PEM file with the root certificates of the other sentinels; by default the system's roots."
    )
    peer_cert: str | None = setting(
        None, "PEM file with the certificate chain that this sentinel shows to other sentinels."
    )
    peer_key: str | None = setting(None, "PEM file with the private key of --peer-cert.")
    registry_lease_s: float = setting(
        15.0,
        "Seconds after which an agent that has registered and says nothing is removed, and so are the routes of a "
        "sentinel that was lost. Until then a list may show an agent whose calls are answered AGENT_NOT_ATTACHED.",
        minimum=1,
        maximum=3600,
    )
    max_entries: int = setting(100_000, "Largest number of entries of the registry.", minimum=1)
    drain_grace_s: float = setting(4.0, "Seconds that calls have to finish when the sentinel stops.", minimum=0)
    max_agents: int = setting(1000, "Agents that may be attached at the same time.", minimum=1)
    max_connections: int = setting(10_000, "Connections that may be open at the same time.", minimum=1)
    max_calls: int = setting(10_000, "Unary calls that may be open at the same time.", minimum=1)
    max_streams: int = setting(10_000, "Streams that may be open at the same time.", minimum=1)
    max_agent_calls: int = setting(10_000, "Calls that may be open at the same time to one agent.", minimum=1)

    def __post_init__(self) -> None:
        ListenSettings.__post_init__(self)
        if self.signing_key == "":
            raise ConfigurationError("signing_key is empty")
        if self.signing_key and self.pass_credentials:
            raise ConfigurationError(
                "signing_key and pass_credentials are both given; a sentinel that passes credentials on signs nothing"
            )
        if self.public_url:
            check_public_url(self.public_url)
        for name, callers in (("public_address", "clients"), ("peer_address", "other sentinels")):
            address = getattr(self, name)
            if address and is_wildcard(split_address(name, address)[0]):
                raise ConfigurationError(f"{name} is '{address}'; {callers} cannot call it")
        if self.peer_plaintext and (self.peer_ca_cert or self.peer_cert):
            raise ConfigurationError("--peer-plaintext and certificates exclude each other")
        if self.route_plaintext and self.route_ca_cert:
            raise ConfigurationError("--route-plaintext and --route-ca-cert exclude each other")
        if self.route_card and not self.public_address and is_wildcard(self.public_listeners[0].host):
            raise ConfigurationError(
                f"listen is '{self.listen}', and route_card is given: the cards would name this address, which clients "
                "cannot call; give --public-address HOST:PORT"
            )
        if self.has_peers and not (self.peer_address or self.public_address):
            listener = self.public_listeners[0]
            if is_wildcard(listener.host):
                raise ConfigurationError(
                    f"listen is '{self.listen}', and peer_address is missing: other sentinels of the store cannot call "
                    "this address; give --peer-address HOST:PORT"
                )

    @property
    def has_peers(self) -> bool:
        """True if other sentinels may share the store."""
        return not self.store.startswith("memory:")

    @property
    def listening(self) -> list[Listener]:
        """All addresses to listen on: those of `listen` first, then that of `http_listen` if any."""
        listeners = self.public_listeners
        if self.http_listen != OFF:
            listeners.append(Listener("http_listen", *split_address("http_listen", self.http_listen)))
        return listeners


def check_public_url(url: str) -> None:
    """Raise ConfigurationError if a text is no URL that catalogs can name."""
    try:
        parts = urlsplit(url)
        is_usable = (
            parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        is_usable = False
    if not is_usable or "@" in parts.netloc or parts.query or parts.fragment or not _PLAIN.fullmatch(url):
        raise ConfigurationError(
            f"public_url is '{mask_url(url)}'; it must be http(s)://HOST[:PORT][/PATH], without a query"
        )
    if is_wildcard(parts.hostname or ""):
        raise ConfigurationError(f"public_url is '{url}'; clients cannot call it")
