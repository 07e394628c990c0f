"""The headers of a notification, and the checks of the config that they are made of."""

import base64
import binascii
import re
from collections.abc import Mapping

from a2a_grpc.errors import InvalidRequestError, Violation
from a2a_grpc.push.delivery import Delivery
from a2a_grpc.push.signing import SigningKey, secret_signature, signed_content
from a2a_grpc.wire import TaskPushNotificationConfig

CONTENT_TYPE = "application/a2a+json"
TOKEN = "X-A2A-Notification-Token"
KEY_ID = "X-A2A-Notification-Key-Id"
"""The id of the key of `v1a`, with which the receiver finds the key in the key set."""
WEBHOOK_ID = "webhook-id"
WEBHOOK_TIMESTAMP = "webhook-timestamp"
WEBHOOK_SIGNATURE = "webhook-signature"

SECRET_SCHEME = "standard-webhooks"
"""The scheme, in small letters, whose credentials are a secret for `v1` signatures, and are never sent."""
SECRET_PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)
"""The lengths of secrets that Standard Webhooks allows."""
MAX_VALUE_CHARS = 4096
"""The largest number of characters of a token, and of credentials. Servers limit a header to 8 KiB."""

_SCHEME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII)
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?", re.ASCII)


def check_headers(config: TaskPushNotificationConfig) -> None:
    """Raise InvalidRequestError if the token or the credentials of a config cannot be sent in a header.

    No error has a token or credentials in it.
    """
    authentication = config.authentication
    if config.token and (problem := _value_problem(config.token)):
        raise InvalidRequestError.of(Violation("token", problem))
    if not authentication.scheme:
        if authentication.credentials:
            raise InvalidRequestError.of(Violation("authentication.scheme", "is empty, but there are credentials"))
        return
    if not _SCHEME.fullmatch(authentication.scheme):
        raise InvalidRequestError.of(
            Violation("authentication.scheme", "is not the name of an HTTP authentication scheme, such as Bearer")
        )
    if not authentication.credentials:
        raise InvalidRequestError.of(Violation("authentication.credentials", "are missing"))
    problem = _value_problem(authentication.credentials)
    if not problem and is_secret_scheme(config) and secret_of(authentication.credentials) is None:
        problem = f"must be {SECRET_PREFIX} and 24 to 64 bytes in base64 for the scheme Standard-Webhooks"
    if problem:
        raise InvalidRequestError.of(Violation("authentication.credentials", problem))


def headers_of(delivery: Delivery, body: bytes, key: SigningKey | None, now: int) -> Mapping[str, str]:
    """Return the headers of a notification.

    Args:
        delivery: The delivery. `check_headers` accepts its config.
        body: The body, which is signed.
        key: The key of `v1a`, if there is one.
        now: The Unix time in seconds.
    """
    config = delivery.config
    headers = {
        "Content-Type": CONTENT_TYPE,
        "Accept-Encoding": "identity",
        "A2A-Version": delivery.version,
        WEBHOOK_ID: delivery.id,
        WEBHOOK_TIMESTAMP: str(now),
        **delivery.trace,
    }
    content, signatures = signed_content(delivery.id, now, body), []
    if config.token:
        headers[TOKEN] = config.token
    if is_secret_scheme(config):
        secret = secret_of(config.authentication.credentials)
        assert secret is not None  # check_headers has accepted it
        signatures.append(secret_signature(secret, content))
    elif config.authentication.scheme:
        headers["Authorization"] = f"{config.authentication.scheme} {config.authentication.credentials}"
    if key is not None:
        signatures.append(key.sign(content))
        headers[KEY_ID] = key.key_id
    if signatures:
        headers[WEBHOOK_SIGNATURE] = " ".join(signatures)
    return headers


def is_secret_scheme(config: TaskPushNotificationConfig) -> bool:
    """Return True if the credentials of a config are a secret for `v1` signatures."""
    return config.authentication.scheme.lower() == SECRET_SCHEME


def secret_of(credentials: str) -> bytes | None:
    """Return the bytes of a secret `whsec_…`, or None if the text is none."""
    if not credentials.startswith(SECRET_PREFIX):
        return None
    try:
        secret = base64.b64decode(credentials.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
    return secret if len(secret) in SECRET_BYTES else None


def _value_problem(value: str) -> str:
    """Return why a text cannot be the value of a header, or "" if it can."""
    if len(value) > MAX_VALUE_CHARS:
        return f"has {len(value)} characters; the limit is {MAX_VALUE_CHARS}"
    if not _VALUE.fullmatch(value):
        return "must be printable ASCII, without line breaks and without spaces at its ends"
    return ""
