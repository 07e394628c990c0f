"""Page tokens, which name the place at which a page ended, and belong to one list."""

import base64
import binascii
import hashlib
import struct

from a2a_grpc.errors import InvalidRequestError, Violation
from a2a_grpc.store import ListFilter, Position, Scope
from a2a_grpc.text import flaw

_HEAD = struct.Struct(">8sq")


def encode(position: Position, scope: Scope, where: ListFilter) -> str:
    """Return the token of the page after `position`. The token is valid for this list only (LIST-10)."""
    raw = _HEAD.pack(_fingerprint(scope, where), position.at_us) + position.id.encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(token: str, scope: Scope, where: ListFilter) -> Position | None:
    """Return the position in a token, or None for the empty token. A token gives no rights: a list has only the
    caller's tasks.

    Raises:
        InvalidRequestError: The token is malformed, or was made for other filters or another caller.
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
