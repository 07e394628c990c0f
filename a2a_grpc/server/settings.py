"""Where a server listens and how it behaves."""

from dataclasses import dataclass

from a2a_grpc.address import is_loopback, is_wildcard, join_address, split_address
from a2a_grpc.arguments import checked
from a2a_grpc.config import ConfigurationError, check_ranges, setting

MiB = 1 << 20
OFF = "off"


@checked()
@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Addresses, encryption, admission, the end."""

    listen: str = setting("127.0.0.1:50051", "HOST:PORT for gRPC; port 0 takes a free one.")
    http_listen: str = setting("127.0.0.1:8080", "HOST:PORT for the agent card and probes, or 'off'.")
    admin_listen: str = setting(
        OFF, "HOST:PORT of a second gRPC port, to which health, reflection and channelz move; or 'off'."
    )
    store: str = setting(
        "memory:",
        "URL of the task store: memory:, sqlite:///FILE, postgresql://…, mysql://…; "
        "programs keep tasks in AGENT.tasks.db unless told otherwise.",
    )
    bus: str = setting("auto", "URL of the bus between processes; 'auto' is what fits the store.")
    advertise: str | None = setting(
        None,
        "HOST:PORT that the agent card names, if it is not the listening one; without it, a server on 0.0.0.0 or [::] "
        "names the host that the card is asked at.",
    )
    tenant: str = setting("", "Tenant that the agent card's interface names.")
    only_tenant: bool = setting(False, "Refuse requests for any other tenant than that.")
    tls_cert: str | None = setting(None, "PEM file with the certificate chain; with it, both listeners speak TLS.")
    tls_key: str | None = setting(None, "PEM file with the certificate's private key.")
    insecure: bool = setting(False, "Allow plaintext beyond loopback.")
    lenient_version: bool = setting(False, "Accept calls without 'a2a-version', as hand-made ones are.")
    reflection: bool = setting(True, "Serve reflection, so that grpcurl needs no files.")
    health: bool = setting(True, "Serve grpc.health.v1.")
    channelz: bool = setting(False, "Serve channelz: gRPC's own figures of its connections and calls.")
    cancel_on_disconnect: bool = setting(False, "Cancel the task of a send whose caller goes away.")
    drain_grace_s: float = setting(
        4.0,
        "Seconds that runs have to finish once the server is told to stop; with --cancel-grace-s they have to fit into "
        "the time that the platform gives (Docker: 10, Kubernetes: 30).",
        minimum=0,
    )
    max_connections: int = setting(
        0, "Connections that each gRPC port may have; 0 for as many as file descriptors allow.", minimum=0
    )
    max_calls: int = setting(10_000, "Unary calls that may be open.", minimum=1)
    max_streams: int = setting(10_000, "Streams that may be open.", minimum=1)
    max_bytes_in_flight: int = setting(256 * MiB, "Size of all requests being served.", minimum=1024)
    max_response_bytes_in_flight: int = setting(
        32 * MiB, "Size of all responses that clients have not read yet; half of it for one connection.", minimum=1024
    )
    unread_response_s: float = setting(
        5.0, "Seconds a client may leave a response unread while other calls wait for room.", minimum=0.1
    )
    request_timeout_s: float = setting(60.0, "Seconds a request may take to arrive.", minimum=0.1)
    end_floods: bool = setting(
        True, "End connections that keep the process busy with frames that are no calls (Linux, grpcio 1.84 or newer)."
    )
    card_max_age_s: int = setting(60, "Seconds the agent card may be cached.", minimum=0)
    reuse_port: bool = setting(False, "Share the port with other worker processes.")
    workers: int = setting(1, "Processes that share the port.", minimum=1)
    uvloop: bool = setting(False, "Run programs on uvloop, a faster event loop.")

    def __post_init__(self) -> None:
        check_ranges(self)
        if bool(self.tls_cert) != bool(self.tls_key):
            missing = "tls_key" if self.tls_cert else "tls_cert"
            raise ConfigurationError(
                f"--{missing.replace(chr(95), chr(45))} is missing; a certificate and its key come together"
            )
        for name, address in self.listening:
            host, _ = split_address(name, address)
            if not (self.tls_cert or self.insecure or is_loopback(host)):
                raise ConfigurationError(
                    f"{name} is '{address}': plaintext beyond this machine; "
                    "give --tls-cert with --tls-key, or --insecure"
                )

    @property
    def names_asked_host(self) -> bool:
        """True if the agent card names the host that it is asked at: the server listens on every address of its
        machine, and was given none to advertise."""
        return self.advertise is None and is_wildcard(split_address("listen", self.listen)[0])

    @property
    def listening(self) -> list[tuple[str, str]]:
        """The settings that name an address to listen on, with it; those that are off left out."""
        names = ("listen", "admin_listen", "http_listen")
        return [(name, address) for name in names if (address := getattr(self, name)) != OFF]


def advertised(url: str) -> str:
    """The `host:port` that a card names, from it or from a URL such as `grpc://host`, `https://host/path` (CARD-8)."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        host, port = split_address("advertise", url)
        return join_address(host, port)
    ports = {"http": 80, "https": 443, "grpc": 50051, "grpcs": 443}
    if scheme not in ports:
        raise ConfigurationError(f"advertise is '{url}'; its scheme must be one of {', '.join(ports)}")
    authority = rest.partition("/")[0]
    if not authority.endswith("]") and ":" in authority.rpartition("]")[2]:
        host, port = split_address("advertise", authority)
        return join_address(host, port)
    if not authority:
        raise ConfigurationError(f"advertise is '{url}'; it names no host")
    return f"{authority}:{ports[scheme]}"
