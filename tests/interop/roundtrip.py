"""Starts servers/scripted.py with this interpreter, sends to it and streams from it; prints what came as JSON."""

import asyncio
import json

import grpc.aio
from google.protobuf.json_format import MessageToDict

from a2a_grpc.wire import A2AServiceStub
from tests.harness import V1, Program, elements, scripted

STEPS = ({"status": "half way"}, {"chunks": {"count": 2}}, {"complete": "done"})


async def main() -> None:
    async with asyncio.timeout(60), Program.server("servers/scripted.py") as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = A2AServiceStub(channel)
            answer = await stub.SendMessage(scripted(*STEPS), metadata=V1)
            streamed = await elements(stub.SendStreamingMessage(scripted(*STEPS), metadata=V1))
    print(json.dumps({"sent": MessageToDict(answer), "streamed": [MessageToDict(element) for element in streamed]}))


if __name__ == "__main__":
    asyncio.run(main())
