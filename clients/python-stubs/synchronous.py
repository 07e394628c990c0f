"""Start a long task, follow it, and cancel it half way, with the generated stubs alone, without an event loop.

Then read the details of an error, and leave the stream of a second task. asynchronous.py is the same on grpc.aio.
"""

import argparse
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


def cancel_at_progress(stub: A2AServiceStub, tenant: str, options: argparse.Namespace) -> None:
    request = telling.start_request(tenant, options.steps, options.step_seconds)
    task = stub.SendMessage(request, **CALL).task
    canceling = False
    for event in stub.SubscribeToTask(a2a.SubscribeToTaskRequest(tenant=tenant, id=task.id), **STREAM):
        if telling.show(event) >= options.cancel_at and not canceling:
            canceling = True
            print(f"Canceling task {task.id}", flush=True)
            stub.CancelTask(a2a.CancelTaskRequest(tenant=tenant, id=task.id), **CALL)


def read_error(stub: A2AServiceStub, tenant: str) -> None:
    try:
        stub.GetTask(a2a.GetTaskRequest(tenant=tenant, id="no-such-task"), **CALL)
    except grpc.RpcError as error:
        telling.show_error(error)


def leave_stream(stub: A2AServiceStub, tenant: str) -> None:
    """Cancel a stream. The task continues, since it does not depend on the stream."""
    task = stub.SendMessage(telling.start_request(tenant, 1, 60), **CALL).task
    call = stub.SubscribeToTask(a2a.SubscribeToTaskRequest(tenant=tenant, id=task.id), **STREAM)
    with suppress(grpc.RpcError):
        for event in call:
            if telling.is_working(event):
                call.cancel()
    task = stub.GetTask(a2a.GetTaskRequest(tenant=tenant, id=task.id), **CALL)
    print(f"[LEFT ] stream {call.code().name}, task {telling.state_name(task.status.state)}", flush=True)
    stub.CancelTask(a2a.CancelTaskRequest(tenant=tenant, id=task.id), **CALL)


def channel_to(address: str) -> grpc.Channel:
    credentials = credentials_for(address)
    return grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address)


def main() -> None:
    options = telling.options(__doc__)
    try:
        agent = grpc_interface(options.card)
        with channel_to(agent.url) as channel:
            stub = A2AServiceStub(channel)
            cancel_at_progress(stub, agent.tenant, options)
            read_error(stub, agent.tenant)
            leave_stream(stub, agent.tenant)
    except CardError as error:
        sys.exit(f"Error: {error}")
    except grpc.RpcError as error:
        sys.exit(f"Error: {error.code().name}: {error.details()}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
