"""The public keys of a JSON web key set (RFC 7517)."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from a2a_grpc.config import ConfigurationError

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""The algorithms with a private and a public key, in which a token can be signed."""

MAX_KEYS = 100
MIN_RSA_BITS = 2048
MIN_PYJWT = (2, 13)

_RSA = frozenset(ALGORITHMS[:6])
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA", "Ed448": "EdDSA"}
_PUBLIC = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
"""The members that make a public key, by the kind of the key. Nothing else is read, above all no private part."""


class KeySetError(Exception):
    """A document is not a key set."""


@dataclass(frozen=True, slots=True)
class Key:
    """One public key.

    Attributes:
        key_id: The id of the key; empty if it has none.
        algorithms: The algorithms of the tokens that the key may verify.
        public: The key itself, as the package "cryptography" has it.
    """

    key_id: str
    algorithms: frozenset[str]
    public: Any


class KeySet:
    """The keys of an issuer that verify tokens.

    Args:
        keys: The keys.
    """

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def ids(self) -> frozenset[str]:
        """The ids of the keys."""
        return frozenset(key.key_id for key in self._keys)

    def find(self, key_id: str | None, algorithm: str) -> Key | None:
        """Return the key for a token, or None.

        A token without a key id gets a key only if a single key fits its algorithm.

        Args:
            key_id: The key id that the token names, if any.
            algorithm: The algorithm of the token.
        """
        fitting = [key for key in self._keys if algorithm in key.algorithms]
        if key_id is not None:
            return next((key for key in fitting if key.key_id == key_id), None)
        return fitting[0] if len(fitting) == 1 else None


def parse(document: bytes) -> KeySet:
    """Return the keys of a document that can verify the signature of a token.

    Keys of other kinds, keys for encryption, symmetric keys and keys that are too short are left out.

    Raises:
        KeySetError: The document is not a key set, or has too many keys.
    """
    try:
        members = json.loads(document.decode())["keys"]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise KeySetError("it is not a JSON web key set") from None
    if not isinstance(members, list):
        raise KeySetError("it is not a JSON web key set")
    if len(members) > MAX_KEYS:
        raise KeySetError(f"it has {len(members)} keys; the limit is {MAX_KEYS}")
    return KeySet(key for member in members if (key := _key(member)) is not None)


def check_installed(what: str = "tokens (JWT)") -> None:
    """Raise ConfigurationError if a package that verifies tokens is not installed, or is too old.

    Args:
        what: What needs the packages, for the error.
    """
    for package, name in (("jwt", "PyJWT"), ("cryptography", "cryptography")):
        if find_spec(package) is None:
            raise ConfigurationError(f'{what} need {name}: pip install "a2a-grpc[auth]"')
    found = version("PyJWT")
    if tuple(int(part) for part in found.split(".")[:2]) < MIN_PYJWT:
        raise ConfigurationError(f'PyJWT {found} accepts forged tokens: pip install --upgrade "a2a-grpc[auth]"')


def _key(member: object) -> Key | None:
    """Return one key of a set, or None if it cannot verify the signature of a token."""
    if not isinstance(member, dict) or member.get("use", "sig") != "sig":
        return None
    operations = member.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    kind, key_id = member.get("kty"), member.get("kid", "")
    if not isinstance(kind, str) or kind not in _PUBLIC or not isinstance(key_id, str):
        return None
    parts = {name: member.get(name) for name in _PUBLIC[kind]}
    if not all(isinstance(part, str) for part in parts.values()):
        return None
    algorithms = _RSA if kind == "RSA" else frozenset({_CURVES.get(str(parts["crv"]), "")})
    if "alg" in member:
        algorithms &= {member["alg"]} if isinstance(member["alg"], str) else frozenset()
    public = _public(kind, parts) if algorithms & frozenset(ALGORITHMS) else None
    if public is None or (kind == "RSA" and public.key_size < MIN_RSA_BITS):
        return None
    return Key(key_id, algorithms, public)


def _public(kind: str, parts: dict[str, Any]) -> Any:
    """Return the public key with these members, or None if they are no key."""
    from jwt import algorithms
    from jwt.exceptions import PyJWTError

    kinds: dict[str, Any] = {
        "RSA": algorithms.RSAAlgorithm,
        "EC": algorithms.ECAlgorithm,
        "OKP": algorithms.OKPAlgorithm,
    }
    try:
        return kinds[kind].from_jwk({"kty": kind, **parts})
    except (PyJWTError, ValueError, TypeError):  # a point that is not on the curve, no base64url
        return None
