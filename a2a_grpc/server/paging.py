"""Page tokens: the place a page ended at, bound to the list it belongs to."""

import base64
import binascii
import hashlib
import struct

from a2a_grpc.errors import InvalidRequestError, Violation
from a2a_grpc.store import ListFilter, Position, Scope
from a2a_grpc.text import flaw

_HEAD = struct.Struct(">8sq")


def encode(position: Position, scope: Scope, where: ListFilter) -> str:
    """An opaque token: the page after `position`, of this list and no other (LIST-10)."""
    raw = _HEAD.pack(_fingerprint(scope, where), position.at_us) + position.id.encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(token: str, scope: Scope, where: ListFilter) -> Position | None:
    """The position in a token, None for the empty one.

    Raises InvalidRequestError for a token that is malformed, or was made for other filters or another caller. A token
    grants nothing: the list it continues is the caller's own.
    """
    if not token:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        fingerprint, at_us = _HEAD.unpack_from(raw)
        position = Position(at_us, raw[_HEAD.size :].decode())
    except (binascii.Error, struct.error, ValueError):
        raise _refuse("is not a token of this server") from None
    if flaw(position.id):
        raise _refuse("is not a token of this server")
    if fingerprint != _fingerprint(scope, where):
        raise _refuse("belongs to a list with other filters")
    return position


def _fingerprint(scope: Scope, where: ListFilter) -> bytes:
    return hashlib.sha256(repr((tuple(scope), tuple(where))).encode()).digest()[:8]


def _refuse(description: str) -> InvalidRequestError:
    return InvalidRequestError.of(Violation("page_token", description))
