"""Content of other programs, read and inflated within a bound.

The core of grpcio 1.71 inflates a compressed message as a whole before it looks at the size. So 4 MiB on the wire
become 4 GiB. The core of 1.85 stops at the limit. Clients and servers of this package switch off the
inflating of the core (`grpc.per_message_decompression`), so that messages come as they were sent with every version.

Python does not get the flag that says if a message is compressed, nor `grpc-encoding`, but the first bytes show it.
0x1F, with which gzip begins, is no tag of protobuf. 0x78, with which zlib's format begins, is that of field 15. So a
message that begins like zlib's format is taken as it is if it cannot be inflated.
"""

import zlib
from typing import Protocol

GZIP = b"\x1f\x8b"
EITHER = 47
"""zlib's number for 'gzip or zlib, as the header says'."""


class TooLarge(ValueError):
    """The content is larger than allowed."""


class Broken(ValueError):
    """The content begins like gzip, but cannot be inflated."""


class Stream(Protocol):
    """A stream of bytes, such as the body of a response, or the output of a command."""

    async def read(self, n: int) -> bytes: ...


async def read_within(stream: Stream, limit: int) -> bytes:
    """Return all of a stream. Raise TooLarge as soon as it has more than `limit` bytes."""
    content = bytearray()
    while more := await stream.read(limit):
        content += more
        if len(content) > limit:
            raise TooLarge(f"it has more than {limit} bytes")
    return bytes(content)


def is_compressed(content: bytes) -> bool:
    """Return True if the content begins as gzip, or as zlib does (RFC 1950 §2.2: the first two bytes are n * 31)."""
    return content[:2] == GZIP or (content[:1] == b"\x78" and int.from_bytes(content[:2]) % 31 == 0)


def inflated(content: bytes, limit: int) -> bytes:
    """Return the content, inflated if it is compressed. Raise TooLarge for more than `limit` bytes, or Broken."""
    if not is_compressed(content):
        return content
    inflater = zlib.decompressobj(EITHER)
    try:
        plain = inflater.decompress(content, limit + 1)
    except zlib.error as error:
        return _as_it_is(content, f"cannot be inflated: {error}")
    if len(plain) > limit:
        raise TooLarge(f"it has more than {limit} bytes once it is inflated")
    if not inflater.eof or inflater.unused_data:
        return _as_it_is(content, "does not end as compressed content does")
    return plain


def _as_it_is(content: bytes, problem: str) -> bytes:
    """Return content that is no zlib stream. Raise Broken if it begins as gzip, since no message does."""
    if content[:2] == GZIP:
        raise Broken(f"it is compressed, and {problem}")
    return content
