"""Start a long task, follow it, and cancel it half way, with the generated stubs alone, on grpc.aio.

Then read the details of an error, and leave the stream of a second task. synchronous.py needs no event loop.
"""

import argparse
import asyncio
import sys
from contextlib import suppress

import grpc
import telling
from a2a_grpc_pb import a2a_pb2 as a2a
from a2a_grpc_pb.a2a_pb2_grpc import A2AServiceStub
from agent_card import CardError, credentials_for, grpc_interface

CALL = {"metadata": [("a2a-version", "1.0")], "timeout": 10.0}
"""The options of each call with one response: the version, and the time limit in seconds."""
STREAM = {"metadata": CALL["metadata"]}
"""The options of a stream. It has no time limit, since it lasts as long as its task."""


async def cancel_at_progress(stub: A2AServiceStub, tenant: str, options: argparse.Namespace) -> None:
    request = telling.start_request(tenant, options.steps, options.step_seconds)
    task = (await stub.SendMessage(request, **CALL)).task
    canceling = False
    async for event in stub.SubscribeToTask(a2a.SubscribeToTaskRequest(tenant=tenant, id=task.id), **STREAM):
        if telling.show(event) >= options.cancel_at and not canceling:
            canceling = True
            print(f"Canceling task {task.id}", flush=True)
            await stub.CancelTask(a2a.CancelTaskRequest(tenant=tenant, id=task.id), **CALL)


async def read_error(stub: A2AServiceStub, tenant: str) -> None:
    try:
        await stub.GetTask(a2a.GetTaskRequest(tenant=tenant, id="no-such-task"), **CALL)
    except grpc.RpcError as error:
        telling.show_error(error)


async def leave_stream(stub: A2AServiceStub, tenant: str) -> None:
    """Cancel a stream. The task continues, since it does not depend on the stream."""
    task = (await stub.SendMessage(telling.start_request(tenant, 1, 60), **CALL)).task
    call = stub.SubscribeToTask(a2a.SubscribeToTaskRequest(tenant=tenant, id=task.id), **STREAM)
    with suppress(asyncio.CancelledError):  # grpc.aio raises this for a call that was canceled on this side
        async for event in call:
            if telling.is_working(event):
                call.cancel()
    ended = await call.code()
    task = await stub.GetTask(a2a.GetTaskRequest(tenant=tenant, id=task.id), **CALL)
    print(f"[LEFT ] stream {ended.name}, task {telling.state_name(task.status.state)}", flush=True)
    await stub.CancelTask(a2a.CancelTaskRequest(tenant=tenant, id=task.id), **CALL)


def channel_to(address: str) -> grpc.aio.Channel:
    credentials = credentials_for(address)
    return grpc.aio.secure_channel(address, credentials) if credentials else grpc.aio.insecure_channel(address)


async def run(options: argparse.Namespace) -> None:
    agent = grpc_interface(options.card)
    async with channel_to(agent.url) as channel:
        stub = A2AServiceStub(channel)
        await cancel_at_progress(stub, agent.tenant, options)
        await read_error(stub, agent.tenant)
        await leave_stream(stub, agent.tenant)


def main() -> None:
    try:
        asyncio.run(run(telling.options(__doc__)))
    except CardError as error:
        sys.exit(f"Error: {error}")
    except grpc.RpcError as error:
        sys.exit(f"Error: {error.code().name}: {error.details()}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
