"""Starts a long task, follows its progress, cancels it half way: with nothing but the generated stubs.

This is also the example for those who want only stubs: messages and stub come from `a2a_grpc_pb`, the rest is grpc.aio.
"""

import argparse
import asyncio
import sys
import uuid

import grpc
from a2a_grpc_pb import a2a_pb2 as a2a
from a2a_grpc_pb.a2a_pb2_grpc import A2AServiceStub

METADATA = (("a2a-version", "1.0"),)  # goes with every call


def show_state(status: a2a.TaskStatus) -> None:
    print(f"[STATUS] {a2a.TaskState.Name(status.state).removeprefix('TASK_STATE_')}", flush=True)


async def run(options: argparse.Namespace) -> None:
    async with grpc.aio.insecure_channel(options.agent) as channel:
        stub = A2AServiceStub(channel)

        request = a2a.SendMessageRequest(
            message=a2a.Message(message_id=str(uuid.uuid4()), role=a2a.ROLE_USER, parts=[a2a.Part()]),
            configuration=a2a.SendMessageConfiguration(return_immediately=True),
        )
        request.message.parts[0].data.struct_value.update(
            {"steps": options.steps, "step_seconds": options.step_seconds}
        )
        task = (await stub.SendMessage(request, metadata=METADATA)).task

        canceling = False
        async for event in stub.SubscribeToTask(a2a.SubscribeToTaskRequest(id=task.id), metadata=METADATA):
            match event.WhichOneof("payload"):
                case "task" if event.task.status.state != a2a.TASK_STATE_SUBMITTED:
                    show_state(event.task.status)
                case "status_update":
                    show_state(event.status_update.status)
                case "artifact_update" if event.artifact_update.artifact.name == "progress":
                    progress = event.artifact_update.artifact.parts[0].data.struct_value["progress"]
                    print(f"[DATA ] progress: {progress}", flush=True)
                    if progress >= options.cancel_at and not canceling:
                        canceling = True
                        print(f"Canceling task {task.id}", flush=True)
                        await stub.CancelTask(a2a.CancelTaskRequest(id=task.id), metadata=METADATA)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agent", default="127.0.0.1:50051", metavar="HOST:PORT", help="default: %(default)s")
    parser.add_argument("--cancel-at", type=float, default=0.5, metavar="PROGRESS", help="0 to 1; default: %(default)s")
    parser.add_argument("--steps", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--step-seconds", type=float, default=0.5, help="default: %(default)s")
    options = parser.parse_args()
    try:
        asyncio.run(run(options))
    except grpc.aio.AioRpcError as error:
        sys.exit(f"Error: {options.agent}: {error.code().name}: {error.details()}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
