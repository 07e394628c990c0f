"""Requests to a receiver, before anything of them is believed."""

import asyncio
from collections.abc import AsyncIterable, Iterable, Mapping

from a2a_grpc.push.proof import NAMES

MEDIA_TYPES = frozenset({"application/a2a+json", "application/json"})
BODY_TIMEOUT_S = 15.0
"""Seconds in which the body of a notification has to arrive."""
MAX_LENGTH_DIGITS = 15


class RefusedError(Exception):
    """A request is refused. The reason has no words of the sender.

    Args:
        status: The status code of the answer.
        reason: What is wrong with the request.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def checked_headers(given: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Return the headers of a request by their names in small letters.

    Args:
        given: The headers as they came.

    Raises:
        RefusedError: A header that is checked occurs twice, or the body is compressed or of another media type.
    """
    headers: dict[str, str] = {}
    for name, value in given:
        name = name.lower()
        if name in headers and name in NAMES:
            raise RefusedError(400, f"the header {name} is given twice")
        headers[name] = value
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in MEDIA_TYPES:
        raise RefusedError(415, "the media type is not application/a2a+json")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise RefusedError(415, "the body is compressed")
    return headers


async def content_of(headers: Mapping[str, str], body: AsyncIterable[bytes], limit: int) -> bytes:
    """Return the body of a request.

    Args:
        headers: The headers, by names in small letters.
        body: The body, in pieces.
        limit: The largest number of bytes.

    Raises:
        RefusedError: The body is larger, or does not arrive in time.
    """
    too_large = RefusedError(413, f"the body has more than {limit} bytes")
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdecimal() or len(length) > MAX_LENGTH_DIGITS or int(length) > limit:
        raise too_large
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for piece in body:
                content += piece
                if len(content) > limit:
                    raise too_large
    except TimeoutError:
        raise RefusedError(408, "the body did not arrive in time") from None
    return bytes(content)
