"""Ask for a task from time to time until it is settled. This is for long jobs, with plain blocking gRPC.

Between two calls only an idle connection is open, and with --fresh-channel no connection at all. So this works with any
proxy. The agent gets ceil(job / interval) calls. Without --task-id the program starts a job of servers/cancellable.py.
With --once it makes one call, for cron jobs that use the exit code.

Exit codes: 0 completed; 1 ended in another state, waits for the user, or the call failed; 3 not ended yet (--once).
"""

import argparse
import sys
import time
import uuid
from contextlib import nullcontext

import grpc
from a2a_grpc_pb import a2a_pb2 as a2a
from a2a_grpc_pb.a2a_pb2_grpc import A2AServiceStub
from google.protobuf.message import Message

METADATA = (("a2a-version", "1.0"),)  # the metadata of each call
AT_WORK = (a2a.TASK_STATE_SUBMITTED, a2a.TASK_STATE_WORKING)


def call(agent: str, kept: grpc.Channel | None, method: str, request: Message) -> Message:
    """Make a call, on the kept connection if there is one, or on a new one."""
    with nullcontext(kept) if kept else grpc.insecure_channel(agent) as channel:
        return getattr(A2AServiceStub(channel), method)(request, metadata=METADATA, timeout=30)


def job(seconds: float) -> a2a.SendMessageRequest:
    message = a2a.Message(message_id=str(uuid.uuid4()), role=a2a.ROLE_USER, parts=[a2a.Part()])
    message.parts[0].data.struct_value.update({"steps": 10, "step_seconds": seconds / 10})
    at_once = a2a.SendMessageConfiguration(return_immediately=True)
    return a2a.SendMessageRequest(message=message, configuration=at_once)


def run(options: argparse.Namespace) -> int:
    with nullcontext() if options.fresh_channel else grpc.insecure_channel(options.agent) as kept:
        task_id = options.task_id
        if not task_id:
            task_id = call(options.agent, kept, "SendMessage", job(options.seconds)).task.id
            print(f"started task {task_id}", flush=True)
        while True:
            if not options.once:
                time.sleep(options.interval)
            task = call(options.agent, kept, "GetTask", a2a.GetTaskRequest(id=task_id))
            print(f"polled {a2a.TaskState.Name(task.status.state).removeprefix('TASK_STATE_')}", flush=True)
            if task.status.state not in AT_WORK:
                break
            if options.once:
                return 3
    for said in (*task.artifacts, task.status.message):
        if text := "".join(part.text for part in said.parts):
            print(text)
    return 0 if task.status.state == a2a.TASK_STATE_COMPLETED else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agent", default="127.0.0.1:50051", metavar="HOST:PORT", help="default: %(default)s")
    parser.add_argument("--task-id", help="the id of a running task; default: start one")
    parser.add_argument("--seconds", type=float, default=10, help="length of the job to start; default: %(default)s")
    parser.add_argument("--interval", type=float, default=2, help="seconds before each call; default: %(default)s")
    parser.add_argument("--once", action="store_true", help="make one call, at once")
    parser.add_argument("--fresh-channel", action="store_true", help="a new connection for each call")
    options = parser.parse_args()
    if not 0 <= options.interval < float("inf"):
        parser.error(f"--interval is {options.interval}; it must be a number of seconds")
    try:
        sys.exit(run(options))
    except grpc.RpcError as error:
        sys.exit(f"Error: {options.agent}: {error.code().name}: {error.details()}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
