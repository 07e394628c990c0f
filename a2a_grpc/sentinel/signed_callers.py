"""The callers of an attached agent, as its sentinel has signed them."""

import hashlib
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from a2a_grpc.auth import CallCredentials, Refused
from a2a_grpc.auth.keyset import check_installed
from a2a_grpc.auth.protocol import EXPIRED
from a2a_grpc.auth.tokens import read
from a2a_grpc.principal import Principal
from a2a_grpc.protocol import Key
from a2a_grpc.sentinel.caller import principal_of
from a2a_grpc.sentinel.signing import ALGORITHM, MAX_ENTRY_CHARS, REMEMBERED, TYPE, key_id
from a2a_grpc.sentinel.wire import Welcome
from a2a_grpc.wire import SecurityScheme

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from jwt import PyJWS

LEEWAY_S = 60.0
"""Seconds by which the clocks of the sentinel and the agent may differ."""


class SignedCallers:
    """An authenticator of the calls that come through a tunnel, whose callers the sentinel has signed.

    It is for the private socket of an agent's server only, which no other program can reach.

    Guarantees:

    - Only the keys of sentinels to which the agent is attached now are accepted.
    - Once a sentinel has said that it signs, each call needs a signed principal. A later sentinel that does not sign
      cannot change that.
    - A signed principal counts for this agent's address only, and for a minute after its end at most.
    - A signed principal is verified once, and not for each call that shows it.

    Args:
        address: The address of the agent.
        clock: The Unix time in seconds.
    """

    def __init__(self, address: str, *, clock: Callable[[], float] = time.time) -> None:
        self._address = address
        self._clock = clock
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._jws: PyJWS | None = None
        self._uses: Counter[str] = Counter()
        self._verified: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()
        self._schemes: dict[str, SecurityScheme] = {}
        self.is_vouching = False
        """True once a sentinel has said that it signs."""
        self.passes_credentials = False
        """True once a sentinel has said that it passes the credentials of callers on."""

    def trust(self, welcome: Welcome) -> str:
        """Accept the key of a sentinel. Return the key's name, for `distrust`; empty if the sentinel signs nothing.

        Args:
            welcome: What the sentinel has said.

        Raises:
            ValueError: The key, or a security scheme, is malformed.
            ConfigurationError: A package is missing.
        """
        self.passes_credentials |= welcome.passes_credentials
        if not welcome.principal_key:
            return ""
        check_installed("the signed principals of this sentinel")
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from jwt import PyJWS

        try:
            schemes = {name: SecurityScheme.FromString(raw) for name, raw in welcome.security_schemes.items()}
        except DecodeError:
            raise ValueError("a security scheme is malformed") from None
        key, name = Ed25519PublicKey.from_public_bytes(welcome.principal_key), key_id(welcome.principal_key)
        self._jws = self._jws or PyJWS([ALGORITHM])
        self._keys[name] = key
        self._uses[name] += 1
        self._schemes = schemes
        self.is_vouching = True
        return name

    def distrust(self, name: str) -> None:
        """Accept the key of a sentinel no longer, unless another tunnel to a sentinel with this key is there.

        Args:
            name: The name that `trust` has returned.
        """
        if not name:
            return
        self._uses[name] -= 1
        if not self._uses[name]:
            del self._uses[name], self._keys[name]
            self._verified.clear()

    def schemes(self) -> Mapping[str, SecurityScheme]:
        """Return the schemes of the credentials that the sentinel accepts, for the agent card."""
        return self._schemes

    def challenge(self) -> str:
        """Return "": the sentinel asks for credentials itself."""
        return ""

    async def __call__(self, credentials: CallCredentials, /) -> Principal | None:
        """Return the caller that the sentinel names, or None if sentinels do not sign.

        Args:
            credentials: The metadata of the call.

        Raises:
            Refused: The call has no valid principal.
        """
        if not self.is_vouching:
            return None
        shown = credentials.metadata.get(Key.PRINCIPAL, ())
        if len(shown) != 1:
            raise Refused("no principal of the sentinel")
        entry = shown[0]
        if not isinstance(entry, str) or len(entry) > MAX_ENTRY_CHARS:
            raise Refused("malformed principal of the sentinel")
        digest = hashlib.sha256(entry.encode("utf-8", "surrogatepass")).digest()
        now = self._clock()
        known = self._verified.get(digest)
        if known is None:
            known = self._verified[digest] = self._read(entry)
            if len(self._verified) > REMEMBERED:
                self._verified.popitem(last=False)
        until, principal = known
        if now >= until:
            raise Refused("expired principal of the sentinel, or clocks that differ", EXPIRED)
        return principal

    def _read(self, entry: str) -> tuple[float, Principal]:
        """Return the caller that a signed principal names, and until when. Raise Refused if it is not valid."""
        from jwt import PyJWTError

        assert self._jws is not None
        header, said = read(entry)
        name = header.get("kid")
        if header.get("alg") != ALGORITHM or header.get("typ") != TYPE or "crit" in header:
            raise Refused("type of the principal")
        if not isinstance(name, str) or (key := self._keys.get(name)) is None:
            raise Refused("unknown key of the principal")
        try:
            self._jws.decode_complete(entry, key, [ALGORITHM])
        except PyJWTError:
            raise Refused("signature of the principal") from None
        if said.get("aud") != self._address:
            raise Refused("audience of the principal")
        try:
            return float(said["exp"]) + LEEWAY_S, principal_of(said)
        except (KeyError, TypeError, ValueError):
            raise Refused("malformed principal of the sentinel") from None
