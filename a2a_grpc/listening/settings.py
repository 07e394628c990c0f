"""The settings of gRPC ports that a server and a sentinel share: addresses, TLS, services for operators."""

from collections.abc import Collection
from dataclasses import dataclass

from a2a_grpc.address import is_loopback
from a2a_grpc.arguments import checked
from a2a_grpc.config import ConfigurationError, check_ranges, documented, flag_of, setting
from a2a_grpc.listening.listeners import Listener, check_listeners, parse_listen


@checked()
@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class ListenSettings:
    """Settings of gRPC ports."""

    listen: str = setting(
        "127.0.0.1:0",
        "HOST:PORT for gRPC; port 0 chooses a free port. Several addresses are separated by commas; "
        "HOST:PORT/tls asks for no client certificate although `tls_client_ca` is set.",
        repeated=True,
    )
    tls_cert: str | None = setting(None, "PEM file with the certificate chain; with it, gRPC and HTTP use TLS.")
    tls_key: str | None = setting(None, "PEM file with the private key of the certificate.")
    tls_client_ca: str | None = setting(
        None,
        "PEM file with the CAs of client certificates; with it, gRPC on the addresses of `listen` accepts only "
        "callers with such a certificate.",
    )
    insecure: bool = setting(False, "Allow connections without TLS from other machines.")
    tls_terminated: bool = setting(
        False,
        "Allow connections without TLS also if callers send credentials, because a proxy in front of the server ends "
        "TLS and no other program reaches the port.",
    )
    reflection: bool = setting(True, "Serve gRPC reflection, so that grpcurl needs no files.")
    health: bool = setting(True, "Serve grpc.health.v1, the health service of gRPC.")
    channelz: bool = setting(False, "Serve channelz, gRPC's own figures of its connections and calls.")
    metrics: bool = setting(
        False, "Show metrics for Prometheus at /metrics of the HTTP port; this needs the extra `prometheus`."
    )
    end_floods: bool = setting(
        True, "End connections that keep the process busy with frames that are no calls (Linux, grpcio 1.84 or newer)."
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        if bool(self.tls_cert) != bool(self.tls_key):
            missing = "tls_key" if self.tls_cert else "tls_cert"
            raise ConfigurationError(f"{flag_of(missing)} is missing; a certificate and its key come together")
        if self.tls_client_ca == "":
            raise ConfigurationError("tls_client_ca is empty")
        if self.tls_client_ca is not None and not self.tls_cert:
            raise ConfigurationError(
                "--tls-cert is missing; tls_client_ca asks for client certificates, which need TLS"
            )
        check_listeners(
            self.listening,
            has_tls=bool(self.tls_cert),
            has_client_ca=self.tls_client_ca is not None,
            may_be_plain=self.insecure or self.tls_terminated,
        )

    @property
    def public_listeners(self) -> list[Listener]:
        """The addresses of `listen`, in their order."""
        return parse_listen(self.listen, asks=self.tls_client_ca is not None)

    @property
    def listening(self) -> list[Listener]:
        """All addresses to listen on: those of `listen` first."""
        return self.public_listeners


def check_credentials_are_encrypted(server: ListenSettings, names: Collection[str] = ("listen",)) -> None:
    """Check the addresses of a server that authenticates its callers.

    Args:
        server: The settings.
        names: The settings whose addresses are checked. At the admin port no caller has to send credentials.

    Raises:
        ConfigurationError: Credentials would be sent in plaintext beyond this machine.
    """
    if server.tls_cert or server.tls_terminated:
        return
    for listener in server.listening:
        if listener.setting in names and not is_loopback(listener.host):
            raise ConfigurationError(
                f"{listener.setting} is '{listener.text}': callers would send their credentials in plaintext beyond "
                "this machine; give --tls-cert with --tls-key, or --tls-terminated if a proxy in front of the server "
                "ends TLS"
            )
