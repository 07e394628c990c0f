"""The settings of a server, and the limits of requests."""

from dataclasses import dataclass

from a2a_grpc.address import is_wildcard, join_address, split_address
from a2a_grpc.arguments import checked
from a2a_grpc.auth.keyfile import tenant_problem
from a2a_grpc.config import ConfigurationError, check_ranges, documented, setting
from a2a_grpc.harmless import one_line
from a2a_grpc.listening.listeners import Listener
from a2a_grpc.listening.settings import ListenSettings
from a2a_grpc.logical import is_logical
from a2a_grpc.text import MAX_CHARS, flaw

MiB = 1 << 20
OFF = "off"
MAX_ADDRESS_CHARS = 300
"""Characters of an advertised address. The name of a host has 253 at most (RFC 1035, section 2.3.4)."""
SHOWN_CHARS = 80
"""Characters of a wrong value in its error."""


@checked()
@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings(ListenSettings):
    """Settings of a server: addresses, TLS, the store, limits of calls and connections, shutdown."""

    listen: str = setting(
        "127.0.0.1:50051",
        "HOST:PORT for gRPC; port 0 chooses a free port. Several addresses are separated by commas; "
        "HOST:PORT/tls asks for no client certificate although `tls_client_ca` is set.",
        repeated=True,
    )
    http_listen: str = setting("127.0.0.1:8080", "HOST:PORT for the agent card and probes, or 'off'.")
    admin_listen: str = setting(
        OFF, "HOST:PORT of a second gRPC port, to which health, reflection and channelz move, or 'off'."
    )
    store: str = setting(
        "memory:",
        "URL of the task store: memory:, sqlite:///FILE, postgresql://… or mysql://…; the default of `serve` is "
        "sqlite:///AGENT.tasks.db.",
    )
    bus: str = setting(
        "auto", "URL of the bus, which notifies other processes of changes; 'auto' chooses the bus that fits the store."
    )
    advertise: str | None = setting(
        None,
        "HOST:PORT that the agent card names; by default the listening address, or on 0.0.0.0 and [::] the host of the "
        "request for the card.",
    )
    tenant: str = setting("", "Tenant that the agent card names.", is_text=True, variable="A2A_GRPC_CARD_TENANT")
    only_tenant: bool = setting(False, "Refuse requests for any other tenant than `tenant`.")
    lenient_version: bool = setting(False, "Accept calls without the metadata 'a2a-version', for example from grpcurl.")
    cancel_on_disconnect: bool = setting(False, "Cancel the task of a send or stream if its caller disconnects.")
    drain_grace_s: float = setting(
        4.0,
        "Seconds that handlers have to finish when the server stops; together with `cancel_grace_s` this has to be "
        "shorter than the time that the platform gives (Docker: 10, Kubernetes: 30).",
        minimum=0,
    )
    max_connections: int = setting(
        0, "Connections that each gRPC port may have; 0: as many as the limit of open files allows.", minimum=0
    )
    max_calls: int = setting(10_000, "Unary calls that may be open at the same time.", minimum=1)
    max_streams: int = setting(10_000, "Streams that may be open at the same time.", minimum=1)
    max_bytes_in_flight: int = setting(
        256 * MiB, "Largest size of all requests in progress together, in bytes.", minimum=1024
    )
    max_response_bytes_in_flight: int = setting(
        32 * MiB,
        "Largest size of all responses that clients have not read yet, in bytes; one connection may have half of it.",
        minimum=1024,
    )
    unread_response_s: float = setting(
        5.0, "Seconds a client may leave a response unread while other calls wait for memory.", minimum=0.1
    )
    request_timeout_s: float = setting(60.0, "Seconds a request may take to arrive.", minimum=0.1)
    card_max_age_s: int = setting(60, "Seconds that clients may cache the agent card.", minimum=0)
    reuse_port: bool = setting(False, "Share the port with other worker processes.")
    workers: int = setting(1, "Processes that serve the agent on one port.", minimum=1, maximum=4096)
    uvloop: bool = setting(False, "Use uvloop, a faster event loop.")

    def __post_init__(self) -> None:
        ListenSettings.__post_init__(self)
        if self.advertise is not None:
            advertised(self.advertise)
        if problem := flaw(self.tenant) or tenant_problem(self.tenant):
            raise ConfigurationError(f"tenant is '{one_line(self.tenant, SHOWN_CHARS)}'; it {problem}")

    @property
    def names_asked_host(self) -> bool:
        """True if the agent card names the host of the request for the card.

        This is the case if the server listens on every address of its machine and `advertise` is not set.
        """
        return self.advertise is None and is_wildcard(self.listening[0].host)

    @property
    def listening(self) -> list[Listener]:
        """The addresses to listen on: those of `listen` in their order, then those of the other settings if any."""
        listeners = self.public_listeners
        for name in ("admin_listen", "http_listen"):
            if (address := getattr(self, name)) != OFF:
                listeners.append(Listener(name, *split_address(name, address)))
        return listeners


def advertised(url: str) -> str:
    """Return the HOST:PORT that an agent card names, which is without a scheme (spec §4.4.6).

    Args:
        url: HOST:PORT, or a URL such as `grpc://host` or `https://host/path`.

    Raises:
        ConfigurationError: The URL has an unknown scheme, no host, or a host that cannot be one.
    """
    if not (url.isascii() and url.isprintable() and " " not in url and len(url) <= MAX_ADDRESS_CHARS):
        raise ConfigurationError(
            f"advertise is '{one_line(url, SHOWN_CHARS)}'; it must have printable ASCII characters only, and "
            f"{MAX_ADDRESS_CHARS} at most"
        )
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


def callback_endpoint(settings: ServerSettings, address: str) -> str:
    """Return the endpoint at which other agents call this server back; "" if none is known.

    An agent behind a sentinel is called at its logical address there.

    Args:
        settings: The settings of the server.
        address: The address that the agent card names.
    """
    if is_logical(settings.tenant):
        return settings.tenant
    if settings.names_asked_host or address.startswith("unix:"):
        return ""
    return f"{'grpcs' if settings.tls_cert or settings.tls_terminated else 'grpc'}://{address}"


@checked()
@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """Limits of one request."""

    max_id_chars: int = setting(
        MAX_CHARS, "Largest length of an id or a tenant, in characters.", minimum=16, maximum=MAX_CHARS
    )
    max_parts: int = setting(1000, "Largest number of parts of a message.", minimum=1)
    max_part_metadata_keys: int = setting(1000, "Largest number of metadata keys of all parts of a message.", minimum=1)
    max_metadata_bytes: int = setting(16 * 1024, "Largest size of a metadata field, in bytes.", minimum=16)
    max_metadata_keys: int = setting(
        200, "Largest number of keys of a metadata field, with those of nested objects.", minimum=1
    )
    max_data_values: int = setting(20_000, "Largest number of JSON values in the data parts of a message.", minimum=1)
    max_references: int = setting(
        100, "Largest number of reference task ids, extensions or output modes of a message.", minimum=1
    )

    def __post_init__(self) -> None:
        check_ranges(self)
