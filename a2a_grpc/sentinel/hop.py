"""The mark of a call that one sentinel passes on to another one."""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping, Sequence

from a2a_grpc.auth import CallCredentials
from a2a_grpc.principal import Principal
from a2a_grpc.protocol import Key
from a2a_grpc.sentinel.caller import description_of, principal_of
from a2a_grpc.wire import SecurityScheme

LIFE_S = 60.0
"""Seconds for which a mark is valid, and by which the clocks of sentinels may differ."""
MAX_MARK_CHARS = 32 * 1024


class Hops:
    """Makes and reads the marks of calls that have made their one hop between sentinels.

    A mark names the caller and the address that is called. It is authenticated (HMAC-SHA-256) with a secret that only
    the sentinels of one store have.

    Guarantees:

    - No mark is accepted that another program has made, for another address, or more than two minutes ago.
    - A call that has a valid mark makes no further hop.

    Args:
        clock: The Unix time in seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._secret = b""

    def use(self, secret: bytes) -> None:
        """Use the secret of the store from now on. Without a secret no mark is accepted.

        Args:
            secret: The secret.
        """
        self._secret = secret

    def mark(self, principal: Principal, address: str) -> str:
        """Return the mark of a call.

        Args:
            principal: The caller.
            address: The logical address that is called.
        """
        said = description_of(principal, to=address, exp=self._clock() + LIFE_S)
        payload = base64.urlsafe_b64encode(said).decode()
        return f"{payload}.{self._code(payload)}"

    def caller(self, marks: Sequence[str | bytes], address: str | None = None) -> Principal | None:
        """Return the caller that a mark names. Return None if the mark is not valid, or there is not exactly one.

        Args:
            marks: The values of the metadata entry.
            address: The address that is called; None if it is not known yet.
        """
        if len(marks) != 1 or not self._secret:
            return None
        mark = marks[0]
        if not isinstance(mark, str) or len(mark) > MAX_MARK_CHARS or not mark.isascii():
            return None
        payload, _, code = mark.partition(".")
        if not hmac.compare_digest(code, self._code(payload)):
            return None
        try:
            said = json.loads(base64.urlsafe_b64decode(payload))
        except (ValueError, binascii.Error):
            return None
        if self._clock() >= said["exp"] + LIFE_S or address not in (None, said["to"]):
            return None
        return principal_of(said)

    def _code(self, payload: str) -> str:
        return hmac.new(self._secret, payload.encode(), hashlib.sha256).hexdigest()


class HoppedCallers:
    """An authenticator of calls that another sentinel of the same store passes on.

    Args:
        hops: The marks of such calls.
    """

    def __init__(self, hops: Hops) -> None:
        self._hops = hops

    def schemes(self) -> Mapping[str, SecurityScheme]:
        """Return no schemes: clients have no marks."""
        return {}

    def challenge(self) -> str:
        """Return "": clients have no marks."""
        return ""

    async def __call__(self, credentials: CallCredentials, /) -> Principal | None:
        """Return the caller that the mark of a call names. Return None for calls without a valid mark.

        Args:
            credentials: The metadata of the call.
        """
        return self._hops.caller(credentials.metadata.get(Key.HOP, ()))
