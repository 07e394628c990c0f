"""The form of a JSON web token, before its signature is verified (RFC 7519, RFC 8725)."""

import base64
import json
import re
from collections.abc import Collection
from typing import Any, NamedTuple, NoReturn

from a2a_grpc.auth.protocol import Refused

MAX_TOKEN_CHARS = 8192
MAX_KEY_ID_CHARS = 256
TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
"""The values of `typ` that a token may have, in small letters; a token may also have none."""

SMUGGLED = ("crit", "b64", "jwk", "jku", "x5u")
"""Header fields that are not understood, or that bring the key of the token with the token."""

_JWT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)\.([A-Za-z0-9_-]*)")


class Unverified(NamedTuple):
    """What a token says. Nothing of it is true before the signature is verified."""

    header: dict[str, Any]
    claims: dict[str, Any]


def is_jwt(text: str) -> bool:
    """Return True if a text has the form of a signed token: three parts in base64url with dots between them."""
    return _JWT.fullmatch(text) is not None


def read(token: str) -> Unverified:
    """Return the header and the claims of a token.

    Raises:
        Refused: The header or the claims are not a JSON object, or a part is not in base64url.
    """
    parts = _JWT.fullmatch(token)
    if parts is None:
        raise Refused("malformed token")
    _decoded(parts[3])
    return Unverified(_object(parts[1]), _object(parts[2]))


def check_header(header: dict[str, Any], algorithms: Collection[str]) -> tuple[str, str | None]:
    """Return the algorithm and the key id that the header of a token names. The key id is None if there is none.

    Args:
        header: The header.
        algorithms: The algorithms that a token may have.

    Raises:
        Refused: The token has another algorithm or type, or a header field that a token must not have.
    """
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise Refused("algorithm")
    for name in SMUGGLED:
        if name in header:
            raise Refused(f"header {name}")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in TYPES:
        raise Refused("type")
    key_id = header.get("kid")
    if key_id is not None and not (isinstance(key_id, str) and 0 < len(key_id) <= MAX_KEY_ID_CHARS):
        raise Refused("key id")
    return algorithm, key_id


def _object(part: str) -> dict[str, Any]:
    try:
        value = json.loads(_decoded(part).decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Refused("malformed token") from None  # the text of the error has a piece of the token
    if not isinstance(value, dict):
        raise Refused("malformed token")
    return value


def _decoded(part: str) -> bytes:
    """Return the bytes of a part. Each has one spelling only, so that each token has one digest."""
    try:
        content = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise Refused("malformed token") from None
    if base64.urlsafe_b64encode(content).rstrip(b"=").decode() != part:
        raise Refused("malformed token")
    return content


def _refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError(name)
