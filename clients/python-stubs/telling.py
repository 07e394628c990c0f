"""The command line, the request and the output of the two programs."""

import argparse
import uuid

import grpc
from a2a_grpc_pb import a2a_pb2 as a2a
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status


def options(description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    card = "URL of the agent's web site, which has its card; default: %(default)s"
    parser.add_argument("--card", default="http://127.0.0.1:8080", metavar="URL", help=card)
    parser.add_argument("--cancel-at", type=float, default=0.5, metavar="PROGRESS", help="0 to 1; default: %(default)s")
    parser.add_argument("--steps", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--step-seconds", type=float, default=0.5, help="default: %(default)s")
    return parser.parse_args()


def start_request(tenant: str, steps: int, step_seconds: float) -> a2a.SendMessageRequest:
    """Return a request that starts a task and does not wait for it."""
    request = a2a.SendMessageRequest(
        tenant=tenant,
        message=a2a.Message(message_id=str(uuid.uuid4()), role=a2a.ROLE_USER, parts=[a2a.Part()]),
        configuration=a2a.SendMessageConfiguration(return_immediately=True),
    )
    request.message.parts[0].data.struct_value.update({"steps": steps, "step_seconds": step_seconds})
    return request


def state_name(state: int) -> str:
    return a2a.TaskState.Name(state).removeprefix("TASK_STATE_")


def show(event: a2a.StreamResponse) -> float:
    """Print an event. Return the progress that it reports, or 0."""
    match event.WhichOneof("payload"):
        case "task" if event.task.status.state != a2a.TASK_STATE_SUBMITTED:
            print(f"[STATUS] {state_name(event.task.status.state)}", flush=True)
        case "status_update":
            print(f"[STATUS] {state_name(event.status_update.status.state)}", flush=True)
        case "artifact_update" if event.artifact_update.artifact.name == "progress":
            progress = event.artifact_update.artifact.parts[0].data.struct_value["progress"]
            print(f"[DATA ] progress: {progress}", flush=True)
            return progress
    return 0.0


def is_working(event: a2a.StreamResponse) -> bool:
    return a2a.TASK_STATE_WORKING in (event.task.status.state, event.status_update.status.state)


def show_error(error: grpc.RpcError) -> None:
    """Print the ErrorInfo of a failed call. Programs should use its reason, and not the text."""
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    info = ErrorInfo()
    if not any(detail.Unpack(info) for detail in Status.FromString(details).details):
        raise error
    facts = [f"{key}={value}" for key, value in sorted(info.metadata.items())]
    print("[ERROR]", error.code().name, info.reason, *facts, flush=True)
