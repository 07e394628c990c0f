"""Callers with client certificates."""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from a2a_grpc.auth.protocol import EXPIRED, CallCredentials, Certificate, Refused
from a2a_grpc.config import ConfigurationError
from a2a_grpc.principal import Principal
from a2a_grpc.wire import MutualTlsSecurityScheme, SecurityScheme

if TYPE_CHECKING:
    from cryptography import x509

METHOD = "certificate"
SCHEME = "mutual_tls"
LEEWAY_S = 60.0
"""The time in seconds for which an open connection may go on after the end of its certificate."""
REMEMBERED = 1024
"""The number of certificates that are remembered, so that each is parsed once and not at each call."""
MAX_NAME_CHARS = 2048
"""The length of the longest name that a caller may have, which is that of a SPIFFE ID."""

_SPIFFE_ID = re.compile(r"spiffe://([a-z0-9._-]{1,255})((?:/(?!\.\.?(?:/|$))[A-Za-z0-9._-]+)*)")


class ClientCertificates:
    """An authenticator of callers with a client certificate, which TLS has verified.

    The name of the caller is the SPIFFE ID of the certificate, else its first DNS name, else its common name. A
    certificate with several SPIFFE IDs, or without any name, is refused.

    The issuer of the principal is the trust domain of a SPIFFE ID, such as "spiffe://example.org". For another name it
    is the kind of the name and the name of the CA, such as "dns:CN=Clients,O=Example". So a DNS name and an equal
    common name are two callers, and so are equal names of two CAs. A certificate that is renewed by a CA of another
    name is another caller, except with a SPIFFE ID.

    Each CA of `tls_client_ca` can issue a certificate with any name. Name only CAs there that may do so.

    Args:
        tenants: The tenants of each caller, by its name, with DNS names in small letters. A caller that is not named
            may use none. By default each caller may use all tenants.
        scopes: The scopes of each caller, by its name.

    Raises:
        ConfigurationError: The package "cryptography" is not installed.
    """

    def __init__(
        self,
        *,
        tenants: Mapping[str, Sequence[str]] | None = None,
        scopes: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        check_installed()
        self._tenants = None if tenants is None else {name: frozenset(of) for name, of in tenants.items()}
        self._scopes = {name: frozenset(of) for name, of in (scopes or {}).items()}
        self._principal = lru_cache(REMEMBERED)(self._principal_of)

    async def __call__(self, credentials: CallCredentials, /) -> Principal | None:
        """Return the caller that a certificate names, or None without a certificate.

        Args:
            credentials: The metadata, the certificate and the address of the call.

        Raises:
            Refused: The certificate has expired, or names no caller.
        """
        if credentials.certificate is None:
            return None
        principal = self._principal(credentials.certificate)
        if principal.expires_at is not None and time.time() > principal.expires_at:
            raise Refused("expired certificate", EXPIRED)
        return principal

    def schemes(self) -> Mapping[str, SecurityScheme]:
        """Return the scheme for the agent card."""
        described = MutualTlsSecurityScheme(description="A client certificate (mutual TLS).")
        return {SCHEME: SecurityScheme(mtls_security_scheme=described)}

    def challenge(self) -> str:
        """Return "", since no header carries a certificate."""
        return ""

    def _principal_of(self, certificate: Certificate) -> Principal:
        issuer, name = identity(certificate)
        return Principal(
            subject=name,
            method=METHOD,
            issuer=issuer,
            tenants=None if self._tenants is None else self._tenants.get(name, frozenset()),
            scopes=self._scopes.get(name, frozenset()),
            expires_at=None if certificate.expires_at is None else certificate.expires_at + LEEWAY_S,
        )


def identity(certificate: Certificate) -> tuple[str, str]:
    """Return the issuer and the name of the caller with a certificate.

    Args:
        certificate: A certificate that TLS has verified.

    Raises:
        Refused: The certificate has several SPIFFE IDs, one that is malformed, or no usable name.
    """
    if spiffe := [uri for uri in certificate.uris if uri[:7].lower() == "spiffe:"]:
        if len(spiffe) > 1:
            raise Refused("several SPIFFE IDs")
        found = _SPIFFE_ID.fullmatch(spiffe[0])
        if found is None or len(spiffe[0]) > MAX_NAME_CHARS:
            raise Refused("malformed SPIFFE ID")
        return f"spiffe://{found[1]}", spiffe[0]
    kind, name = ("dns", certificate.dns[0].lower()) if certificate.dns else ("cn", certificate.common_name)
    if not name:
        raise Refused("certificate without name")
    if not name.isprintable() or len(name) > MAX_NAME_CHARS:
        raise Refused("malformed name")
    return f"{kind}:{certificate.issuer}", name


def certificate_of(auth_context: Mapping[str, Iterable[bytes]]) -> Certificate | None:
    """Return the client certificate of a connection, or None if the connection has none.

    A certificate that cannot be parsed has no names. gRPC offers the names, too, and is not asked for them: it cuts
    them off at a zero byte, so that "bank.example\\0.evil.example" would be "bank.example".

    Args:
        auth_context: What `context.auth_context()` of gRPC returns.
    """
    pems = auth_context.get("x509_pem_cert")
    return _parsed(next(iter(pems))) if pems else None


def check_installed() -> None:
    """Raise ConfigurationError if the package "cryptography" is not installed."""
    try:
        import cryptography.x509  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigurationError('client certificates need cryptography: pip install "a2a-grpc[auth]"') from error


@lru_cache(REMEMBERED)
def _parsed(pem: bytes) -> Certificate:
    from cryptography import x509

    try:
        parsed = x509.load_pem_x509_certificate(pem)
        names = _alternative_names(parsed)
        common = parsed.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return Certificate(
            common_name=str(common[0].value) if len(common) == 1 else "",
            dns=tuple(names.get_values_for_type(x509.DNSName)),
            uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
            issuer=parsed.issuer.rfc4514_string(),
            expires_at=parsed.not_valid_after_utc.timestamp(),
            pem=pem,
        )
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return Certificate(pem=pem)


def _alternative_names(parsed: "x509.Certificate") -> "x509.SubjectAlternativeName":
    from cryptography import x509

    try:
        return parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])
