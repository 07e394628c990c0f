"""The settings of a client."""

from dataclasses import dataclass

from a2a_grpc.arguments import checked
from a2a_grpc.config import ConfigurationError, check_ranges, documented, setting

MiB = 1 << 20


@checked()
@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Settings of a client: connections, TLS, time limits, retries."""

    timeout_s: float = setting(30.0, "Seconds for a unary call with its retries; streams have no limit.", minimum=0.001)
    connect_timeout_s: float = setting(5.0, "Seconds to reach an agent for the first time.", minimum=0.001)
    give_up_after_s: float = setting(
        300.0, "Seconds without contact to the agent after which a call or a stream fails; 0: at once.", minimum=0
    )
    subscribe_timeout_s: float = setting(
        30.0,
        "Seconds to wait for the first event of a subscription; then the connection counts as lost.",
        minimum=0.001,
    )
    max_lost_streams: int = setting(
        5,
        "Number of connections that one wait for a task may lose before it polls the task instead of following it.",
        minimum=1,
    )
    callback_look_s: float = setting(
        300.0,
        "Seconds between two looks at a task whose callback is awaited, since callbacks can be lost; 0: never.",
        minimum=0,
    )
    max_retries: int | None = setting(
        None, "Number of retries of a unary call; by default as many as its time allows.", minimum=0
    )
    retry_initial_s: float = setting(0.1, "Seconds before the first retry; later retries wait longer.", minimum=0.001)
    retry_maximum_s: float = setting(5.0, "Largest time between two retries, in seconds.", minimum=0.001)
    plaintext: bool = setting(False, "Connect to other machines without TLS.")
    ca_cert: str | None = setting(
        None, "PEM file with the root certificates to check the agent's certificate; by default the system's roots."
    )
    client_cert: str | None = setting(
        None, "PEM file with the certificate chain of this client; it is read again when it changes."
    )
    client_key: str | None = setting(None, "PEM file with the private key of this client.")
    authority: str | None = setting(
        None, "Host name that the agent's certificate must have; by default that of the target."
    )
    any_card_host: bool = setting(
        False, "Accept an agent card that names a gRPC interface on another host than the card's own."
    )
    tenant: str | None = setting(
        None, "Tenant of each request; by default the one that the agent card names.", is_text=True
    )
    sentinel: str | None = setting(
        None, "HOST:PORT of the sentinel at which agents with addresses such as name@domain are called."
    )
    keepalive_s: float = setting(
        0.0,
        "Seconds of silence after which the agent is pinged; 0: never; many gRPC servers allow only 300 or more.",
        minimum=0,
    )
    calls_per_connection: int = setting(
        90, "Calls that may be open at the same time on one connection; more calls open another connection.", minimum=1
    )
    max_response_bytes: int = setting(
        66 * MiB,
        "Largest size of a response, of one element of a stream, or of a followed task, in bytes.",
        minimum=1024,
    )
    max_response_fields: int = setting(
        1_000_000,
        "Largest number of protobuf fields of a response, of one element of a stream, or of a task.",
        minimum=1000,
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        if bool(self.client_cert) != bool(self.client_key):
            missing = "client_key" if self.client_cert else "client_cert"
            raise ConfigurationError(f"{missing} is missing; a certificate and its key come together")
        if self.plaintext and (self.ca_cert or self.client_cert):
            raise ConfigurationError("plaintext and certificates exclude each other")
