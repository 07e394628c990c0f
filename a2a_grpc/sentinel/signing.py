"""Signing the callers of a sentinel, for the agents behind it."""

import base64
import hashlib
import logging
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from a2a_grpc.auth.keyset import check_installed
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import ResourceExhaustedError
from a2a_grpc.principal import Principal
from a2a_grpc.regular import MAX_PEM_BYTES, check_regular, read_regular
from a2a_grpc.sentinel.caller import description_of
from a2a_grpc.sentinel.wire import Welcome
from a2a_grpc.wire import SecurityScheme

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

logger = logging.getLogger("a2a_grpc.sentinel")

ALGORITHM = "EdDSA"
TYPE = "a2a-grpc-principal"
"""The type in the header, so that no other token that this key has signed counts as a principal."""
LIFE_S = 60.0
"""Seconds for which a signed principal is valid."""
REUSE_S = 30.0
"""Seconds for which a signed principal is used for further calls."""
MAX_ENTRY_CHARS = 32 * 1024
"""The length of the longest signed principal. A token of the longest allowed size has at most some 24,000."""
REMEMBERED = 4096
"""The number of signed principals that are remembered."""
OTHERS_READ = stat.S_IRWXG | stat.S_IRWXO


class Signer:
    """Signs principals, each for one agent.

    Guarantees:

    - A signed principal is for one address (`aud`), and valid for 60 seconds, but not beyond the end of the
      credentials.
    - A principal is signed once in 30 seconds for an address, and not for each call.
    - The credentials of the caller are no part of what is signed.

    Args:
        path: A PEM file with an Ed25519 private key. Without it, a new key is made.
        clock: The Unix time in seconds.

    Raises:
        ConfigurationError: The file cannot be used, or a package is missing.

    Attributes:
        public: The 32 bytes of the public key.
    """

    def __init__(self, path: str | None = None, *, clock: Callable[[], float] = time.time) -> None:
        check_installed("signed principals")
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from jwt import PyJWS

        self._key = Ed25519PrivateKey.generate() if path is None else _read(Path(path))
        self._jws = PyJWS([ALGORITHM])
        self._clock = clock
        self.public = self._key.public_key().public_bytes_raw()
        self._headers = {"typ": TYPE, "kid": key_id(self.public)}
        self._signed: OrderedDict[tuple[str, Principal], tuple[float, str]] = OrderedDict()

    def sign(self, principal: Principal, address: str) -> str:
        """Return a compact JWS that says who calls.

        Args:
            principal: The caller.
            address: The address of the agent that is called.

        Raises:
            ResourceExhaustedError: The facts that the credentials hold are too large for the metadata of a call.
        """
        now, place = self._clock(), (address, principal)
        known = self._signed.get(place)
        if known is not None and now < known[0]:
            return known[1]
        ends_at = now + LIFE_S if principal.expires_at is None else min(now + LIFE_S, principal.expires_at)
        said = description_of(principal, aud=address, iat=now, exp=ends_at)
        entry = self._jws.encode(said, self._key, ALGORITHM, self._headers)
        if len(entry) > MAX_ENTRY_CHARS:
            raise ResourceExhaustedError("the credentials hold more than can be passed on to an agent")
        self._signed[place] = (min(now + REUSE_S, ends_at), entry)
        self._signed.move_to_end(place)
        if len(self._signed) > REMEMBERED:
            self._signed.popitem(last=False)
        return entry


def welcome_of(signer: Signer | None, schemes: Mapping[str, SecurityScheme], *, passes_credentials: bool) -> Welcome:
    """Return what agents get to know of the callers that they will have.

    Args:
        signer: Signs the principals of callers; None if they are not signed.
        schemes: The schemes of the credentials that the sentinel accepts.
        passes_credentials: True if the sentinel passes the credentials of callers on.
    """
    if signer is None:
        return Welcome(passes_credentials=passes_credentials)
    serialized = {name: scheme.SerializeToString() for name, scheme in schemes.items()}
    return Welcome(principal_key=signer.public, security_schemes=serialized)


def key_id(public: bytes) -> str:
    """Return the name of a public key: a digest of its bytes."""
    return base64.urlsafe_b64encode(hashlib.sha256(public).digest()[:18]).decode()


def _read(path: Path) -> "Ed25519PrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        mode = stat.S_IMODE(check_regular(path, MAX_PEM_BYTES).st_mode)
        key = load_pem_private_key(read_regular(path, MAX_PEM_BYTES), None)
    except OSError as error:
        raise ConfigurationError(f"signing_key '{path}' cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):  # the text of the error may have a piece of the key
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(
            f"signing_key '{path}' is no PEM file with an Ed25519 private key without a password; "
            "make one: (umask 077; openssl genpkey -algorithm ed25519 -out NEW_FILE)"
        )
    if os.name == "posix" and mode & OTHERS_READ:
        logger.warning("other users can read or write the signing key file=%s mode=%04o", path, mode)
    return key
