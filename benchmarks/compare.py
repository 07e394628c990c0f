"""Our server beside the bare grpc.aio ceiling and the official SDK, round by round in one run, as ratios.

python benchmarks/compare.py [--rounds 5] [--calls 600]
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc.aio
from a2a_grpc_pb import a2a_pb2 as a2a
from a2a_grpc_pb.a2a_pb2_grpc import A2AServiceStub

CONTENDERS = ("bare", "ours", "sdk")
METADATA = (("a2a-version", "1.0"),)
IN_FLIGHT = 32

Workload = Callable[[A2AServiceStub, int], Awaitable[int]]


def request(text: str) -> a2a.SendMessageRequest:
    message = a2a.Message(message_id=str(uuid.uuid4()), role=a2a.ROLE_USER, parts=[a2a.Part(text=text)])
    return a2a.SendMessageRequest(message=message)


def sends(text: str) -> Workload:
    async def work(stub: A2AServiceStub, calls: int) -> int:
        async def one_after_the_other() -> None:
            for _ in range(calls // IN_FLIGHT):
                await stub.SendMessage(request(text), metadata=METADATA)

        await asyncio.gather(*(one_after_the_other() for _ in range(IN_FLIGHT)))
        return calls // IN_FLIGHT * IN_FLIGHT

    return work


async def gets(stub: A2AServiceStub, calls: int) -> int:
    task = (await stub.SendMessage(request("task"), metadata=METADATA)).task

    async def one_after_the_other() -> None:
        for _ in range(calls // IN_FLIGHT):
            await stub.GetTask(a2a.GetTaskRequest(id=task.id), metadata=METADATA)

    await asyncio.gather(*(one_after_the_other() for _ in range(IN_FLIGHT)))
    return calls // IN_FLIGHT * IN_FLIGHT


def stream(chunks: int) -> Workload:
    async def work(stub: A2AServiceStub, calls: int) -> int:
        elements = 0
        async for _ in stub.SendStreamingMessage(request(str(chunks)), metadata=METADATA):
            elements += 1
        if elements < chunks:
            raise RuntimeError(f"a stream of {chunks} chunks ended after {elements} elements")
        return elements

    return work


WORKLOADS: dict[str, Workload] = {
    "SendMessage → Message, 32 in flight": sends("message"),
    "SendMessage → Task completed, 32 in flight": sends("task"),
    "GetTask, 32 in flight": gets,
    "stream of 100 chunks": stream(100),
    "stream of 1,000 chunks": stream(1_000),
    "stream of 10,000 chunks": stream(10_000),
}


async def measure(options: argparse.Namespace, addresses: dict[str, str]) -> None:
    channels = {name: grpc.aio.insecure_channel(address) for name, address in addresses.items()}
    stubs = {name: A2AServiceStub(channel) for name, channel in channels.items()}
    print(f"{'workload':44} {'bare /s':>9} {'ours /s':>9} {'sdk /s':>9} {'ours/bare':>10} {'ours/sdk':>9}")
    for name, workload in WORKLOADS.items():
        rates: dict[str, list[float]] = {contender: [] for contender in CONTENDERS}
        for turn in range(options.rounds + 1):
            for contender in CONTENDERS:
                begin = time.perf_counter()
                done = await workload(stubs[contender], options.calls)
                if turn:  # the first round warms up
                    rates[contender].append(done / (time.perf_counter() - begin))
        bare, ours, sdk = (statistics.median(rates[contender]) for contender in CONTENDERS)
        print(f"{name:44} {bare:9.0f} {ours:9.0f} {sdk:9.0f} {ours / bare:10.2f} {ours / sdk:9.2f}", flush=True)
    for channel in channels.values():
        await channel.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--calls", type=int, default=640, help="unary calls a round; default: %(default)s")
    options = parser.parse_args()
    program = str(Path(__file__).with_name("contenders.py"))
    servers = {n: subprocess.Popen([sys.executable, program, n], stdout=subprocess.PIPE, text=True) for n in CONTENDERS}
    try:
        addresses = {name: server.stdout.readline().strip() for name, server in servers.items() if server.stdout}
        asyncio.run(measure(options, addresses))
    finally:
        for server in servers.values():
            server.kill()


if __name__ == "__main__":
    main()
