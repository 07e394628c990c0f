"""The method by which another sentinel of the store says that an agent here may have been replaced."""

from collections.abc import Callable
from typing import Any

import grpc

from a2a_grpc.errors import PermissionDeniedError
from a2a_grpc.protocol import Key
from a2a_grpc.rpc import Calls, Context, invocation_metadata
from a2a_grpc.sentinel.hop import Hops
from a2a_grpc.sentinel.wire import LOOK, LOOK_PATH, LookRequest, LookResponse, parsed


def replacement_handlers(
    calls: Calls, hops: Hops, look: Callable[[str], None]
) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
    """Return the handler of the method. A call without a valid mark for its address is refused.

    Args:
        calls: The calls in progress.
        hops: The marks of calls between sentinels.
        look: Has the sentinel find out soon if the agents at an address were replaced.
    """

    async def behavior(raw: bytes, context: Context) -> bytes:
        address = parsed(LookRequest, raw).address
        marks = [value for name, value in invocation_metadata(context) if name == Key.HOP]
        if hops.caller(marks, address) is None:
            raise PermissionDeniedError("only sentinels that share a store with this one may call this method")
        look(address)
        return LookResponse().SerializeToString()

    return {LOOK_PATH: calls.handler(LOOK, behavior)}
