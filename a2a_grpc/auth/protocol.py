"""The seam of authentication: what a call shows of its caller, and the functions that turn it into a principal."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

from a2a_grpc.principal import Principal
from a2a_grpc.wire import SecurityScheme

INVALID = "invalid_token"
EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Certificate:
    """The client certificate of a connection. TLS has verified that its CA signed it.

    Attributes:
        common_name: The common name of the subject; empty if the certificate has none or several.
        dns: The DNS names among the subject's alternative names, in their order.
        uris: The URIs among the subject's alternative names, in their order.
        issuer: The name of the CA (RFC 4514), for example "CN=Clients,O=Example".
        expires_at: The Unix time in seconds at which the certificate ends; None if that is not known.
        pem: The certificate itself, in PEM.
    """

    common_name: str = ""
    dns: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    issuer: str = ""
    expires_at: float | None = None
    pem: bytes = b""


class CallCredentials(NamedTuple):
    """What one call shows of its caller.

    Attributes:
        method: The full name of the RPC, for example "/lf.a2a.v1.A2AService/GetTask".
        metadata: The values of the call's metadata by name, in small letters. A name that ends with "-bin" has bytes.
        certificate: The client certificate of the connection, if there is one.
        peer: The address of the connection, as gRPC names it, for example "ipv4:192.0.2.1:50000".
    """

    method: str = ""
    metadata: Mapping[str, tuple[str | bytes, ...]] = MappingProxyType({})
    certificate: Certificate | None = None
    peer: str = ""


class Refused(Exception):
    """The credentials of a call are not valid.

    An authenticator raises this. The caller gets UNAUTHENTICATED with one text for all reasons; the reason goes to the
    log.

    Args:
        reason: What is wrong, for the log, in a few words, for example "audience". It must hold nothing of the
            credentials.
        problem: "invalid_token" or "expired", for the caller.
    """

    def __init__(self, reason: str, problem: str = INVALID) -> None:
        super().__init__(reason)
        self.reason = reason
        self.problem = problem


class Authenticator(Protocol):
    """An async function that finds out who calls.

    It returns None if the call shows no credentials of its kind; then the next authenticator is asked. It raises
    `Refused` if the credentials are of its kind and not valid, and UnavailableError if that cannot be found out now.
    It must not keep the credentials, nor write them to a log.
    """

    async def __call__(self, credentials: CallCredentials, /) -> Principal | None:
        """Return the caller of one call, or None if the call shows no credentials of this kind.

        Args:
            credentials: The metadata, the certificate and the address of the call.
        """
        ...


@runtime_checkable
class Described(Protocol):
    """An authenticator that the agent card can describe."""

    def schemes(self) -> Mapping[str, SecurityScheme]:
        """Return the security schemes by the names that the card gives them; each one alone is enough (spec §4.5)."""
        ...

    def challenge(self) -> str:
        """Return the scheme for `www-authenticate`, such as "Bearer"; empty if no header can carry the credentials."""
        ...


@runtime_checkable
class Opened(Protocol):
    """An authenticator that holds files or connections while the server runs."""

    async def open(self) -> None:
        """Read what is needed before the first call. Raise ConfigurationError if it cannot be used."""
        ...

    async def close(self) -> None:
        """Release what `open` has taken."""
        ...


@runtime_checkable
class Vouching(Authenticator, Described, Protocol):
    """An authenticator of a private socket. It may begin to name callers while the server runs."""

    @property
    def is_vouching(self) -> bool:
        """True if each call on the socket has to name its caller. False if the server's authenticators rule."""
        ...
