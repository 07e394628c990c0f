"""Read the addresses that a server listens on, and which of them ask callers for a client certificate."""

from collections.abc import Sequence
from typing import NamedTuple

from a2a_grpc.address import is_loopback, join_address, split_address
from a2a_grpc.config import ConfigurationError

TLS, MUTUAL_TLS = "/tls", "/mtls"
"""The endings of an address of `listen`. With them callers show no client certificate, or have to show one."""


class Listener(NamedTuple):
    """One address to listen on."""

    setting: str
    """The name of the setting that names the address."""
    host: str
    port: int
    ending: str = ""
    """The ending of the address in the setting: `TLS`, `MUTUAL_TLS`, or ""."""
    is_mutual: bool = False
    """True if callers must show a client certificate."""

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return join_address(self.host, self.port)

    @property
    def text(self) -> str:
        """The address as the setting names it."""
        return self.address + self.ending


def parse_listen(text: str, *, asks: bool) -> list[Listener]:
    """Return the addresses of the setting `listen`, in their order.

    Args:
        text: Addresses with commas between them.
        asks: True if there is a client CA, so that addresses without ending ask for client certificates.

    Raises:
        ConfigurationError: There is no address, one is malformed, or two have the same port.
    """
    listeners: list[Listener] = []
    for part in text.split(","):
        address, slash, ending = part.strip().partition("/")
        ending = slash + ending
        if ending not in ("", TLS, MUTUAL_TLS):
            raise ConfigurationError(f"listen is '{part.strip()}'; only {TLS} or {MUTUAL_TLS} may follow HOST:PORT")
        host, port = split_address("listen", address)
        is_mutual = ending == MUTUAL_TLS or (asks and ending != TLS)
        listeners.append(Listener("listen", host, port, ending, is_mutual))
    ports = [listener.port for listener in listeners if listener.port]
    if twice := next((port for port in ports if ports.count(port) > 1), None):
        # The connections of a port are found by its number, see `sockets`.
        raise ConfigurationError(
            f"listen is '{text}'; it names port {twice} twice: give each address a port of its own, or listen once on "
            "0.0.0.0 or [::] for all addresses of this machine"
        )
    return listeners


def check_listeners(listeners: Sequence[Listener], *, has_tls: bool, has_client_ca: bool, may_be_plain: bool) -> None:
    """Raise ConfigurationError for an address that lacks its certificates, or is plaintext beyond this machine.

    Args:
        listeners: The addresses of all settings.
        has_tls: True if the server has a certificate.
        has_client_ca: True if the server has a client CA.
        may_be_plain: True if plaintext is allowed everywhere.
    """
    for listener in listeners:
        name, said = listener.setting, listener.text
        if listener.ending and not has_tls:
            raise ConfigurationError(f"{name} is '{said}': give --tls-cert with --tls-key")
        if listener.ending == MUTUAL_TLS and not has_client_ca:
            raise ConfigurationError(f"{name} is '{said}': give --tls-client-ca, the CAs of client certificates")
        if not (has_tls or may_be_plain or is_loopback(listener.host)):
            raise ConfigurationError(
                f"{name} is '{said}': plaintext beyond this machine; give --tls-cert with --tls-key, or --insecure"
            )
    if has_client_ca and not any(listener.is_mutual for listener in listeners):
        said = ",".join(listener.text for listener in listeners if listener.setting == "listen")
        raise ConfigurationError(f"tls_client_ca is set, but listen is '{said}': no address asks for certificates")
