"""Start a long task, follow its progress, and cancel it half way. servers/cancellable.py is the agent.

The client cancels while the stream of events is open. Both calls use the same connection, and do not wait for each
other. The stream then ends by itself, with the state CANCELED.
"""

import argparse
import asyncio
import sys

from a2a_grpc import A2AError, Task, TaskStatusUpdateEvent, connect
from a2a_grpc.client import ConfigurationError, progress_of
from a2a_grpc.lifecycle import SUBMITTED, state_name


async def run(options: argparse.Namespace) -> None:
    async with connect(options.agent) as agent:
        task = await agent.start({"steps": options.steps, "step_seconds": options.step_seconds})
        if not isinstance(task, Task):
            raise A2AError(f"{options.agent} answers with a bare message, not with a task")
        canceling = False
        async with agent.subscribe(task.id) as events:
            async for event in events:
                match event:
                    case Task() | TaskStatusUpdateEvent() if event.status.state != SUBMITTED:
                        print(f"[STATUS] {state_name(event.status.state)}", flush=True)
                progress = progress_of(event)
                if progress is not None:
                    print(f"[DATA ] progress: {progress}", flush=True)
                    if progress >= options.cancel_at and not canceling:
                        canceling = True
                        print(f"Canceling task {task.id}", flush=True)
                        await agent.cancel(task.id)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agent", default="127.0.0.1:50051", metavar="TARGET", help="default: %(default)s")
    parser.add_argument("--cancel-at", type=float, default=0.5, metavar="PROGRESS", help="0 to 1; default: %(default)s")
    parser.add_argument("--steps", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--step-seconds", type=float, default=0.5, help="default: %(default)s")
    options = parser.parse_args()
    try:
        asyncio.run(run(options))
    except (A2AError, ConfigurationError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
