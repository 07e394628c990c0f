"""Certificates for tests: a CA, and what it issues with any names and times."""

import datetime
import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

DAY = datetime.timedelta(days=1)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes

    def write(self, folder: Path, name: str = "tls") -> tuple[Path, Path]:
        """Write both files, each at once, as `NAME.crt` and `NAME.key`. Return their paths."""
        folder.mkdir(exist_ok=True)
        return write(folder / f"{name}.crt", self.certificate), write(folder / f"{name}.key", self.key)


def write(path: Path, content: bytes) -> Path:
    """Write a file in one step, so that no reader sees half of it."""
    part = path.with_suffix(".part")
    part.write_bytes(content)
    os.replace(part, path)
    return path


def _name(common_name: str, *others: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, each) for each in (common_name, *others) if each])


@dataclass(frozen=True)
class Authority:
    """A CA, which issues certificates."""

    name: str = "Clients"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def pem(self) -> bytes:
        made = (
            self._begun(_name(self.name), self.key, now() - DAY, now() + DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        return made.public_bytes(Encoding.PEM)

    def issue(
        self,
        common_name: str = "",
        *others: str,
        dns: tuple[str, ...] = (),
        uris: tuple[str, ...] = (),
        begins: datetime.timedelta = -DAY,
        ends: datetime.timedelta = DAY,
    ) -> Pair:
        """Return a new certificate with its key, valid from and to these times from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._begun(_name(common_name, *others), key, now() + begins, now() + ends)
        if names := [*map(x509.DNSName, dns), *map(x509.UniformResourceIdentifier, uris)]:
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=not common_name)
        return Pair(
            made.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )

    def _begun(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, begins: datetime.datetime, ends: datetime.datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(_name(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
        )
