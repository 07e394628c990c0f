"""The signatures of notifications, as Standard Webhooks has them: `v1` with a secret, `v1a` with a key (ed25519)."""

import base64
import hashlib
import hmac
import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from a2a_grpc.config import ConfigurationError
from a2a_grpc.push.key_file import read_key_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

JWKS_PATH = "/.well-known/jwks.json"
"""The path at which a server publishes the public keys of its notifications, as a JSON web key set (RFC 7517)."""

MAX_FILE_BYTES = 64 * 1024
_BEGIN = b"-----BEGIN "


def check_installed(*packages: str) -> None:
    """Raise ConfigurationError if a package that signs or verifies notifications is not installed.

    Args:
        *packages: The names with which the packages are imported.
    """
    for package in packages:
        if find_spec(package) is None:
            name = {"jwt": "PyJWT"}.get(package, package)
            raise ConfigurationError(f'push notifications need {name}: pip install "a2a-grpc[push]"')


def signed_content(webhook_id: str, timestamp: int | str, body: bytes) -> bytes:
    """Return the bytes that a signature is of.

    Args:
        webhook_id: The header `webhook-id`.
        timestamp: The header `webhook-timestamp`.
        body: The body of the request.
    """
    return f"{webhook_id}.{timestamp}.".encode() + body


def secret_signature(secret: bytes, content: bytes) -> str:
    """Return the signature `v1` of a content with a secret (HMAC with SHA-256)."""
    return f"v1,{base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode()}"


class SigningKey:
    """The key with which a server signs notifications (ed25519), and the keys that it publishes.

    Args:
        keys: The keys. The first one signs. The others are published, so that notifications that were signed before a
            change of the key can be verified.
    """

    def __init__(self, keys: "list[Ed25519PrivateKey]") -> None:
        self._first = keys[0]
        self._published = [_jwk(key) for key in keys]

    @classmethod
    def from_file(cls, path: Path) -> "SigningKey":
        """Read a file in PEM with one key or more. If the file does not exist, make it, with mode 0600.

        Programs that share the file, and start at the same time, get the same key.

        Args:
            path: The file.

        Raises:
            ConfigurationError: The file cannot be read or written, or has no such key.
        """
        check_installed("cryptography")
        return cls(_keys(path, read_key_file("push_signing_key", path, _new_key, most=MAX_FILE_BYTES)))

    @classmethod
    def read(cls, path: Path) -> "SigningKey":
        """Read a file in PEM with one key or more, which has to exist.

        Args:
            path: The file.

        Raises:
            ConfigurationError: The file cannot be read, or has no such key.
        """
        check_installed("cryptography")
        return cls(_keys(path, read_key_file("push_signing_key", path, None, most=MAX_FILE_BYTES)))

    @property
    def key_id(self) -> str:
        """The id of the key that signs."""
        return self._published[0]["kid"]

    def sign(self, content: bytes) -> str:
        """Return the signature `v1a` of a content."""
        return f"v1a,{base64.b64encode(self._first.sign(content)).decode()}"

    def jwks(self) -> bytes:
        """Return the public keys as a JSON web key set."""
        return json.dumps({"keys": self._published}).encode()


def _new_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return (
        Ed25519PrivateKey.generate()
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def _keys(path: Path, content: bytes) -> "list[Ed25519PrivateKey]":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    keys = []
    for block in content.split(_BEGIN)[1:]:
        try:
            key = load_pem_private_key(_BEGIN + block, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ConfigurationError(f"push_signing_key {path}: it has a block that is no private key") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigurationError(f"push_signing_key {path}: it has a key that is not of the kind ed25519")
        keys.append(key)
    if not keys:
        raise ConfigurationError(
            f"push_signing_key {path}: it has no private key; `openssl genpkey -algorithm ed25519` makes one"
        )
    return keys


def _jwk(key: "Ed25519PrivateKey") -> dict[str, str]:
    """Return the public part of a key. Its id is its thumbprint (RFC 7638)."""
    from cryptography.hazmat.primitives import serialization

    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    members = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(raw)}
    digest = hashlib.sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode()).digest()
    return {**members, "kid": _base64url(digest), "use": "sig", "alg": "EdDSA"}


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
