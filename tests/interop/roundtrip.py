"""Starts servers/scripted.py with this interpreter, sends to it and streams from it; prints what came as JSON.

python -m tests.interop.roundtrip OPTIONS OF THE SERVER     lists nothing
"""

import asyncio
import json
import secrets
import sys

import grpc.aio
from google.protobuf.json_format import MessageToDict

from a2a_grpc.wire import A2AServiceStub, ListTasksRequest
from tests.harness import V1, Program, elements, scripted

STEPS = ({"status": "half way"}, {"chunks": {"count": 2}}, {"complete": "done"})


async def main() -> None:
    async with asyncio.timeout(60), Program.server("servers/scripted.py", *sys.argv[1:]) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = A2AServiceStub(channel)
            answer = await stub.SendMessage(scripted(*STEPS), metadata=V1)
            streamed = await elements(stub.SendStreamingMessage(scripted(*STEPS), metadata=V1))
            listed = 0 if sys.argv[1:] else sum(await asyncio.gather(*(lists(stub) for _ in range(32))))
    seen = {"sent": MessageToDict(answer), "streamed": [MessageToDict(element) for element in streamed]}
    print(json.dumps({**seen, "listed": listed}))


async def lists(stub: A2AServiceStub) -> int:
    """List tasks 150 times, with a KB of metadata each that no call had before. Return how many lists came."""
    for _ in range(150):
        large = secrets.token_hex(700)
        await stub.ListTasks(ListTasksRequest(), metadata=(*V1, ("x-large", large)), timeout=30)
    return 150


if __name__ == "__main__":
    asyncio.run(main())
