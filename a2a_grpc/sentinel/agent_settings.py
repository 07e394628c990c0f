"""The settings of an agent that attaches to a sentinel, or registers at one."""

from dataclasses import dataclass

from a2a_grpc.arguments import checked
from a2a_grpc.client.target import shown
from a2a_grpc.config import ConfigurationError, check_ranges, documented, setting
from a2a_grpc.sentinel.registrable import name_flaw, url_flaw


@checked()
@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class AttachSettings:
    """Settings of an agent that attaches to a sentinel."""

    attach: str = setting("", "HOST:PORT of the sentinel to attach to; several with commas between them.")
    address: str = setting("", "Logical address of the agent at the sentinel: NAME@DOMAIN or NAME@DOMAIN/PATH.")
    attach_max_age_s: float = setting(
        0.0,
        "Seconds after which the agent opens a new tunnel and lets the former one end, shorter than the timeouts of "
        "proxies; 0: never.",
        minimum=0,
    )
    shared_store: str = setting(
        "",
        "Name of the agent's store, the same for all agents that share it and an address; by default made from --store "
        "if others can share it.",
        is_text=True,
    )
    fail_fast: bool = setting(False, "End at once if the agent cannot be attached; by default it tries again.")
    replace: bool = setting(False, "Replace the agent that is attached at the address, if it has the same principal.")
    attach_plaintext: bool = setting(False, "Attach to a sentinel on another machine without TLS.")
    attach_ca_cert: str | None = setting(
        None, "PEM file with the root certificates of the sentinel; by default the system's roots."
    )
    attach_cert: str | None = setting(
        None,
        "PEM file with the certificate chain that the agent shows to the sentinel; it is read again when it changes.",
    )
    attach_key: str | None = setting(None, "PEM file with the private key of this certificate.")
    attach_token_file: str | None = setting(
        None, "File with the token that the agent shows to the sentinel, as 'authorization: Bearer TOKEN'."
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        check_shown("attach", self.attach_plaintext, self.attach_ca_cert, self.attach_cert, self.attach_key)


def check_shown(name: str, plaintext: bool, ca_cert: str | None, cert: str | None, key: str | None) -> None:
    """Raise ConfigurationError, which names the options, if TLS settings of an agent do not fit each other.

    Args:
        name: The beginning of the names of the settings.
        plaintext: True if TLS is off.
        ca_cert: The file with root certificates.
        cert: The file with the certificate that the agent shows.
        key: The file with the key of the certificate.
    """
    if bool(cert) != bool(key):
        missing = "key" if cert else "cert"
        raise ConfigurationError(f"--{name}-{missing} is missing; a certificate and its key come together")
    if plaintext and (ca_cert or cert):
        raise ConfigurationError(f"--{name}-plaintext and certificates exclude each other")


@checked()
@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterSettings:
    """Settings of an agent that registers, so that clients find it and call it directly."""

    register: str = setting("", "HOST:PORT of the sentinel in whose registry clients find the agent.")
    register_as: str = setting("", "Name in the registry, without '@'; by default the name of the agent.")
    register_url: str = setting(
        "", "URL of the card, or address of the gRPC, that the registry gives to clients; by default this server's."
    )
    register_plaintext: bool = setting(False, "Register at a sentinel on another machine without TLS.")
    register_ca_cert: str | None = setting(
        None, "PEM file with the root certificates of the registry; by default the system's roots."
    )
    register_cert: str | None = setting(
        None,
        "PEM file with the certificate chain that the agent shows to the registry; it is read again when it changes.",
    )
    register_key: str | None = setting(None, "PEM file with the private key of this certificate.")
    register_token_file: str | None = setting(
        None, "File with the token that the agent shows to the registry, as 'authorization: Bearer TOKEN'."
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        check_shown("register", self.register_plaintext, self.register_ca_cert, self.register_cert, self.register_key)
        if self.register_as and (said := name_flaw(self.register_as)):
            raise ConfigurationError(f"register_as is '{shown(self.register_as)}': {said}")
        if self.register_url and (said := url_flaw(self.register_url)):
            raise ConfigurationError(f"register_url is '{shown(self.register_url)}': {said}")
