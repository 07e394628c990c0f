"""How a client connects, how long it waits, how patient it is."""

from dataclasses import dataclass

from a2a_grpc.arguments import checked
from a2a_grpc.config import ConfigurationError, check_ranges, documented, setting

MiB = 1 << 20


@checked()
@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Connection, encryption, patience."""

    timeout_s: float = setting(
        30.0, "Seconds for a unary call, its retries included; streams have no limit.", minimum=0.001
    )
    connect_timeout_s: float = setting(5.0, "Seconds to reach an agent for the first time.", minimum=0.001)
    give_up_after_s: float = setting(
        300.0, "Seconds without contact after which a call or a stream is given up; 0 for at once.", minimum=0
    )
    subscribe_timeout_s: float = setting(
        30.0, "Seconds for the first event of a subscription; then the connection counts as lost.", minimum=0.001
    )
    max_retries: int | None = setting(
        None, "Times a unary call is tried again; by default as often as its time allows.", minimum=0
    )
    retry_initial_s: float = setting(0.1, "Seconds before the first retry; later ones wait longer.", minimum=0.001)
    retry_maximum_s: float = setting(5.0, "Seconds between retries, at most.", minimum=0.001)
    plaintext: bool = setting(False, "Speak plaintext beyond loopback.")
    ca_cert: str | None = setting(None, "PEM file with the roots that the agent's certificate is checked against.")
    client_cert: str | None = setting(None, "PEM file with this client's certificate chain.")
    client_key: str | None = setting(None, "PEM file with this client's private key.")
    authority: str | None = setting(None, "Host name that the agent's certificate must have, if not the target's.")
    any_card_host: bool = setting(False, "Accept a card whose gRPC interface is on another host than the card.")
    tenant: str | None = setting(None, "Tenant of every request, where it is not the one the card names.")
    keepalive_s: float = setting(
        0.0,
        "Seconds of silence after which the agent is pinged, 0 for never; stock servers want 300 or more.",
        minimum=0,
    )
    calls_per_connection: int = setting(
        90, "Calls open at a time on one connection; for more, another connection is opened.", minimum=1
    )
    max_response_bytes: int = setting(
        66 * MiB, "Size of a response, of one element of a stream, or of a task as its events make it.", minimum=1024
    )
    max_response_fields: int = setting(
        1_000_000, "Protobuf fields of a response, of one element of a stream, or of a task.", minimum=1000
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        if bool(self.client_cert) != bool(self.client_key):
            missing = "client_key" if self.client_cert else "client_cert"
            raise ConfigurationError(f"{missing} is missing; a certificate and its key come together")
        if self.plaintext and (self.ca_cert or self.client_cert):
            raise ConfigurationError("plaintext and certificates exclude each other")
