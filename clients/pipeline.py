"""Call three agents one after the other. One researches, one writes, one reviews. servers/role.py is each of them.

Each agent gets the result of the one before it. All tasks belong to one conversation (`context_id`), and each names the
tasks before it (`reference_task_ids`).
"""

import argparse
import asyncio
import sys

from a2a_grpc import A2AError, RemoteAgent, TaskStatusUpdateEvent, text_of
from a2a_grpc.client import ConfigurationError, TaskNotCompletedError
from a2a_grpc.lifecycle import COMPLETED, WORKING

DEFAULT = ["127.0.0.1:50051", "127.0.0.1:50052", "127.0.0.1:50053"]


async def run(options: argparse.Namespace) -> None:
    text, context_id, earlier = options.subject, "", list[str]()
    for role, target in zip(("research", "write", "review"), options.agent, strict=True):
        agent = RemoteAgent(target)
        async with agent.events(text, context_id=context_id, reference_task_ids=earlier) as events:
            async for event in events:
                match event:
                    case TaskStatusUpdateEvent(status=status) if status.state == WORKING and status.message.parts:
                        print(f"{role}: {text_of(status.message)}", flush=True)
        if events.task is None:
            raise A2AError(f"{target} answers with a bare message, not with a task")
        if events.state != COMPLETED:
            raise TaskNotCompletedError(events.task)
        text, context_id = text_of(events.task), events.task.context_id
        earlier.append(events.task.id)
        print(f"{role}: task {events.task.id} in context {context_id}\n\n{text}\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    roles = ("RESEARCH", "WRITE", "REVIEW")
    parser.add_argument("--agent", nargs=3, default=DEFAULT, metavar=roles, help=f"default: {' '.join(DEFAULT)}")
    parser.add_argument("subject", nargs="?", default="a lighthouse in a storm", help="default: %(default)s")
    options = parser.parse_args()
    try:
        asyncio.run(run(options))
    except (A2AError, ConfigurationError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
