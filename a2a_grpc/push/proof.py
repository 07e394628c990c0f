"""Checks whether a notification comes from the agent that it is expected from."""

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping, Sequence

from a2a_grpc.auth.jwks import KeyCache
from a2a_grpc.auth.protocol import Refused
from a2a_grpc.push.headers import (
    KEY_ID,
    TOKEN,
    WEBHOOK_ID,
    WEBHOOK_SIGNATURE,
    WEBHOOK_TIMESTAMP,
    is_secret_scheme,
    secret_of,
)
from a2a_grpc.push.signing import secret_signature, signed_content
from a2a_grpc.wire import TaskPushNotificationConfig

MAX_ID_CHARS = 256
MAX_SIGNATURES = 10
"""How many signatures of a notification are tried. A sender that changes its key sends two."""
MAX_TIMESTAMP_DIGITS = 15

NAMES = tuple(
    name.lower() for name in (TOKEN, KEY_ID, WEBHOOK_ID, WEBHOOK_TIMESTAMP, WEBHOOK_SIGNATURE, "Authorization")
)
"""The headers that are checked, in small letters."""


class ProofError(Exception):
    """A notification does not prove where it comes from. The message says what is wrong, for the log."""


class Shown:
    """What a notification shows of its sender.

    Args:
        headers: The headers, by names in small letters.
        body: The body.
    """

    def __init__(self, headers: Mapping[str, str], body: bytes) -> None:
        self._headers = headers
        self._body = body
        self.id = headers.get(WEBHOOK_ID, "")

    def check_time(self, now: float, max_skew_s: float) -> None:
        """Raise ProofError if the notification is too old, or comes from the future. It may have no time."""
        text = self._headers.get(WEBHOOK_TIMESTAMP)
        if text is None:
            return
        if not (text.isascii() and text.isdecimal() and len(text) <= MAX_TIMESTAMP_DIGITS):
            raise ProofError("the timestamp is not a number of seconds")
        if abs(now - int(text)) > max_skew_s:
            raise ProofError("the timestamp is too far from the time of this machine")

    def check_any(self, configs: Iterable[TaskPushNotificationConfig]) -> None:
        """Raise ProofError unless the notification shows what one of these configs asks for."""
        problem = "nothing is expected"
        for config in configs:
            problem = self._problem(config)
            if not problem:
                return
        raise ProofError(problem)

    def _problem(self, config: TaskPushNotificationConfig) -> str:
        """Return which secret of a config the notification does not show, or ""."""
        authentication = config.authentication
        if config.token and not _same(self._headers.get(TOKEN.lower(), ""), config.token):
            return "the token is missing or wrong"
        if is_secret_scheme(config):
            expected = secret_signature(secret_of(authentication.credentials) or b"", self._content())
            if not any(_same(shown, expected) for shown in self._signatures("v1")):
                return "the signature v1 is missing or wrong"
        elif authentication.scheme:
            scheme, _, credentials = self._headers.get("authorization", "").partition(" ")
            if scheme.lower() != authentication.scheme.lower() or not _same(credentials, authentication.credentials):
                return "the authorization is missing or wrong"
        return ""

    async def check_key(self, keys: KeyCache) -> None:
        """Raise ProofError unless a key of the sender has signed the notification.

        Args:
            keys: The keys that the sender publishes.

        Raises:
            UnavailableError: The keys cannot be read now.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        signatures = [_decoded(text) for text in self._signatures("v1a")]
        content = self._content()
        if not signatures:
            raise ProofError("the signature v1a is missing")
        key_id = self._headers.get(KEY_ID.lower())
        if key_id is not None and not 0 < len(key_id) <= MAX_ID_CHARS:
            raise ProofError("the id of the key is empty or too long")
        try:
            key = (await keys.find(key_id, "EdDSA")).public
        except Refused as refused:
            raise ProofError(str(refused)) from None
        if not isinstance(key, Ed25519PublicKey):
            raise ProofError("the key is of another kind")
        for signature in signatures:
            try:
                return key.verify(signature, content)
            except InvalidSignature:
                continue
        raise ProofError("the signature v1a is wrong")

    def _content(self) -> bytes:
        """Return what a signature is of. Raise ProofError if the id or the time is missing."""
        timestamp = self._headers.get(WEBHOOK_TIMESTAMP)
        if not self.id or timestamp is None:
            raise ProofError("a signature needs an id and a timestamp")
        return signed_content(self.id, timestamp, self._body)

    def _signatures(self, version: str) -> Sequence[str]:
        """Return the signatures of a version, each with its version in front."""
        found = self._headers.get(WEBHOOK_SIGNATURE, "").split(" ")
        return [text for text in found if text.startswith(f"{version},")][:MAX_SIGNATURES]


def _same(shown: str, expected: str) -> bool:
    """Return True if two texts are the same, in a time that does not depend on where they differ."""
    return hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), expected.encode())


def _decoded(signature: str) -> bytes:
    try:
        return base64.b64decode(signature.partition(",")[2], validate=True)
    except (binascii.Error, ValueError):
        return b""
