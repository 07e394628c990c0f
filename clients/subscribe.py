"""Follow a task over one stream, and print each state and each message, until the task has ended.

By default the program starts a job of servers/scripted.py. With --text it sends a message to any agent. With --task-id
it starts no task, and follows a running one. Nothing is sent while nothing happens.
"""

import argparse
import asyncio
import sys

from a2a_grpc import A2AError, Message, Task, TaskArtifactUpdateEvent, TaskStatusUpdateEvent, connect, data_of, text_of
from a2a_grpc.client import ConfigurationError
from a2a_grpc.lifecycle import COMPLETED, state_name
from a2a_grpc.parts import Json
from a2a_grpc.wire import TaskStatus

JOB: Json = {
    "script": [
        {"status": "reading the files"},
        {"sleep": 0.5},
        {"status": "adding up"},
        {"sleep": 0.5},
        {"artifact": {"name": "sum", "text": "42"}},
        {"complete": "added up 3 files"},
    ]
}


def show(status: TaskStatus) -> None:
    print(f"[{state_name(status.state)}] {text_of(status.message)}".rstrip(), flush=True)


async def run(options: argparse.Namespace) -> int:
    async with connect(options.agent) as agent:
        stream = agent.subscribe(options.task_id) if options.task_id else agent.stream(options.text or JOB)
        async with stream as events:
            async for event in events:
                match event:
                    case Message():
                        print(text_of(event), flush=True)
                        return 0
                    case Task():
                        print(f"task {event.id}", flush=True)
                        show(event.status)
                    case TaskStatusUpdateEvent():
                        show(event.status)
                    case TaskArtifactUpdateEvent(artifact=artifact):
                        print(f"  {artifact.name or 'artifact'}: {text_of(artifact) or data_of(artifact)}", flush=True)
        return 0 if events.state == COMPLETED else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agent", default="127.0.0.1:50051", metavar="TARGET", help="default: %(default)s")
    parser.add_argument("--text", help="what to send; default: a script for servers/scripted.py")
    parser.add_argument("--task-id", help="the id of a running task")
    options = parser.parse_args()
    try:
        sys.exit(asyncio.run(run(options)))
    except (A2AError, ConfigurationError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
