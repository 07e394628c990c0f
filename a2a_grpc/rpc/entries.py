"""Count the metadata entries of an accepted call before grpc.aio decodes them.

gRPC keeps an entry of an HPACK bomb as a reference. grpc.aio copies every entry when a call is begun, so that 4 KiB
from the network become 16 MiB, and take 5 ms of the event loop. It offers no way to ask for their number before.
"""

import asyncio
import ctypes
from typing import Any

from grpc._cython import cygrpc

WORD_BYTES = ctypes.sizeof(ctypes.c_size_t)
ARRAY_WORDS = 3
"""gRPC's array of metadata: the number of entries, the number that it has memory for, and the place of the entries."""


class EntryCounter:
    """Reads the number of metadata entries in grpc.aio's object of a call.

    Guarantees:

    - Nothing outside of the object is read.
    - The number is compared with the decoded metadata of the first call. If they differ, as another version of grpc.aio
      may have other objects, `count` returns 0 for all calls.

    Args:
        server: The server of the calls. The object of a call refers to it right after the array of metadata.
        loop: The event loop of the server.
    """

    def __init__(self, server: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._place = _place_of_array(server)
        self._loop = loop
        self._is_confirmed = False

    def count(self, state: Any) -> int:
        """Return the number of entries of a call, given by grpc.aio's object of it. Return 0 if it is not known."""
        if self._place is None:
            return 0
        entries = ctypes.c_size_t.from_address(id(state) + self._place).value
        if not self._is_confirmed:
            self._is_confirmed = entries == self._decoded(state)
            if not self._is_confirmed:
                self._place = None
                return 0
        return entries

    def _decoded(self, state: Any) -> int:
        return len(cygrpc._ServicerContext(state, None, None, self._loop).invocation_metadata() or ())


def _place_of_array(server: Any) -> int | None:
    """Return the distance of the array from the start of a call's object, in bytes. Return None if the object has no
    empty array before its only reference to the server."""
    try:
        state = cygrpc.RPCState(server)
        words = type(state).__basicsize__ // WORD_BYTES
    except (AttributeError, TypeError):
        return None
    found = list((ctypes.c_size_t * words).from_address(id(state)))
    if found.count(id(server)) != 1:
        return None
    place = found.index(id(server)) - ARRAY_WORDS
    is_empty = place > 0 and not any(found[place : place + ARRAY_WORDS])
    return place * WORD_BYTES if is_empty else None
